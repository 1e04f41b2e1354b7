"""Memory of a build over many small trees: it must not grow with them.

    python benchmarks/builder_memory.py                 # 10,000 trees

An engine that answers at once, a journal on disk, the letters verifier in this process. Resident memory is read after
every thousandth tree, and while the dataset is written.
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.engines.journal import Journal
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.verifiers.letters import verify as verify_letters


class Instant:
    """Answers at once; every third answer is right often enough."""

    identity = EngineIdentity("instant", "none")

    def render_chat(self, messages):
        return messages[-1]["content"]

    async def generate(self, request):
        await asyncio.sleep(0)
        text = f" \\boxed{{{request.seed % 5}}}" if request.stop == ("</answer>",) else f" thought {request.seed}" * 8
        return Completion(text, "stop", 100, 20)


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=10_000)
    options = parser.parse_args()
    problems, seen, samples = list(generate_problems("letters", options.trees, seed=2)), 0, []
    store_tree = Journal.store_tree

    def counted(journal, problem_id, record):
        nonlocal seen
        store_tree(journal, problem_id, record)
        seen += 1
        if seen % 1000 == 0:
            samples.append(resident_megabytes())
            print(f"{seen} trees: {samples[-1]:.0f} MB", flush=True)

    async def verify(text, problem):
        return verify_letters(text, problem)

    Journal.store_tree = counted  # only to see when a tree is done
    search = SearchConfig(num_simulations=1, min_right=1, max_right=1, give_up_factor=1, max_depth=4)
    with tempfile.TemporaryDirectory() as directory:
        report = await build_trees(
            problems, [load_pattern("reflection")], {"generator": Instant(), "critic": Instant()}, verify,
            Selector(str.split), Path(directory) / "run", BuildConfig(search, show_progress=False),
        )  # fmt: skip
        size = sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file()) / 1e6
    print(f"dataset written: {resident_megabytes():.0f} MB; {report.trees} trees, {size:.0f} MB on disk")
    print(f"growth from the first to the last thousand: {samples[-1] / samples[0] - 1:+.1%}")


if __name__ == "__main__":
    asyncio.run(main())
