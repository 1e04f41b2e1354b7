"""The directory of a run: it belongs to one configuration, and to one process at a time."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InvalidInputError
from ..files import write_atomically


NAMED_DIFFERENCES = 3  # between two runs; more would not be read


def check_directory(output_dir: Path) -> None:
    """
    See whether a run can live in a directory, without writing anything.

    Raises:
        InvalidInputError: It is not a directory, holds something else, or cannot be made.
    """
    name = f"output_dir={str(output_dir)!r}"
    if output_dir.exists() and not output_dir.is_dir():
        raise InvalidInputError(f"{name} is a file: choose a directory")
    nearest = next(path for path in (output_dir, *output_dir.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InvalidInputError(f"{name} cannot be written in {str(nearest)!r}: choose another directory")
    if output_dir.exists() and any(output_dir.iterdir()) and not (output_dir / "run.json").is_file():
        raise InvalidInputError(f"{name} is not empty and holds no run of ours: choose another directory")


def claim_directory(output_dir: Path, run: dict) -> None:
    """
    Make a directory a run's own, or see that it is.

    Raises:
        InvalidInputError: As [`check_directory`], or it holds another run's configuration.
    """
    check_directory(output_dir)
    path = output_dir / "run.json"
    if path.is_file():
        try:
            other = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InvalidInputError(
                f"{str(path)!r} cannot be read ({error}): restore it, or choose another output_dir"
            ) from error
        if other != run:
            keys = [key for key in {**run, **other} if other.get(key) != run.get(key)]
            raise InvalidInputError(
                f"output_dir={str(output_dir)!r} holds a run with another configuration (other {', '.join(keys)}): "
                f"{_differences(other, run)}; choose another directory, or remove it to start afresh"
            )
        return
    write_atomically(path, json.dumps(run, indent=2) + "\n")


@contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """
    Keep a run's directory from other processes until the end of the block.

    Raises:
        InvalidInputError: Another process is at it.
    """
    lock = FileLock(output_dir / "run.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InvalidInputError(
            f"output_dir={str(output_dir)!r} is in use by another process: wait for it, or choose another directory"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _differences(old: dict, new: dict) -> str:
    """The fields in which two runs differ, with both values, in a line that can be read."""
    before, now = _flat(old), _flat(new)
    found = [
        f"{name} was {_short(before.get(name))} and is {_short(now.get(name))}"
        for name in {**now, **before}
        if before.get(name) != now.get(name)
    ]
    more = f", and {len(found) - NAMED_DIFFERENCES} more" if len(found) > NAMED_DIFFERENCES else ""
    return ", ".join(found[:NAMED_DIFFERENCES]) + more


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{name}.{key}" if name else key).items()}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:20]} … {text[-17:]}"
