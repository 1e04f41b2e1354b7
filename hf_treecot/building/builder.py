"""Many problems become many trees, and the trees a dataset.

This module runs searches concurrently, keeps what they find, shows progress, and resumes. It must not know how one
search works, nor how rows are chosen.
"""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..base import Problem
from ..engines.cost import CostLimit
from ..engines.engine import Engine
from ..engines.journal import Journal, JournaledEngine
from ..errors import EngineError, EnginesDownError, InvalidInputError, VerifierError
from ..files import write_atomically
from ..hub.dataset import DatasetWriter
from ..mcts.pattern import Pattern
from ..mcts.search import SearchConfig, Verify, search
from ..mcts.tree import Tree
from ..problems.loading import check_unique
from ..selection.selector import Selector
from ..verifiers import verifier_version
from .run_directory import claim_directory, locked


@dataclass
class BuildReport:
    """
    What a build came to. Not part of the dataset, since times differ from run to run.

    Args:
        trees (`int`): Trees in the dataset.
        failures (`dict[str, str]`): Problems without a tree, by id, with the reason.
        statistics (`dict[str, int]`): Sums over the trees: simulations, right, wrong, requests, tokens.
        with_right, with_pair (`int`): Trees with a right chain; with a right and a wrong one.
        rows (`dict[str, int]`): Rows of each config.
        rejections (`dict[str, int]`): What selection left out, by reason.
        escaped_control_tokens (`int`): Control tokens in problems and thoughts that were made plain text.
        selection (`dict`): How rows were selected.
        tokenizer (`str`): Whose tokens their lengths are, if it is known.
        seconds (`float`): Wall time of this run.
        journal_seconds (`float`): Part of it spent in the journal.
        asked, replayed (`int`): Requests that the engines were asked, and that came from the journal.
        cost (`float`): Of all requests of the run, earlier ones included, where prices are given.
    """

    trees: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, int] = field(default_factory=dict)
    with_right: int = 0
    with_pair: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    rejections: dict[str, int] = field(default_factory=dict)
    escaped_control_tokens: int = 0
    selection: dict[str, str | float | None] = field(default_factory=dict)
    tokenizer: str = ""
    seconds: float = 0.0
    journal_seconds: float = 0.0
    asked: int = 0
    replayed: int = 0
    cost: float = 0.0

    def count(self, statistics: Mapping[str, int]) -> None:
        """Add a tree's statistics."""
        self.trees += 1
        for name, value in statistics.items():
            self.statistics[name] = self.statistics.get(name, 0) + value
        self.with_right += statistics["right"] > 0
        self.with_pair += statistics["right"] > 0 and statistics["wrong"] > 0


@dataclass(frozen=True)
class BuildConfig:
    """
    How a run is built.

    Args:
        search ([`SearchConfig`]): How every tree is searched.
        seed (`int`): With the problem's id, the seed of its tree.
        trees_in_flight (`int`): Trees that grow at the same time; does not change the trees.
        max_cost (`float`, *optional*): No request is begun once the run has cost so much.
        show_progress (`bool`): Draw a progress bar.
    """

    search: SearchConfig = field(default_factory=SearchConfig)
    seed: int = 0
    trees_in_flight: int = 32
    show_progress: bool = True
    max_cost: float | None = None

    def __post_init__(self):
        if self.trees_in_flight < 1:
            raise InvalidInputError(f"trees_in_flight={self.trees_in_flight} is out of range: it must be at least 1")
        if self.max_cost is not None and not self.max_cost > 0:
            raise InvalidInputError(f"max_cost={self.max_cost} is out of range: it must be above 0")


