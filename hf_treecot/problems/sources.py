"""Where the rows of problems are: in a file, in a directory, on the Hub.

This module knows files and datasets. It must not know what their columns mean.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import InvalidInputError
from .generators import GENERATORS


FILE_BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
# Configurations of Hub datasets that have no default one.
CONFIGURATIONS: Mapping[str, str] = {"openai/gsm8k": "main", "tasksource/planbench": "task_1_plan_generation"}


def load_rows(source: str, split: str, config_name: str | None = None):
    """
    The rows of a source, as a [`~datasets.Dataset`].

    Args:
        source (`str`): A file, a directory, or the name of a Hub dataset.
        split (`str`): Split of a directory or Hub dataset.
        config_name (`str`, *optional*): Configuration of a Hub dataset.

    Raises:
        InvalidInputError: There is no such source, or it cannot be read.
    """
    import datasets

    config_name = config_name or CONFIGURATIONS.get(source)

    path = Path(source)
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return _checked(_load(source, path, split, config_name), source)
    except RecursionError:
        raise InvalidInputError(f"problems {source!r}: its values are nested too deep; flatten them") from None
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError, ConnectionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        reason = " ".join(str(error).split())
        if "corresponds to no data" in reason:
            raise _empty(source) from error
        raise InvalidInputError(f"problems {source!r}: it cannot be loaded with split={split!r} ({reason})") from error
    finally:
        if not bars:
            datasets.enable_progress_bars()


def _checked(dataset, source: str):
    """A dataset with rows that can be read: Arrow cuts names at a NUL character, and then finds no such column."""
    if len(dataset) == 0:
        raise _empty(source)
    if "\\x00" in repr(dataset.features):
        raise InvalidInputError(f"problems {source!r}: the name of a column holds a NUL character; rename it")
    return dataset


def _empty(source: str) -> InvalidInputError:
    return InvalidInputError(f"problems {source!r}: it holds no rows; give a source with at least one problem")


def _load(source: str, path: Path, split: str, config_name: str | None):
    import datasets

    if not source.strip():
        raise InvalidInputError(f"problems {source!r} is empty: name a file, a Hub dataset or a generator")
    if path.is_dir() and any(path.glob("*.pddl")):
        return _load_pddl(sorted(path.glob("*.pddl"), key=lambda file: (len(file.name), file.name)))
    if path.is_dir():
        return datasets.load_dataset(str(path), config_name, split=split)
    if path.is_file():
        return load_file(path)
    if path.suffix in FILE_BUILDERS or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise InvalidInputError(
            f"problems {source!r}: no such file, directory or generator; give the path of a "
            f"{', '.join(FILE_BUILDERS)} file, a Hub dataset as user/name, or one of {', '.join(GENERATORS)}"
        )
    return datasets.load_dataset(source, config_name, split=split)


def load_file(path: Path):
    """
    The rows of a file, as a [`~datasets.Dataset`].

    Args:
        path (`Path`): A `.json`, `.jsonl`, `.csv`, `.parquet` or `.pddl` file.

    Raises:
        InvalidInputError: It is empty, or of another type.
    """
    import datasets

    if path.suffix == ".pddl":
        return _load_pddl([path])
    if path.suffix not in FILE_BUILDERS:
        raise InvalidInputError(
            f"problems {str(path)!r}: unknown file type; use one of {', '.join(FILE_BUILDERS)}, .pddl"
        )
    if path.stat().st_size == 0 or (path.suffix != ".parquet" and not path.read_text(encoding="utf-8").strip(" \n[]")):
        raise InvalidInputError(f"problems {str(path)!r}: the file is empty; give a file with at least one problem")
    # PlanBench's own files hold their rows in a field.
    field = "instances" if path.suffix == ".json" and _has_instances(path) else None
    options = {"field": field} if field else {}
    if path.suffix == ".csv":
        options["keep_default_na"] = False  # NA, None and null are answers, too
    return datasets.load_dataset(FILE_BUILDERS[path.suffix], data_files=str(path), split="train", **options)


def _has_instances(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False  # such as one row a line: its builder reads it, or says why not
    return isinstance(content, dict) and isinstance(content.get("instances"), list)


def _load_pddl(paths: list[Path]):
    import datasets

    # A domain has no goal.
    texts = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    rows = [{"problem_id": name, "pddl": text} for name, text in texts.items() if ":goal" in text.lower()]
    return datasets.Dataset.from_list(rows)
