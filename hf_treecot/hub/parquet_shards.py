"""A run's dataset as it is published: train and test splits by problem, in shards of a sensible size.

This module copies rows between parquet files, a few at a time. It must not know the Hub, nor what rows mean.
"""

import hashlib
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ..errors import InvalidInputError
from .dataset import FEATURES, ROWS_A_GROUP, read_tables


SPLITS = ("train", "test")
MAX_SHARD_SIZE = 300 * 2**20


def is_test_problem(prompt: str, test_fraction: float) -> bool:
    """
    Whether a problem belongs to the test split: a matter of its text alone, so that it stays where it is in every run.

    Args:
        prompt (`str`): The problem's text; white space does not matter.
        test_fraction (`float`): The share of all problems that do, in [0, 1).
    """
    digest = hashlib.blake2b(" ".join(prompt.split()).encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < test_fraction * 2**64


def check_test_fraction(test_fraction: float) -> None:
    """
    Raises:
        InvalidInputError: It is out of range.
    """
    if not 0 <= test_fraction < 1:
        raise InvalidInputError(f"test_fraction={test_fraction} is out of range: it must be at least 0 and below 1")


def write_shards(
    dataset: Path, directory: Path, *, test_fraction: float, max_shard_size: int = MAX_SHARD_SIZE
) -> dict[str, dict[str, int]]:
    """
    Copy a run's dataset into splits and shards: `CONFIG/SPLIT-00000-of-00001.parquet`. The same dataset gives the same
    bytes.

    Args:
        dataset (`Path`): A run's `dataset` directory.
        directory (`Path`): Where the shards go.
        test_fraction (`float`): The share of the problems whose rows go to the test split, in [0, 1).
        max_shard_size (`int`): A shard that has reached it is the last but one, in bytes.

    Returns:
        `dict[str, dict[str, int]]`: Rows of each split of each configuration; those without rows are left out.
    """
    check_test_fraction(test_fraction)
    test_trees: set[str] = set()
    counts = {}
    for config in ("trees", *(name for name in FEATURES if name != "trees")):
        shards = {
            split: _Shards(directory / config, split, FEATURES[config].arrow_schema, max_shard_size)
            for split in SPLITS
        }
        for table in read_tables(dataset, config):
            ids = table["tree_id"].to_pylist()
            if config == "trees":
                prompts = pyarrow.compute.struct_field(table["problem"], "prompt").to_pylist()
                test_trees |= {i for i, p in zip(ids, prompts, strict=True) if is_test_problem(p, test_fraction)}
            schema = FEATURES[config].arrow_schema
            table = table.select(schema.names).cast(schema)  # that of an earlier version lacks newer fields
            is_test = pyarrow.array([tree_id in test_trees for tree_id in ids])
            shards["test"].write(table.filter(is_test))
            shards["train"].write(table.filter(pyarrow.compute.invert(is_test)))
        counts[config] = {split: rows for split in SPLITS if (rows := shards[split].close())}
    return {config: splits for config, splits in counts.items() if splits}


class _Shards:
    """The files of one split; the next one is begun when the last is full."""

    def __init__(self, directory: Path, split: str, schema: pyarrow.Schema, max_size: int):
        self.directory, self.split, self.schema, self.max_size = directory, split, schema, max_size
        self.rows = 0
        self._paths: list[Path] = []
        self._waiting: list[pyarrow.Table] = []
        self._writer = None

    def write(self, table: pyarrow.Table) -> None:
        self._waiting.append(table)
        self.rows += len(table)
        if sum(map(len, self._waiting)) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pyarrow.concat_tables(self._waiting) if self._waiting else ()
        self._waiting = []
        if not len(table):  # a group without rows cannot be read
            return
        if self._writer is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._paths.append(self.directory / f"{self.split}-{len(self._paths):05d}")
            self._file = self._paths[-1].open("wb")
            # Chunks defined by content let the Hub store again only what has changed.
            self._writer = pyarrow.parquet.ParquetWriter(
                self._file, self.schema, use_content_defined_chunking=True, write_page_index=True
            )
        self._writer.write_table(table)
        if self._file.tell() >= self.max_size:
            self._close_file()

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = None

    def close(self) -> int:
        """Finish; how many rows there are."""
        self._flush()
        self._close_file()
        for path in self._paths:
            path.rename(f"{path}-of-{len(self._paths):05d}.parquet")
        return self.rows