async def build_trees(
    problems: Sequence[Problem],
    patterns: Sequence[Pattern],
    engines: Mapping[str, Engine],
    verify: Verify,
    selector: Selector,
    output_dir: Path,
    config: BuildConfig,
) -> BuildReport:
    """
    Grow a tree for every problem and write the dataset. Run again after any interruption, it goes on where it was.

    Args:
        problems (`Sequence[Problem]`): What the trees are about.
        patterns (`Sequence[Pattern]`): Every tree is grown with one of them, chosen at random by its problem's id.
        engines (`Mapping[str, Engine]`): One engine per role, `"generator"` and `"critic"`.
        verify (`Callable`): `await verify(answer_text, problem)`, as of a [`~verifiers.worker.VerifierPool`].
        selector ([`~selection.Selector`]): Chooses the rows of the `sft` and `preference` configs.
        output_dir (`Path`): The run's directory; the dataset goes to its `dataset`.
        config ([`BuildConfig`]): Search, seed, concurrency.

    Returns:
        [`BuildReport`]: Problems whose engine or verifier failed are in its `failures`; another run tries them again.

    Raises:
        InvalidInputError: Two problems have one id, a verifier does not exist, or the directory holds another run.
        EnginesDownError: There are no servers any more, or no more may be spent.
    """
    check_unique(problems)
    run = describe_run(problems, patterns, engines, config)
    claim_directory(output_dir, run)
    started = time.perf_counter()
    report = BuildReport()
    with locked(output_dir):
        journal = Journal(output_dir / "journal.sqlite")
        try:
            limited = CostLimit(journal, config.max_cost).request
            journaled = {role: JournaledEngine(engine, journal, limited) for role, engine in engines.items()}
            build = _Build(patterns, journaled, verify, config, journal, report, run)
            await build.grow(problems)
            records = (record for p in problems if (record := journal.find_tree(p.problem_id)) is not None)
            write_dataset(records, selector, output_dir / "dataset", report)
        finally:
            journal.close()
    report.seconds, report.journal_seconds = time.perf_counter() - started, journal.seconds
    report.asked, report.replayed, report.cost = journal.asked, journal.replayed, journal.cost
    write_report(report, output_dir)
    return report


def select_again(trees: Iterable[Tree], selector: Selector, output_dir: Path, source: str) -> BuildReport:
    """
    Make a dataset of trees that are there already, with rows selected in another way. Nothing is generated.

    Args:
        trees (`Iterable[Tree]`): For example of [`load_trees`].
        selector ([`~selection.Selector`]): Chooses the rows of the `sft` and `preference` configs.
        output_dir (`Path`): Where the dataset goes, in its `dataset`; that of an earlier selection is replaced.
        source (`str`): Where the trees are from.

    Raises:
        InvalidInputError: The directory holds something else, or there are no trees.
    """
    claim_directory(output_dir, {"trees": source})
    started = time.perf_counter()
    report = BuildReport()

    def records() -> Iterator[dict]:
        for tree in trees:
            report.count(tree.statistics)
            yield tree.to_record()
        if not report.trees:
            raise InvalidInputError(f"trees {source!r}: there are none; give a dataset with at least one tree")

    write_dataset(records(), selector, output_dir / "dataset", report)
    report.seconds = time.perf_counter() - started
    write_report(report, output_dir)
    return report


def write_report(report: BuildReport, output_dir: Path) -> None:
    """Keep what a build came to beside its dataset."""
    write_atomically(output_dir / "report.json", json.dumps(asdict(report), indent=2) + "\n")


