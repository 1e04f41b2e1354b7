"""Trees of requests, kept as data: a dataset that `treecot select` and the Space open, while it grows.

A tree is on the disk before its answer is sent. This module knows files and trees; it must not know requests.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..building.run_directory import claim_directory, locked
from ..files import write_atomically
from ..hub.dataset import FEATURES, read_tables
from ..mcts.tree import Tree


FULL = 256  # trees of a file; the last file is written anew until it has so many
DELAY = 5.0  # seconds until a tree is in a file that others read
CARD = """---
configs:
- config_name: trees
  data_files:
  - split: train
    path: trees/*.parquet
tags:
- tree-cot
- mcts
---
# Trees of served requests

Grown by Monte Carlo Tree Search over typed thoughts with hf_treecot, to answer requests. Nobody has checked the
answers: the reward of one is the share of the tree's answers that agree with it.
"""


class KeptTrees:
    """
    A directory of trees that grows. Used as an asynchronous context, in which no other process may write there.

    Args:
        directory (`Path`): Where they go, in its `dataset`.

    Raises:
        InvalidInputError: The directory holds something else, or another process keeps trees there.
    """

    def __init__(self, directory: Path):
        self.directory, self.trees = directory, directory / "dataset" / "trees"
        self._records: list[dict] = []  # of the last file
        self._written = 0  # of them
        self._file: Path | None = None  # the last one
        self._writing: asyncio.Task | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> "KeptTrees":
        claim_directory(self.directory, {"trees": "of served requests"})
        self._lock = locked(self.directory)
        self._lock.__enter__()
        self.trees.mkdir(parents=True, exist_ok=True)
        write_atomically(self.trees.parent / "README.md", CARD)
        tables = read_tables(self.trees.parent, "trees")
        self._known = {tree_id for table in tables for tree_id in table["tree_id"].to_pylist()}
        self._journal = (self.directory / "unwritten.jsonl").open("a+", encoding="utf-8")
        self._journal.seek(0)
        for record in _records(self._journal):  # of a server that was killed
            if record["tree_id"] not in self._known:
                self._known.add(record["tree_id"])
                self._records.append(record)
        await self._write()
        return self

    async def __aexit__(self, *_) -> None:
        self._closing.set()
        if self._writing is not None:
            await self._writing
        self._journal.close()
        self._lock.__exit__(None, None, None)

    def add(self, tree: Tree) -> bool:
        """Keep a tree; whether it is a new one."""
        if tree.tree_id in self._known:
            return False
        self._known.add(tree.tree_id)
        self._records.append(tree.to_record())
        self._journal.write(json.dumps(self._records[-1]) + "\n")
        self._journal.flush()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_soon())
        return True

    async def _write_soon(self) -> None:
        while self._written < len(self._records):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DELAY):
                    await self._closing.wait()
            await self._write()

    async def _write(self) -> None:
        records = list(self._records)
        if records:
            self._file = await asyncio.to_thread(self._write_file, records, self._file)
        self._written = len(records)
        if self._written >= FULL:
            del self._records[: self._written]
            self._written, self._file = 0, None
        self._journal.truncate(0)
        self._journal.writelines(json.dumps(record) + "\n" for record in self._records[self._written :])
        self._journal.flush()

    def _write_file(self, records: list[dict], before: Path | None) -> Path:
        """Put a file in the place of the last one; its name."""
        import pyarrow
        from pyarrow.parquet import write_table

        rows = [{**record, "provenance": json.dumps(record["provenance"], sort_keys=True)} for record in records]
        unfinished = self.directory / "unfinished.parquet"
        write_table(pyarrow.Table.from_pylist(rows, FEATURES["trees"].arrow_schema), unfinished)
        # `datasets` caches by names: other rows have another.
        path = self.trees / f"train-{hashlib.sha256(unfinished.read_bytes()).hexdigest()[:16]}.parquet"
        unfinished.replace(path)
        if before is not None and before != path:
            before.unlink()
        return path


def _records(lines: Iterable[str]) -> Iterator[dict]:
    """What was written to the end; the last line may not have been."""
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)
