"""Trees on many machines: building as steps of datatrove, which its local, Slurm and Ray executors run.

The problems are cut into shards, one a task. A task is a build of its own in a directory of its own, with its own
journal, so that a task that was killed goes on where it was. Then one more task merges the trees of all of them into
one dataset. This module knows shards and tasks; it must not know models, engines, nor how a tree is grown.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datatrove.data import DocumentsPipeline
from datatrove.executor.base import PipelineExecutor
from datatrove.pipeline.base import PipelineStep

from ..base import Problem
from ..errors import InvalidInputError
from ..files import write_atomically
from ..hub.dataset import read_tables
from ..problems.loading import check_unique
from ..selection.selector import Selector
from .builder import BuildReport, write_dataset
from .run_directory import claim_directory


Build = Callable[[list[Problem], Path], BuildReport]


class BuildShard(PipelineStep):
    """
    Grow the trees of one shard of the problems.

    Args:
        directory (`Path`): The run's directory, on a disk that all tasks see.
        build (`Callable[[list[Problem], Path], BuildReport]`): Grows the trees of some problems in a directory, as
            [`~builder.build_trees`]. It travels to the tasks, so it is a function of a module that they can import,
            with plain arguments.
    """

    type, name = "trees", "build"

    def __init__(self, directory: Path, build: Build):
        super().__init__()
        self.directory, self.build = directory.absolute(), build

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Build shard number `rank`; what it came to is among datatrove's statistics."""
        problems = read_shard(self.directory, rank)
        with self.track_time("shard"):
            report = self.build(problems, task_directory(self.directory, rank)) if problems else BuildReport()
        self.stat_update("trees", value=report.trees)
        self.stat_update("failures", value=len(report.failures))
        yield from data or ()


class MergeShards(PipelineStep):
    """
    Make one dataset of the trees of all tasks, in the order of the problems, with rows selected over all of them.

    Args:
        directory (`Path`): The run's directory.
        num_tasks (`int`): How many tasks there are.
        make_selector (`Callable[[str], Selector]`): Makes what chooses the rows, of the name of the tokenizer that
            the tasks have used; it travels as `build` does.
    """

    type, name = "trees", "merge"

    def __init__(self, directory: Path, num_tasks: int, make_selector: Callable[[str], Selector]):
        super().__init__()
        self.directory, self.num_tasks, self.make_selector = directory.absolute(), num_tasks, make_selector

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write the dataset and the report of the whole run."""
        merge_shards(self.directory, self.num_tasks, self.make_selector)
        yield from data or ()


def write_problem_shards(
    problems: Sequence[Problem], directory: Path, num_tasks: int, settings: Mapping[str, Any]
) -> None:
    """
    Cut the problems into shards, one a task, and make the directory the run's own.

    Neighbours stay together, so that merging the shards one after the other gives the order of the problems.

    Args:
        problems (`Sequence[Problem]`): What the trees are about.
        directory (`Path`): The run's directory.
        num_tasks (`int`): How many shards. Many small tasks balance better than few large ones.
        settings (`Mapping[str, Any]`): What else the trees depend on, as plain values.

    Raises:
        InvalidInputError: Two problems have one id, there are more tasks than problems, or the directory holds another
            run.
    """
    check_unique(problems)
    if not 1 <= num_tasks <= len(problems):
        raise InvalidInputError(
            f"num_tasks={num_tasks} is out of range: it must be at least 1, and at most the number of problems "
            f"({len(problems)})"
        )
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps(asdict(problem)).encode())
    problem_digest = f"{len(problems)} ({digest.hexdigest()[:12]})"
    claim_directory(directory, {"problems": problem_digest, "tasks": num_tasks, **settings})
    for rank in range(num_tasks):
        start, end = (len(problems) * number // num_tasks for number in (rank, rank + 1))
        text = "".join(f"{json.dumps(asdict(problem))}\n" for problem in problems[start:end])
        write_atomically(_shard_path(directory, rank), text)


def read_shard(directory: Path, rank: int) -> list[Problem]:
    """The problems of task number `rank`."""
    with _shard_path(directory, rank).open(encoding="utf-8") as lines:
        return [Problem(**json.loads(line)) for line in lines]


def task_directory(directory: Path, rank: int) -> Path:
    """Where task number `rank` builds; see [`~builder.build_trees`] for what is in it."""
    path = directory / "tasks" / f"{rank:05d}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def forget_failures(executor: PipelineExecutor, directory: Path) -> None:
    """
    Make datatrove run those finished tasks again that have problems which failed: it knows only finished or not.

    Args:
        executor (`~datatrove.executor.base.PipelineExecutor`): Of a pipeline with a [`BuildShard`].
        directory (`Path`): The run's directory.
    """
    for rank in range(executor.world_size):
        if executor.is_rank_completed(rank) and _task_report(directory, rank).failures:
            executor.logging_dir.rm_file(f"completions/{rank:05d}")


def merge_shards(directory: Path, num_tasks: int, make_selector: Callable[[str], Selector]) -> BuildReport:
    """
    Make one dataset of the trees of all tasks.

    Args:
        directory (`Path`): The run's directory; the dataset goes to its `dataset`, in place of an older one.
        num_tasks (`int`): How many tasks there are.
        make_selector (`Callable[[str], Selector]`): As in [`MergeShards`].

    Returns:
        [`BuildReport`]: Of the whole run; `seconds` is the sum over the tasks. Also written to `report.json`.

    Raises:
        InvalidInputError: A task has not finished.
    """
    report = BuildReport()

    def records() -> Iterator[dict]:
        for rank in range(num_tasks):
            dataset = task_directory(directory, rank) / "dataset"
            if not dataset.is_dir():
                raise InvalidInputError(f"task {rank} of {str(directory)!r} has no dataset: finish the build first")
            for table in read_tables(dataset, "trees"):
                for row in table.to_pylist():
                    report.count(row["statistics"])
                    yield {**row, "provenance": json.loads(row["provenance"])}

    parts = [_task_report(directory, rank) for rank in range(num_tasks)]
    tokenizer = next((part.tokenizer for part in parts if part.tokenizer), "")
    write_dataset(records(), make_selector(tokenizer), directory / "dataset", report)
    for part in parts:
        report.failures |= part.failures
        for name in ("seconds", "journal_seconds", "asked", "replayed"):
            setattr(report, name, getattr(report, name) + getattr(part, name))
    (directory / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def _shard_path(directory: Path, rank: int) -> Path:
    return directory / "problems" / f"{rank:05d}.jsonl"


def _task_report(directory: Path, rank: int) -> BuildReport:
    path = task_directory(directory, rank) / "report.json"
    return BuildReport(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else BuildReport()
