"""The dataset of a run: one directory with the configs `trees`, `sft`, `preference` and, if asked for, `steps`.

`trees` is lossless: the others can be made again from it. This module knows columns and files; it must not know how
rows are chosen, nor how they are published.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, Features, List, Value

from ..errors import InvalidInputError
from ..mcts.tree import Tree
from .repository import HUB_NAME, download_dataset


if TYPE_CHECKING:
    import pyarrow

_TEXT, _INTEGER, _FLOAT = Value("string"), Value("int64"), Value("float64")
_MESSAGES = List({"role": _TEXT, "content": _TEXT})
_DIFFICULTY = {"first_success": _INTEGER, "pass_rate": _FLOAT, "pass_rate_variation": _FLOAT}
FEATURES = {
    "trees": Features(
        {
            "tree_id": _TEXT,
            "problem": dict.fromkeys(("problem_id", "prompt", "answer", "verifier", "source", "license"), _TEXT),
            "pattern": _TEXT,
            "nodes": List(
                {
                    "kind": _TEXT,
                    "tag": _TEXT,
                    "text": _TEXT,
                    "parent": _INTEGER,
                    "role": _TEXT,
                    "simulation": _INTEGER,
                    "tokens": _INTEGER,
                    "finish_reason": _TEXT,
                    "log_probability": _FLOAT,
                    "visit_count": _INTEGER,
                    "value_sum": _FLOAT,
                    "reward": _FLOAT,
                    "answer": _TEXT,
                    "reason": _TEXT,
                    "dead_end": _TEXT,
                    "reasoning": _TEXT,
                    "value": _FLOAT,
                }
            ),
            "simulations": List(_INTEGER),
            "status": _TEXT,
            "stop_reason": _TEXT,
            "statistics": dict.fromkeys(
                (
                    "simulations",
                    "right",
                    "wrong",
                    "dead_ends",
                    "unverifiable",
                    "requests",
                    "prompt_tokens",
                    "generated_tokens",
                    "malformed",
                ),
                _INTEGER,
            ),
            "provenance": _TEXT,  # JSON: its keys differ between engines
        }
    ),
    "sft": Features(
        {
            "prompt": _MESSAGES,
            "completion": _MESSAGES,
            "tree_id": _TEXT,
            "length": _INTEGER,
            "rank": _INTEGER,
            **_DIFFICULTY,
        }
    ),
    "preference": Features(
        {
            "prompt": _MESSAGES,
            "chosen": _MESSAGES,
            "rejected": _MESSAGES,
            "tree_id": _TEXT,
            "shared_prefix_length": _INTEGER,
            "chosen_length": _INTEGER,
            "rejected_length": _INTEGER,
            "chosen_reward": _FLOAT,
            "rejected_reward": _FLOAT,
            **_DIFFICULTY,
        }
    ),
    "steps": Features(
        {
            "prompt": _TEXT,
            "completions": List(_TEXT),
            "labels": List(Value("bool")),
            "values": List(_FLOAT),
            "visits": List(_INTEGER),
            "first_wrong": _INTEGER,
            "reward": _FLOAT,
            "tree_id": _TEXT,
        }
    ),
}
OPTIONAL = ("steps",)  # configs that are not there without rows
ROWS_A_GROUP = 500  # rows that are in memory at the same time


class DatasetWriter:
    """
    Writes a dataset row by row, and puts it in its place only when it is whole.

    Args:
        directory (`Path`): Where the dataset goes. An older one there is replaced.

    Example:

    ```python
    with DatasetWriter(Path("runs/demo/dataset")) as writer:
        writer.write("sft", row)
    ```
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.counts = {config: 0 for config in FEATURES if config not in OPTIONAL}
        self._unfinished = directory.with_name(f"{directory.name}.unfinished")
        self._rows: dict[str, list[dict]] = {config: [] for config in FEATURES}

    def __enter__(self) -> "DatasetWriter":
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._files = {}
        for config in self.counts:
            self._open(config)
        return self

    def _open(self, config: str) -> None:
        from pyarrow.parquet import ParquetWriter

        path = self._unfinished / config / "train.parquet"
        path.parent.mkdir(parents=True)
        self._files[config] = ParquetWriter(path, FEATURES[config].arrow_schema)

    def write(self, config: str, row: dict[str, Any]) -> None:
        """
        Add a row.

        Args:
            config (`str`): `"trees"`, `"sft"`, `"preference"` or `"steps"`.
            row (`dict`): A record of [`Tree.to_record`], or a row of a [`~selection.Selector`].
        """
        if config not in self._files:
            self._open(config)
        if config == "trees":
            row = {**row, "provenance": json.dumps(row["provenance"], sort_keys=True)}
        self._rows[config].append(row)
        self.counts[config] = self.counts.get(config, 0) + 1
        if len(self._rows[config]) >= ROWS_A_GROUP:
            self._flush(config)

    def _flush(self, config: str) -> None:
        import pyarrow

        if self._rows[config]:
            self._files[config].write_table(
                pyarrow.Table.from_pylist(self._rows[config], FEATURES[config].arrow_schema)
            )
            self._rows[config] = []

    def __exit__(self, exception_type, *_) -> None:
        for config, file in self._files.items():
            if exception_type is None:
                self._flush(config)
            file.close()
        if exception_type is None:
            # `datasets` caches a directory by its name and its card alone: without a digest in the names of the files,
            # it would show the rows of one run for another's.
            files = {config: _add_digest(self._unfinished / config / "train.parquet") for config in self._files}
            (self._unfinished / "README.md").write_text(_card(files, self.counts), encoding="utf-8")
            if self.directory.exists():
                shutil.rmtree(self.directory)
            self._unfinished.rename(self.directory)


