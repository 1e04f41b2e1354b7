"""Many trees are regrown, and become a dataset; run again after any interruption, it goes on where it was.

It must not know how one tree is regrown, nor how rows are chosen.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from ..engines.engine import Engine
from ..engines.journal import Journal, JournaledEngine
from ..errors import EngineError, InvalidInputError, VerifierError
from ..mcts.search import Verify
from ..mcts.tree import Tree
from ..selection.selector import Selector
from ..traces.regrow import RegrowConfig, length, regrow
from ..verifiers import load_verifier
from .builder import BuildReport, in_flight, write_dataset, write_report
from .run_directory import claim_directory, locked


@dataclass(frozen=True)
class Shortening:
    """
    What regrowing came to, over the trees with a right chain.

    Args:
        trees (`int`): How many there are.
        longest, shortest (`float`): Mean tokens of the longest and of the shortest right chain of a tree before.
        regrown (`float`): Mean tokens of the shortest one after.
        shortened (`int`): Trees whose shortest right chain became shorter.
        continuations, right (`int`): New chains, and right ones among them.
    """

    trees: int
    longest: float
    shortest: float
    regrown: float
    shortened: int
    continuations: int
    right: int


async def regrow_trees(
    trees: Sequence[Tree],
    engine: Engine,
    verify: Verify,
    selector: Selector,
    output_dir: Path,
    config: RegrowConfig,
    *,
    source: str,
    seed: int = 0,
    trees_in_flight: int = 32,
    show_progress: bool = True,
) -> tuple[BuildReport, Shortening]:
    """
    Regrow trees and write the dataset.

    Args:
        trees (`Sequence[Tree]`): What is regrown.
        engine ([`Engine`]): Who goes on.
        verify (`Callable`): As of a [`~verifiers.worker.VerifierPool`].
        selector ([`~selection.Selector`]): Chooses the rows; lengths are in tokens of its tokenizer.
        output_dir (`Path`): The run's directory.
        config ([`~traces.regrow.RegrowConfig`]): How.
        source (`str`): Where the trees are from.
        seed (`int`): Of the samples.
        trees_in_flight (`int`): Trees at the same time; does not change them.
        show_progress (`bool`): Draw a progress bar.

    Raises:
        InvalidInputError: There are no trees, two have one id, or the directory holds another run.
    """
    by_id = _by_id(trees, source)
    claim_directory(
        output_dir,
        {"trees": source, "engines": {"generator": asdict(engine.identity)}, "regrow": asdict(config), "seed": seed},
    )
    provenance = _provenance(engine, config, seed)
    started, report, dropped = time.perf_counter(), BuildReport(), Counter()

    def count_tokens(text: str) -> int:
        return len(selector.tokenize(text))

    with locked(output_dir):
        journal = Journal(output_dir / "journal.sqlite")
        journaled = JournaledEngine(engine, journal)
        try:
            with tqdm(total=len(trees), unit="tree", desc="Regrown", disable=not show_progress) as bar:

                async def regrow_one(tree: Tree) -> None:
                    if journal.find_tree(tree.tree_id) is None:
                        own: Counter[str] = Counter()
                        try:
                            grown = await regrow(tree, journaled, verify, config, count_tokens, seed, own)
                        except (EngineError, VerifierError) as error:
                            report.failures[tree.tree_id] = f"{type(error).__name__}: {error}"
                        else:
                            grown.provenance = {**tree.provenance, **provenance}
                            journal.store_tree(tree.tree_id, {**grown.to_record(), "dropped": dict(own)})
                    bar.update()

                await in_flight(trees, trees_in_flight, regrow_one)
            records = {}
            for tree_id in by_id:
                if (record := journal.find_tree(tree_id)) is not None:
                    dropped.update(record.pop("dropped"))
                    report.count(record["statistics"])
                    records[tree_id] = record
            selector.rejections.update({f"regrow: {reason}": count for reason, count in dropped.items()})
            write_dataset(records.values(), selector, output_dir / "dataset", report)
        finally:
            journal.close()
    report.seconds, report.journal_seconds = time.perf_counter() - started, journal.seconds
    report.asked, report.replayed = journal.asked, journal.replayed
    write_report(report, output_dir)
    pairs = [(by_id[tree_id], Tree.from_record(record)) for tree_id, record in records.items()]
    return report, _shortening(pairs, count_tokens)


def _by_id(trees: Sequence[Tree], source: str) -> dict[str, Tree]:
    by_id = {tree.tree_id: tree for tree in trees}
    if not trees or len(by_id) < len(trees):
        what = "there are none" if not trees else "two of them have the same tree_id"
        raise InvalidInputError(f"trees {source!r}: {what}; give a dataset with at least one tree, and each once")
    for verifier in {tree.problem.verifier for tree in trees}:
        load_verifier(verifier)
    return by_id


def _provenance(engine: Engine, config: RegrowConfig, seed: int) -> dict[str, str]:
    generator = {f"generator_{name}": value for name, value in asdict(engine.identity).items()}
    settings = {**asdict(config), **generator, "seed": seed}
    return {
        **{f"regrow_{name}": str(value) for name, value in settings.items()},
        "regrow_hf_treecot": version("hf-treecot"),
    }


def _shortening(pairs: Sequence[tuple[Tree, Tree]], count_tokens: Callable[[str], int]) -> Shortening:
    rows = []
    for before, after in pairs:
        old = [length(before, leaf, count_tokens) for leaf in before.answers(right=True)]
        new = after.simulations[len(before.simulations) :]
        if old:
            shortest = min(length(after, leaf, count_tokens) for leaf in after.answers(right=True))
            right = sum(after.nodes[leaf].reward > 0.5 for leaf in new)
            rows.append((max(old), min(old), shortest, shortest < min(old), len(new), right))
    if not rows:
        return Shortening(0, 0.0, 0.0, 0.0, 0, 0, 0)
    longest, shortest, regrown, shortened, continuations, right = zip(*rows, strict=True)
    return Shortening(
        len(rows), fmean(longest), fmean(shortest), fmean(regrown), sum(shortened), sum(continuations), sum(right)
    )
