"""A dataset of trees, browsed without loading it: a few columns of all rows, and one tree at a time.

The columns come from the parquet files of a directory, or by range requests from the Hub.
"""

import json
import logging
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx

from ..errors import InvalidInputError
from ..hub.dataset import dataset_directory, tree_from_row
from ..hub.repository import HUB_NAME
from ..mcts.tree import Tree


logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "shipped"  # a run that comes with the package
EXAMPLES = "examples"  # what its trees are called
SHOWN_PROMPT = 120  # characters of a prompt in a list
COLUMNS = {
    "tree_id": "tree_id",
    "problem_id": "problem.problem_id",
    "prompt": "problem.prompt",
    "source": "problem.source",
    "pattern": "pattern",
    "right": "statistics.right",
    "wrong": "statistics.wrong",
    "simulations": "statistics.simulations",
    "tokens": "statistics.generated_tokens",
}
ORDERS = {
    "as in the dataset": None,
    "success rate, lowest first": ("success", "ascending"),
    "success rate, highest first": ("success", "descending"),
    "length, shortest first": ("tokens", "ascending"),
    "length, longest first": ("tokens", "descending"),
}


@dataclass(frozen=True)
class Query:
    """
    Which trees are listed, and in which order.

    Args:
        text (`str`): Part of the problem's id or prompt.
        source, pattern (`str`): Exactly this one; empty for all.
        min_success, max_success (`float`): Share of right answers among all answers.
        min_tokens, max_tokens (`float`, *optional*): Generated tokens of the tree.
        order (`str`): One of [`ORDERS`].
    """

    text: str = ""
    source: str = ""
    pattern: str = ""
    min_success: float = 0.0
    max_success: float = 1.0
    min_tokens: float | None = None
    max_tokens: float | None = None
    order: str = "as in the dataset"


class TreeIndex:
    """
    The trees of a dataset.

    Args:
        paths (`list[str]`): Its parquet files of trees.
        preference_paths (`list[str]`): Its parquet files of pairs.
        open_file (`Callable`): Gives for a path what pyarrow reads from.
    """

    def __init__(self, paths: list[str], preference_paths: list[str], open_file: Callable[[str], Any]):
        self._trees = RowReader(paths, open_file)
        self._preferences = RowReader(preference_paths, open_file)
        self.table = self._read_table()
        self._cached_tree = lru_cache(maxsize=16)(self._read_tree)

    def _read_table(self) -> pyarrow.Table:
        table = self._trees.read_columns(COLUMNS)
        prompts = compute.utf8_slice_codeunits(table["prompt"], 0, SHOWN_PROMPT)
        answers = compute.add(table["right"], table["wrong"])
        # Without any answer the rate is 0: nothing was right.
        success = compute.divide(compute.cast(table["right"], "float64"), compute.max_element_wise(answers, 1))
        columns = table.set_column(table.column_names.index("prompt"), "prompt", prompts)
        rows = pyarrow.array(range(len(table)), "int64")
        return columns.append_column("success", success).append_column("row", rows)

    def __len__(self) -> int:
        return len(self.table)

    def values(self, column: str) -> list[str]:
        """The different values of a column, sorted."""
        return sorted(compute.unique(self.table[column]).to_pylist())

    def find(self, query: Query) -> pyarrow.Table:
        """The rows that a query asks for, in its order."""
        table, conditions = self.table, []
        for column in ("source", "pattern"):
            if value := getattr(query, column):
                conditions.append(compute.equal(table[column], value))
        for column, low, high in (
            ("success", query.min_success or None, query.max_success if query.max_success < 1 else None),
            ("tokens", query.min_tokens, query.max_tokens),
        ):
            if low is not None:
                conditions.append(compute.greater_equal(table[column], low))
            if high is not None:
                conditions.append(compute.less_equal(table[column], high))
        if query.text:
            found = [
                compute.match_substring(table[column], query.text, ignore_case=True)
                for column in ("problem_id", "prompt")
            ]
            conditions.append(compute.or_(*found))
        if conditions:
            table = table.filter(reduce(compute.and_, conditions))
        order = ORDERS.get(query.order)
        return table.sort_by([order, ("row", "ascending")]) if order else table

    def row_of(self, tree_id: str) -> int:
        """
        Where a tree stands.

        Raises:
            InvalidInputError: It is not there.
        """
        row = compute.index(self.table["tree_id"], tree_id).as_py()
        if row < 0:
            raise InvalidInputError(f"tree {tree_id[:200]!r} is not in this dataset: choose one of its list")
        return row

    def tree(self, row: int) -> Tree:
        """One tree."""
        if not 0 <= row < len(self):
            raise InvalidInputError(f"row={row} is out of range: the dataset has {len(self)} trees")
        return self._cached_tree(row)

    def _read_tree(self, row: int) -> Tree:
        try:
            return tree_from_row(self._trees.read_row(row))
        except InvalidInputError as error:
            raise InvalidInputError(f"row {row} of the dataset: {error}") from error

    def pairs(self, tree: Tree) -> list[dict[str, Any]]:
        """The preference rows of a tree, as they are in the dataset."""
        return [self._preferences.read_row(row) for row in self._pair_rows.get(tree.tree_id, ())]

    @cached_property
    def _pair_rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, tree_id in enumerate(self._preferences.read_columns({"tree_id": "tree_id"})["tree_id"].to_pylist()):
            rows.setdefault(tree_id, []).append(row)
        return rows


