"""Search on from nodes of trees that are there: from every change of mind of a right chain a model writes new
continuations without one, so that long traces become short ones, and pairs (after Retro-Search, arXiv:2504.04383).

    treecot regrow --trees runs/traces --model Qwen/Qwen2.5-7B-Instruct
    treecot regrow --trees runs/demo --output_dir runs/shorter

Trees may be imported (`treecot import`) or grown (`treecot build`). Run the same command again after any interruption:
it goes on where it was.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from ..building.builder import BuildReport
from ..building.regrowing import Shortening, regrow_trees
from ..building.run_directory import check_directory
from ..errors import InvalidInputError
from ..hub.dataset import load_trees
from ..reports.build_summary import print_report
from ..selection.selector import SelectionConfig, Selector
from ..traces.regrow import RegrowConfig
from ..verifiers.worker import VerifierPool
from .engines import EngineArguments, open_engines, room_for_requests, served
from .parser import parse, run


@dataclass
class RegrowArguments:
    """Which trees, and where they go."""

    trees: str = field(metadata={"help": "Hub name of a dataset of trees, or the directory of a run."})
    trees_revision: str | None = field(default=None, metadata={"help": "Its revision on the Hub."})
    num_trees: int | None = field(default=None, metadata={"help": "At most so many."})
    seed: int = field(default=0, metadata={"help": "Seed of the samples."})
    trees_in_flight: int | None = field(
        default=None, metadata={"help": "Trees at the same time. Default: 32; with servers, as many as take requests."}
    )
    verifier_time_limit: float = field(default=10.0, metadata={"help": "Seconds for one check."})
    output_dir: str = field(default="runs/regrown", metadata={"help": "The run's directory."})

    def __post_init__(self):
        for name in ("num_trees", "trees_in_flight"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be at least 1")


@dataclass(frozen=True)
class ShortSelection(SelectionConfig):
    """How rows are selected: the shortest right chain of a tree, since that is what it is regrown for."""

    sft: str = field(default="shortest", metadata=SelectionConfig.__dataclass_fields__["sft"].metadata)


async def regrow(
    arguments: RegrowArguments, engine: EngineArguments, config: RegrowConfig, selection: SelectionConfig
) -> tuple[BuildReport, Shortening]:
    """Read the trees, regrow them and write them with their rows."""
    output_dir = Path(arguments.output_dir)
    check_directory(output_dir)
    trees = list(load_trees(arguments.trees, revision=arguments.trees_revision))[: arguments.num_trees]
    pool = VerifierPool(time_limit=arguments.verifier_time_limit)
    sampling = config.temperature, config.top_p
    async with pool, served(engine, output_dir) as who, open_engines(who, *sampling) as engines:
        room = arguments.trees_in_flight or room_for_requests(engines) or 32
        generator = engines["generator"]
        return await regrow_trees(
            trees, generator, pool.verify, Selector.of_tokenizer(generator.tokenizer, selection), output_dir, config,
            source=arguments.trees, seed=arguments.seed, trees_in_flight=room,
        )  # fmt: skip


def describe(shortening: Shortening) -> str:
    """What regrowing came to, in two lines."""
    if not shortening.trees:
        return "No tree has a right chain: nothing was regrown."
    saved = 1 - shortening.regrown / max(shortening.shortest, 1)
    return (
        f"Of {shortening.continuations} new continuations {shortening.right} are right. In {shortening.trees} trees "
        f"with a right chain the longest has {shortening.longest:.0f} tokens on average and the shortest "
        f"{shortening.shortest:.0f};\nregrown, the shortest has {shortening.regrown:.0f} ({saved:.0%} fewer): it "
        f"became shorter in {shortening.shortened} trees."
    )


def main(args: list[str] | None = None) -> int:
    """Regrow, then say what came of it."""
    kinds = (RegrowArguments, EngineArguments, RegrowConfig, ShortSelection)
    arguments, *others = parse("regrow", kinds, __doc__, args)
    report, shortening = run(
        lambda: asyncio.run(regrow(arguments, *others)),
        resume=f"Nothing is lost: run the same command again to go on in {arguments.output_dir}.",
    )
    print_report(report, Path(arguments.output_dir))
    print(describe(shortening))
    return 1 if report.failures else 0
