"""Files: written whole or not at all, kept in a cache, told apart by their content, read with care."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from .errors import InvalidInputError


MEBIBYTE = 2**20
FRESH_SECONDS = 2.0
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
    path = path.absolute()  # a file of the working directory has a directory with a name, too
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent.with_name(f"{path.parent.name}.{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)


def read_yaml(path: Path) -> Any:
    """
    The content of a YAML file that anyone may have written. Aliases are not read: with a few of them a small file
    stands for more values than fit into any memory.

    Args:
        path (`Path`): The file.

    Raises:
        InvalidInputError: It is not valid YAML in UTF-8, larger than a mebibyte, nested too deep, or holds an alias.
        OSError: It cannot be read.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError(f"an alias, *{self.peek_event().anchor}, is not read: write the value out")
            return super().compose_node(parent, index)

    if path.stat().st_size > MEBIBYTE:
        raise InvalidInputError(f"{path}: larger than a mebibyte; give a file of settings")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 a SafeLoader
    except RecursionError:
        raise InvalidInputError(f"{path}: its values are nested too deep; give a file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: not valid YAML in UTF-8 ({' '.join(str(error).split())})") from error


def fingerprint(directory: Path, suffixes: tuple[str, ...] = MODEL_FILES) -> str:
    """
    What stands for a revision where a model comes from a directory: equal for a copy, other after more training.

    Args:
        directory (`Path`): Weights, configuration and tokenizer, all read to their ends.
        suffixes (`tuple[str]`): Which files count.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(directory.iterdir()):
        if path.suffix in suffixes and path.is_file():
            digest.update(f"{path.name} {_file_digest(path)}\n".encode())
    adapter = directory / "adapter_config.json"
    if adapter.is_file():  # what it adapts is read with it
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if base and Path(base).is_dir() and not Path(base).samefile(directory):
            digest.update(fingerprint(Path(base), suffixes).encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    """The digest of a file's content. That of a large file is remembered by its path, size and time."""
    status = path.stat()
    if status.st_size <= MEBIBYTE:
        return hashlib.blake2b(path.read_bytes()).hexdigest()
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    memory = cache_directory() / "fingerprints" / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    if memory.is_file() and len(known := memory.read_text(encoding="utf-8")) == 2 * hashlib.blake2b().digest_size:
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()
    # A file that was written just now may be written again within the same tick of its clock.
    if time.time() - status.st_mtime > FRESH_SECONDS and path.stat().st_mtime_ns == status.st_mtime_ns:
        with contextlib.suppress(OSError):  # where nothing can be written it is read again the next time
            memory.parent.mkdir(parents=True, exist_ok=True)
            unfinished = memory.with_name(f"{memory.name}.{os.getpid()}")
            unfinished.write_text(digest, encoding="utf-8")
            unfinished.replace(memory)
    return digest
