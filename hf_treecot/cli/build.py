"""Grow trees of thoughts and make a dataset of them.

    treecot build --problems letters arithmetic --num_problems 20 --output_dir runs/mine
    treecot build --config gsm8k --model Qwen/Qwen2.5-7B-Instruct
    treecot build --problems letters --engine tgi --servers http://localhost:8080 --dry_run true

Run the same command again after any interruption: it goes on where it was.
"""

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..base import BUILT_IN_VERIFIERS, Problem
from ..building.builder import BuildConfig, BuildReport, build_trees
from ..building.estimate import Estimate, MeteredEngine, compare, describe, estimate, save
from ..building.run_directory import check_directory
from ..errors import InvalidInputError
from ..hub.dataset import load_trees
from ..mcts.pattern import available_patterns, load_pattern
from ..mcts.search import SearchConfig
from ..problems.decontamination import decontaminate
from ..problems.formats import FORMATS
from ..problems.loading import load_problems
from ..reports.build_summary import print_report
from ..selection.judgements import Judgements, load_judgements
from ..selection.selector import SelectionConfig, Selector
from ..verifiers import load_verifier
from ..verifiers.worker import VerifierPool
from .engines import EngineArguments, open_engines, prices_of, room_for_requests, served
from .parser import parse, run


LONG_BUILD = 64  # problems: from here on processes for a local model are worth the seconds that they start in


@dataclass
class ProblemArguments:
    """Which problems."""

    problems: list[str] = field(
        default_factory=lambda: ["letters", "arithmetic"],
        metadata={"help": "Files (.json, .jsonl, .csv, .parquet), directories, Hub datasets, or built-in generators."},
    )
    num_problems: int | None = field(default=None, metadata={"help": "At most so many of each source."})
    split: str = field(default="train", metadata={"help": "Split of directories and Hub datasets."})
    config_name: str | None = field(default=None, metadata={"help": "Configuration of Hub datasets."})
    problem_format: str = field(default="auto", metadata={"help": f"How rows are read: auto, {', '.join(FORMATS)}."})
    columns: list[str] = field(
        default_factory=list,
        metadata={"help": "Instead of a format: prompt=COLUMN answer=COLUMN [problem_id=COLUMN]."},
    )
    verifier: str | None = field(
        default=None, metadata={"help": f"{', '.join(BUILT_IN_VERIFIERS)}, or your own as module:function."}
    )
    decontaminate_against: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Evaluation sets (as problems; split test of Hub datasets): problems like theirs are left out."
        },
    )
    allow_evaluation_only: bool = field(
        default=False, metadata={"help": "Take problems that are published for evaluation only (Multi-IF)."}
    )

    def __post_init__(self):
        if self.num_problems is not None and self.num_problems < 1:
            raise InvalidInputError(f"num_problems={self.num_problems} is out of range: ask for at least 1 problem")


@dataclass
class BuildArguments:
    """How many trees at a time, where they go, and what they are grown with."""

    patterns: list[str] = field(
        default_factory=available_patterns,
        metadata={"help": "Transition patterns, one chosen at random for every problem: names or .yaml files."},
    )
    output_dir: str = field(default="runs/trees", metadata={"help": "The run's directory."})
    seed: int = field(default=0, metadata={"help": "Seed of the searches and of generated problems."})
    trees_in_flight: int | None = field(
        default=None,
        metadata={
            "help": "Trees that grow at the same time. Default: 32; with servers, as many as they take requests."
        },
    )
    judgements: str | None = field(
        default=None, metadata={"help": "Directory of judgements: what annotators reject is left out of the rows."}
    )
    verifier_time_limit: float = field(default=10.0, metadata={"help": "Seconds for one check."})
    dry_run: bool = field(
        default=False, metadata={"help": "Only grow a sample, and say what the build will take: tokens, hours, cost."}
    )
    dry_run_problems: int | None = field(
        default=None, metadata={"help": "Problems of the sample. Default: as many as grow at the same time."}
    )
    price_per_hour: float | None = field(
        default=None, metadata={"help": "What all engines together cost in an hour, for the estimate."}
    )
    max_cost: float | None = field(
        default=None,
        metadata={"help": "Stop when the run's tokens have cost so much, by the prices given; to go on, give more."},
    )

    def __post_init__(self):
        if self.price_per_hour is not None and not self.price_per_hour > 0:
            raise InvalidInputError(f"price_per_hour={self.price_per_hour} is out of range: it must be above 0")


class BuildSettings(NamedTuple):
    """All arguments of a build, each group by itself."""

    problems: ProblemArguments
    engines: EngineArguments
    build: BuildArguments
    search: SearchConfig
    selection: SelectionConfig

    @classmethod
    def kinds(cls) -> tuple[type, ...]:
        """The classes that the command line is read into."""
        return tuple(cls.__annotations__.values())