class RowReader:
    """Some parquet files as one list of rows: a row is found without reading those of other row groups."""

    def __init__(self, paths: list[str], open_file: Callable[[str], Any]):
        self._files = [parquet.ParquetFile(open_file(path)) for path in paths]
        self._groups = [(file, i) for file in self._files for i in range(file.num_row_groups)]
        self._lock = Lock()  # pyarrow does not say that a file may be read by two threads
        self._starts = [0]
        for file, i in self._groups:
            self._starts.append(self._starts[-1] + file.metadata.row_group(i).num_rows)

    def read_columns(self, columns: dict[str, str]) -> pyarrow.Table:
        """Some columns of all rows, each by a name of its own; dots lead into structures."""
        schema = {name: _empty(path) for name, path in columns.items()}
        tables = [pyarrow.table(schema)]
        for file in self._files:
            table = file.read(columns=list(columns.values()))
            tables.append(pyarrow.table({name: _column(table, path) for name, path in columns.items()}))
        return pyarrow.concat_tables(tables)

    def read_row(self, row: int) -> dict[str, Any]:
        """One row as plain values."""
        group = bisect_right(self._starts, row) - 1
        file, i = self._groups[group]
        with self._lock:
            rows = file.read_row_group(i)
        return rows.slice(row - self._starts[group], 1).to_pylist()[0]


def _empty(path: str) -> pyarrow.Array:
    return pyarrow.array([], "int64" if path.startswith("statistics.") else "string")


def _column(table: pyarrow.Table, path: str) -> pyarrow.ChunkedArray:
    first, *rest = path.split(".")
    column = table[first]
    return compute.struct_field(column, rest) if rest else column


def open_trees(source: str, *, directories: bool = True, token: bool | None = None) -> TreeIndex:
    """
    Open a dataset of trees.

    Args:
        source (`str`): A run's directory, its `dataset` directory, a dataset on the Hub (`"user/name"`), or
            [`EXAMPLES`].
        directories (`bool`): Whether a directory may be opened. Not by visitors of a public Space.
        token (`bool`, *optional*): False reads only what everybody may read.

    Raises:
        InvalidInputError: There is no such dataset, or it holds no trees.
    """
    source = source.strip()
    if source == EXAMPLES:
        return _open_directory(SHIPPED)
    if not source:
        raise InvalidInputError("source is empty: give the directory of a run, or a dataset on the Hub as user/name")
    if directories and Path(source).exists():
        return _open_directory(Path(source))
    if not HUB_NAME.fullmatch(source):
        kinds = "the directory of a run, or a dataset on the Hub as user/name" if directories else "user/name"
        raise InvalidInputError(f"source {source!r} does not exist: give {kinds}")
    return _open_hub(source, token)


def _open_directory(directory: Path) -> TreeIndex:
    dataset = dataset_directory(directory)
    paths, preferences = (sorted(map(str, dataset.glob(f"{name}/*.parquet"))) for name in ("trees", "preference"))
    if not paths:
        raise InvalidInputError(
            f"source {str(directory)!r} is not a run: there are no trees; give a directory that "
            "`treecot build` has finished"
        )
    return _index(str(directory), paths, preferences, lambda path: path)


def settings_of(run: Path) -> dict[str, set[str]]:
    """Every value of every setting of a run's trees, without reading the trees; nothing where there are none."""
    settings: dict[str, set[str]] = {}
    for path in sorted(dataset_directory(run).glob("trees/*.parquet")):
        try:
            records = compute.unique(parquet.read_table(path, columns=["provenance"])["provenance"]).to_pylist()
            for record in map(json.loads, filter(None, records)):
                for name, value in record.items():
                    settings.setdefault(name, set()).add(value)
        except (pyarrow.ArrowException, KeyError, ValueError, AttributeError, TypeError) as error:
            logger.warning("%s: its settings are not read (%s)", path.name, error)
    return settings


def _open_hub(name: str, token: bool | None) -> TreeIndex:
    files = HfFileSystem(token=token)
    try:
        paths, preferences = (
            sorted(files.glob(f"datasets/{name}/{config}/*.parquet")) for config in ("trees", "preference")
        )
        if not paths:
            raise InvalidInputError(f"source {name!r}: there is no such dataset on the Hub, or it holds no trees")
        return _index(name, paths, preferences, lambda path: files.open(path, block_size=2**20))
    except (OSError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, httpx.TransportError) as error:
        raise InvalidInputError(
            f"source {name!r}: there is no directory of that name, and the Hub cannot be read "
            f"({type(error).__name__}); check the name and the connection"
        ) from error


def _index(name: str, paths: list[str], preferences: list[str], open_file: Callable) -> TreeIndex:
    try:
        index = TreeIndex(paths, preferences, open_file)
    except (pyarrow.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInputError(
            f"source {name!r}: its trees cannot be read ({reason}); give a dataset that hf_treecot has written"
        ) from error
    if not len(index):
        raise InvalidInputError(f"source {name!r}: the dataset has no trees; build some first")
    return index
