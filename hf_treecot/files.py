"""Files that are whole, or not there. A room without imports of ours."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """
    Write a text file, so that a process that is killed leaves it as it was.

    Args:
        path (`Path`): The file; its directory is made if it is not there. Until it is whole it stands beside the
            directory, not in it: a directory that another file claims holds nothing before that.
        text (`str`): Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent.with_name(f"{path.parent.name}.{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)
