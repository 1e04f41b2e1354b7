"""What the search itself costs: simulations per second with an engine that answers at once, and its share of a build.

    python benchmarks/search_overhead.py

The share: the same trees are grown twice, once with the starter model and real verifiers, once from memory
(completions and verdicts known, no journal). What the second takes is what the first spent outside generation,
verification and journal.
"""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from hf_treecot.base import Problem, Verdict
from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.engines.local import LocalEngine
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.starter.training import starter_model
from hf_treecot.verifiers.worker import VerifierPool


class Instant:
    """Answers at once, with a text of its own for every seed."""

    identity = EngineIdentity("instant", "none")

    def render_chat(self, messages):
        return messages[-1]["content"]

    async def generate(self, request):
        return Completion(f" a thought of some words, number {request.seed}", "stop", 100, 10)


class Memory:
    """Remembers what an engine and a verifier said."""

    def __init__(self, engine, verify):
        self.engine, self.verifier = engine, verify
        self.identity, self.render_chat = engine.identity, engine.render_chat
        self.completions, self.verdicts = {}, {}

    async def generate(self, request):
        if request not in self.completions:
            self.completions[request] = await self.engine.generate(request)
        return self.completions[request]

    async def verify(self, text, problem):
        if (text, problem) not in self.verdicts:
            self.verdicts[text, problem] = await self.verifier(text, problem)
        return self.verdicts[text, problem]


async def simulations_per_second(simulations):
    """Simulations of one tree after the other, wrong answers only, so that the trees grow as large as they can."""

    async def wrong(text, problem):
        return Verdict(0.0, text, "wrong")

    engines = {"generator": Instant(), "critic": Instant()}
    config = SearchConfig(num_simulations=simulations // 4, min_right=1, max_right=1, give_up_factor=4)
    started, count, nodes = time.perf_counter(), 0, 0
    for index, name in enumerate(available_patterns()):
        problem = Problem(f"p{index}", "?", "1")
        tree = await search(problem, load_pattern(name), engines, wrong, config, random.Random(index))
        count, nodes = count + len(tree.simulations), nodes + len(tree.nodes)
    seconds = time.perf_counter() - started
    print(f"{count / seconds:.0f} simulations/s, {nodes / seconds:.0f} nodes/s with an engine that answers at once")


async def share_of_a_build(num_problems):
    """Grow the same trees with the model and from memory."""
    engine = LocalEngine.from_pretrained(str(starter_model()))
    problems = [p for kind in ("letters", "arithmetic") for p in generate_problems(kind, num_problems, seed=11)]
    patterns = [load_pattern(name) for name in available_patterns()]
    config = BuildConfig(SearchConfig(max_new_tokens=128, max_depth=10), show_progress=False)

    async with VerifierPool() as pool:
        memory = Memory(engine, pool.verify)
        engines = {"generator": memory, "critic": memory}
        with tempfile.TemporaryDirectory() as directory:
            selector = Selector(lambda text: engine.tokenizer(text)["input_ids"])
            report = await build_trees(
                problems, patterns, engines, memory.verify, selector, Path(directory) / "run", config
            )
        started = time.perf_counter()
        for problem in problems:  # as the builder grows them, less the journal
            rng = random.Random(f"{config.seed}/{problem.problem_id}")
            await search(problem, rng.choice(patterns), engines, memory.verify, config.search, rng)
        replay = time.perf_counter() - started
    engine.close()
    sums = report.statistics
    print(
        f"build: {report.trees} trees, {sums['simulations']} simulations, {report.asked} thoughts, "
        f"{sums['generated_tokens']} tokens in {report.seconds:.1f} s\n"
        f"journal: {report.journal_seconds:.2f} s ({report.journal_seconds / report.seconds:.1%})\n"
        f"search and bookkeeping: {replay:.2f} s ({replay / report.seconds:.1%} of the wall time)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=400, help="simulations of one tree")
    parser.add_argument("--problems", type=int, default=40, help="problems of each kind")
    arguments = parser.parse_args()
    asyncio.run(simulations_per_second(arguments.simulations))
    asyncio.run(share_of_a_build(arguments.problems))


if __name__ == "__main__":
    main()
