"""Grow trees of thoughts and make a dataset of them.

    python recipes/build_trees.py --problems letters arithmetic --num_problems 20 --output_dir runs/mine
    python recipes/build_trees.py --config recipes/config/gsm8k.yaml --model Qwen/Qwen2.5-7B-Instruct
    python recipes/build_trees.py --problems letters --engine tgi --servers http://localhost:8080 --dry-run

Run the same command again after any interruption: it goes on where it was.
"""

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from hf_treecot import recipe
from hf_treecot.builder import BuildConfig, BuildReport, build_trees, check_directory
from hf_treecot.dataset import load_trees
from hf_treecot.decontamination import decontaminate
from hf_treecot.engines.loading import EngineArguments, open_engines, room_for_requests
from hf_treecot.errors import InvalidInputError
from hf_treecot.estimate import Estimate, MeteredEngine, compare, describe, estimate, save
from hf_treecot.judgements import Judgements, load_judgements
from hf_treecot.pattern import available_patterns, load_pattern
from hf_treecot.problem_formats import FORMATS
from hf_treecot.problems import Problem, load_problems
from hf_treecot.report import print_report
from hf_treecot.search import SearchConfig
from hf_treecot.selection import SelectionArguments, Selector, selection_config
from hf_treecot.verifiers import BUILT_IN, load_verifier
from hf_treecot.verifiers.worker import VerifierPool


@dataclass
class Arguments(SelectionArguments, EngineArguments):
    """Arguments of build_trees.py."""

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
        default=None, metadata={"help": f"{', '.join(BUILT_IN)}, or your own as module:function."}
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
    num_simulations: int = field(
        default=32, metadata={"help": "Simulations that make a tree with enough right answers."}
    )
    min_right: int = field(default=4, metadata={"help": "Right answers that are enough."})
    max_right: int = field(default=8, metadata={"help": "Right answers at which a tree stops at once."})
    give_up_factor: int = field(default=4, metadata={"help": "Give up after so many times num_simulations."})
    exploration_constant: float = field(default=2.0, metadata={"help": "C of UCB, in the paper's form."})
    max_depth: int = field(default=16, metadata={"help": "Thoughts in a chain."})
    max_new_tokens: int = field(default=512, metadata={"help": "Generated tokens of a thought."})
    max_chain_tokens: int = field(default=4096, metadata={"help": "Generated tokens of a chain."})
    temperature: float = field(default=0.7, metadata={"help": "Sampling temperature."})
    top_p: float = field(default=0.9, metadata={"help": "Nucleus."})
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


def read_problems(arguments: Arguments) -> list[Problem]:
    """The problems of all sources."""
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
            seed=arguments.seed,
            allow_evaluation_only=arguments.allow_evaluation_only,
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


async def build(arguments: Arguments, problems: list[Problem] | None = None) -> BuildReport | Estimate:
    """Everything that can be checked is checked before a model is loaded. Problems may be given, instead of read."""
    settings = {f.name: getattr(arguments, f.name) for f in fields(SearchConfig) if hasattr(arguments, f.name)}
    search = SearchConfig(**settings)
    config = BuildConfig(
        search, arguments.seed, 32 if arguments.trees_in_flight is None else arguments.trees_in_flight
    )
    selection = selection_config(arguments)
    judgements = load_judgements(arguments.judgements) if arguments.judgements else Judgements()
    patterns = [load_pattern(name) for name in arguments.patterns]
    pool = VerifierPool(time_limit=arguments.verifier_time_limit)
    check_directory(Path(arguments.output_dir))
    problems = problems or read_problems(arguments)
    async with pool, open_engines(arguments) as engines:
        tokenizer = engines["generator"].tokenizer
        selector = Selector(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"], selection, judgements)
        if arguments.trees_in_flight is None and (room := room_for_requests(engines)):
            config = replace(config, trees_in_flight=room)
        if arguments.dry_run:
            return await grow_sample(arguments, problems, patterns, engines, pool.verify, selector, config)
        return await build_trees(
            problems, patterns, engines, pool.verify, selector, Path(arguments.output_dir), config
        )


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
    return estimate(trees, written, started, finished, len(problems), arguments.price_per_hour)


def main() -> int:
    """Build, then say what came of it."""
    arguments = recipe.parse(Arguments, __doc__)
    output_dir = Path(arguments.output_dir)
    estimate_path = output_dir.with_name(f"{output_dir.name}.estimate.json")
    resume = f"Nothing is lost: run the same command again to go on in {output_dir}."
    result = recipe.run(lambda: asyncio.run(build(arguments)), resume="" if arguments.dry_run else resume)
    if isinstance(result, Estimate):
        save(result, estimate_path)
        print("\n".join(describe(result)))
        return 0
    print_report(result, output_dir)
    print("\n".join(compare(estimate_path, result)))
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