@dataclass
class _Build:
    """One build in progress."""

    patterns: Sequence[Pattern]
    engines: Mapping[str, Engine]
    verify: Verify
    config: BuildConfig
    journal: Journal
    report: BuildReport
    run: dict

    async def grow(self, problems: Sequence[Problem]) -> None:
        """Grow all trees, so many at a time."""
        with tqdm(total=len(problems), unit="tree", desc="Trees", disable=not self.config.show_progress) as bar:

            async def grow_one(problem: Problem) -> None:
                await self._grow_one(problem)
                self._show(bar)

            await in_flight(problems, self.config.trees_in_flight, grow_one)

    async def _grow_one(self, problem: Problem) -> None:
        record = self.journal.find_tree(problem.problem_id)
        if record is None:
            rng = random.Random(f"{self.config.seed}/{problem.problem_id}")
            pattern = rng.choice(self.patterns)
            try:
                tree = await search(problem, pattern, self.engines, self.verify, self.config.search, rng)
            except (EngineError, VerifierError) as error:
                self.report.failures[problem.problem_id] = f"{type(error).__name__}: {error}"
                return
            tree.provenance = self._provenance(problem)
            record = tree.to_record()
            self.journal.store_tree(problem.problem_id, record)
        self.report.count(record["statistics"])

    def _provenance(self, problem: Problem) -> dict[str, str]:
        settings = {name: str(value) for name, value in asdict(self.config.search).items()}
        models = {
            f"{role}_{name}": value
            for role, identity in self.run["engines"].items()
            for name, value in identity.items()
        }
        remarks = {
            f"{role}_{name}": value for role, engine in self.engines.items() for name, value in engine.remarks.items()
        }
        verifier = f"{problem.verifier} {self.run['verifiers'][problem.verifier]}"
        versions = {"hf_treecot": version("hf-treecot"), "verifier": verifier}
        return {"seed": str(self.config.seed), **settings, **models, **remarks, **versions}

    def _show(self, bar: tqdm) -> None:
        sums, seconds = self.report.statistics, bar.format_dict["elapsed"]
        bar.set_postfix_str(
            f"{sums.get('right', 0)} right, {sums.get('wrong', 0)} wrong, {len(self.report.failures)} failed, "
            f"{sums.get('generated_tokens', 0) / max(seconds, 1e-9):.0f} tokens/s",
            refresh=False,
        )
        bar.update()


async def in_flight(items: Iterable[Any], count: int, work: Callable[[Any], Awaitable[None]]) -> None:
    """
    Do the same for all of some things, so many at a time.

    Args:
        items (`Iterable`): The things.
        count (`int`): How many are in work at the same time.
        work (`Callable`): What is done; what it raises ends all.

    Raises:
        EnginesDownError: No server is left.
    """
    slots, reason = asyncio.Semaphore(count), None

    async def one(item: Any) -> None:
        async with slots:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))
    except* EnginesDownError as stopped:
        reason = stopped.exceptions[0]  # the same for all
    if reason is not None:
        raise reason


def describe_run(
    problems: Sequence[Problem], patterns: Sequence[Pattern], engines: Mapping[str, Engine], config: BuildConfig
) -> dict:
    """
    All that a run's trees depend on, as plain values: two runs with the same description give the same trees.

    Raises:
        InvalidInputError: Two patterns have one name, or a verifier does not exist.
    """
    names = [pattern.name for pattern in patterns]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(f"patterns={names}: give at least one, and each a name of its own")
    digest = hashlib.sha256(json.dumps([asdict(p) for p in problems]).encode()).hexdigest()
    return {
        "problems": f"{len(problems)} ({digest[:12]})",
        # In order, since a tree's pattern is drawn from the list.
        "patterns": [[p.name, hashlib.sha256(json.dumps(asdict(p)).encode()).hexdigest()[:12]] for p in patterns],
        "verifiers": {name: verifier_version(name) for name in sorted({p.verifier for p in problems})},
        "engines": {role: asdict(engine.identity) for role, engine in sorted(engines.items())},
        "search": asdict(config.search),
        "seed": config.seed,
    }


def write_dataset(records: Iterable[dict], selector: Selector, directory: Path, report: BuildReport) -> None:
    """Write trees, given as records, and the rows selected from them."""
    with DatasetWriter(directory) as writer:
        for record in records:
            tree = Tree.from_record(record)
            report.escaped_control_tokens += tree.escaped_control_tokens
            writer.write("trees", record)
            for row in selector.select_sft(tree):
                writer.write("sft", row)
            for row in selector.select_preferences(tree):
                writer.write("preference", row)
            for row in selector.select_steps(tree):
                writer.write("steps", row)
    report.rows, report.rejections = dict(writer.counts), dict(selector.rejections)
    report.selection, report.tokenizer = asdict(selector.config), selector.tokenizer_name
