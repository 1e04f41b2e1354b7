"""Files: written whole or not at all, kept in a cache, told apart by their content. Imports nothing of the package."""

import hashlib
import os
from pathlib import Path


MEBIBYTE = 2**20
MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".bin")


def cache_directory() -> Path:
    """`$HF_TREECOT_CACHE`, or `hf_treecot` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if path := os.environ.get("HF_TREECOT_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf_treecot"


def write_atomically(path: Path, text: str) -> None:
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


def fingerprint(directory: Path, suffixes: tuple[str, ...] = MODEL_FILES) -> str:
    """
    What stands for a revision where a model comes from a directory: equal for a copy, other after more training.

    Args:
        directory (`Path`): Weights, configuration and tokenizer. Of large files the first and last MiB are read.
        suffixes (`tuple[str]`): Which files count.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(directory.iterdir()):
        if path.suffix in suffixes:
            size = path.stat().st_size
            with path.open("rb") as file:
                digest.update(f"{path.name} {size}\n".encode() + file.read(MEBIBYTE))
                file.seek(max(0, size - MEBIBYTE))
                digest.update(file.read())
    return digest.hexdigest()