def read_problems(arguments: ProblemArguments, seed: int) -> list[Problem]:
    """The problems of all sources; those that are made up from a seed, by this one."""
    columns = None
    if arguments.columns:
        if bad := [item for item in arguments.columns if item.count("=") != 1]:
            raise InvalidInputError(
                f"columns={bad[0]!r}: write it as prompt=COLUMN, answer=COLUMN or problem_id=COLUMN"
            )
        columns = dict(item.split("=") for item in arguments.columns)
    if not arguments.problems:
        raise InvalidInputError("problems is empty: name at least one source")
    problems = [
        problem
        for source in arguments.problems
        for problem in load_problems(
            source,
            split=arguments.split,
            config_name=arguments.config_name,
            format=arguments.problem_format,
            columns=columns,
            verifier=arguments.verifier,
            limit=arguments.num_problems,
            seed=seed,
            allow_evaluation_only=arguments.allow_evaluation_only,
            merge_repeated=True,
        )
    ]
    for verifier in {problem.verifier for problem in problems}:
        load_verifier(verifier)
    if not arguments.decontaminate_against:
        return problems
    evaluation = [
        problem
        for source in arguments.decontaminate_against
        for problem in load_problems(source, split="test", allow_evaluation_only=True)
    ]
    kept, left_out = decontaminate(problems, evaluation)
    print(f"Decontamination: {len(left_out)} of {len(problems)} problems are like evaluation problems and left out.")
    if not kept:
        raise InvalidInputError("decontaminate_against: it leaves no problem; choose other problems")
    return kept


async def build(settings: BuildSettings, problems: list[Problem] | None = None) -> BuildReport | Estimate:
    """Everything that can be checked is checked before a model is loaded. Problems may be given, instead of read."""
    arguments = settings.build
    config = BuildConfig(
        settings.search,
        arguments.seed,
        32 if arguments.trees_in_flight is None else arguments.trees_in_flight,
        max_cost=arguments.max_cost,
    )
    if arguments.max_cost is not None and prices_of(settings.engines, "generator") is None:
        raise InvalidInputError(
            f"max_cost={arguments.max_cost} cannot be kept without prices: set prompt_price and completion_price"
        )
    judgements = load_judgements(arguments.judgements) if arguments.judgements else Judgements()
    patterns = [load_pattern(name) for name in arguments.patterns]
    pool = VerifierPool(time_limit=arguments.verifier_time_limit)
    check_directory(Path(arguments.output_dir))
    problems = problems or read_problems(settings.problems, arguments.seed)
    sampling = settings.search.temperature, settings.search.top_p
    output_dir = Path(arguments.output_dir)
    async with (
        pool,
        served(settings.engines, output_dir) as who,
        open_engines(who, *sampling, long=len(problems) >= LONG_BUILD) as engines,
    ):
        selector = Selector.of_tokenizer(engines["generator"].tokenizer, settings.selection, judgements)
        if arguments.trees_in_flight is None and (room := room_for_requests(engines)):
            config = replace(config, trees_in_flight=room)
        if arguments.dry_run:
            return await grow_sample(arguments, problems, patterns, engines, pool.verify, selector, config)
        return await build_trees(problems, patterns, engines, pool.verify, selector, output_dir, config)


async def grow_sample(arguments, problems, patterns, engines, verify, selector, config) -> Estimate:
    """Grow the trees of a sample of the problems, keep none, and estimate what all of them will take."""
    size = config.trees_in_flight if arguments.dry_run_problems is None else arguments.dry_run_problems
    if size < 1:
        raise InvalidInputError(f"dry_run_problems={size} is out of range: it must be at least 1")
    sample = random.Random(config.seed).sample(problems, min(size, len(problems)))
    metered = {id(engine): MeteredEngine(engine) for engine in engines.values()}
    by_role = {role: metered[id(engine)] for role, engine in engines.items()}
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        await build_trees(sample, patterns, by_role, verify, selector, Path(directory) / "run", config)
        finished, trees = time.monotonic(), list(load_trees(Path(directory) / "run"))
    written = [entry for engine in metered.values() for entry in engine.written]
    cost = sum(engine.cost for engine in metered.values())
    return estimate(trees, written, started, finished, len(problems), arguments.price_per_hour, cost)


def main(args: list[str] | None = None) -> int:
    """Build, then say what came of it."""
    settings = BuildSettings(*parse("build", BuildSettings.kinds(), __doc__, args))
    output_dir = Path(settings.build.output_dir)
    estimate_path = output_dir.with_name(f"{output_dir.name}.estimate.json")
    resume = f"Nothing is lost: run the same command again to go on in {output_dir}."
    result = run(lambda: asyncio.run(build(settings)), resume="" if settings.build.dry_run else resume)
    if isinstance(result, Estimate):
        save(result, estimate_path)
        print("\n".join(describe(result)))
        return 0
    print_report(result, output_dir)
    print("\n".join(compare(estimate_path, result)))
    return 1 if result.failures else 0