def dataset_directory(directory: Path) -> Path:
    """The dataset that a user means by a directory: that of a run, or the directory itself."""
    within = directory / "dataset"
    return within if within.is_dir() else directory


def load_trees(
    source: Path | str, *, revision: str | None = None, on_malformed: Callable[[InvalidInputError], None] | None = None
) -> Iterator[Tree]:
    """
    The trees of a run, of its dataset, or of a dataset on the Hub, one after the other.

    Args:
        source (`Path` or `str`): A run's directory, its `dataset` directory, or the name of a dataset of trees on the
            Hub (`"user/name"`).
        revision (`str`, *optional*): Revision of a dataset on the Hub.
        on_malformed (`Callable`, *optional*): Is told of a malformed tree, which is then skipped. Default: it is
            refused.

    Raises:
        InvalidInputError: There is no such dataset or revision, or it holds no trees, or a malformed one.
    """
    if not Path(source).exists() and HUB_NAME.fullmatch(str(source)):
        path = download_dataset(str(source), "trees/*.parquet", revision)
    else:
        path = dataset_directory(Path(source))
    if not (path / "trees").is_dir():
        raise InvalidInputError(
            f"trees {str(source)!r}: there is no dataset; give the directory of a finished run or user/name on the Hub"
        )
    rows = (row for table in read_tables(path, "trees") for row in table.to_pylist())
    return _trees(rows, on_malformed)


def _trees(rows: Iterable[dict], on_malformed: Callable[[InvalidInputError], None] | None) -> Iterator[Tree]:
    for row in rows:
        try:
            tree = tree_from_row(row)
        except InvalidInputError as error:
            if on_malformed is None:
                raise
            on_malformed(error)
        else:
            yield tree


def read_tables(path: Path, config: str) -> "Iterator[pyarrow.Table]":
    """
    The rows of a configuration, some hundreds at a time.

    Args:
        path (`Path`): A run's `dataset` directory, or a copy of a published one.
        config (`str`): `"trees"`, `"sft"` or `"preference"`.

    Raises:
        InvalidInputError: A file that is not of ours, or rows of an older version.
    """
    import pyarrow.parquet

    for file in sorted((path / config).glob("*.parquet")):
        if not file.is_file():  # a pipe would be waited for
            raise InvalidInputError(f"{file.name} of {config} is not a file: give the directory of a finished run")
        with pyarrow.parquet.ParquetFile(file) as content:
            if missing := FEATURES[config].keys() - content.schema_arrow.names:
                remedy = "" if config == "trees" else ", or older: select its rows again (`treecot select`)"
                raise InvalidInputError(
                    f"{file.name} of {config} has no column {min(missing)!r}: it is not of ours{remedy}"
                )
            for batch in content.iter_batches(batch_size=ROWS_A_GROUP):
                yield pyarrow.Table.from_batches([batch])


def tree_from_row(row: dict[str, Any]) -> Tree:
    """
    The tree of a row of the `trees` config.

    Raises:
        InvalidInputError: It is malformed.
    """
    try:
        provenance = json.loads(row["provenance"])
    except (TypeError, ValueError, RecursionError):
        provenance = None
    return Tree.from_record({**row, "provenance": provenance})


def as_dataset(config: str, rows: list[dict]) -> Dataset:
    """Rows of a [`~selection.Selector`] as a dataset in memory."""
    return Dataset.from_list(rows, features=FEATURES[config])


def _add_digest(path: Path) -> str:
    """Rename a file after its content; its new name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return path.rename(path.with_stem(f"{path.stem}-{digest}")).name


def _card(files: dict[str, str], counts: dict[str, int]) -> str:
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: train\n    path: {config}/{name}\n"
        for config, name in files.items()
    )
    table = "".join(f"| `{config}` | {count} |\n" for config, count in counts.items())
    return (
        f"---\nconfigs:\n{configs}tags:\n- tree-cot\n- mcts\n- trl\n---\n"
        "# Tree chains of thought\n\nGrown by Monte Carlo Tree Search over typed thoughts, checked by rules, with "
        f"hf_treecot.\n\n| config | rows |\n| --- | --- |\n{table}"
    )
