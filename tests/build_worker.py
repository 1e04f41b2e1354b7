"""A build in a process of its own, to be killed: `python -m tests.build_worker OUTPUT_DIR LOG`.

The log gets a line for every request that the engine is asked, before it answers.
"""

import asyncio
import sys
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.engines.journal import request_key
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import SelectionConfig, Selector

from .worlds import ScriptedEngine, verify_inline


PROBLEMS = list(generate_problems("letters", 12, seed=3))
CONFIG = SearchConfig(num_simulations=8, min_right=2, max_right=6, give_up_factor=2, max_depth=7)


def script(tag, chain, rng):
    if tag == "answer":
        return rf" \boxed{{{rng.choice((2, 3, 4))}}}"
    return " " + " ".join(rng.choice("abcdefgh") for _ in range(rng.randrange(1, 9)))


class LoggingEngine(ScriptedEngine):
    """Says what it is asked before it answers."""

    def __init__(self, log, delay):
        super().__init__(script, delay)
        self.log = open(log, "a")

    async def generate(self, request):
        print(request_key(self.identity, request).hex(), file=self.log, flush=True)
        return await super().generate(request)


def selector_of(tokenizer_name=""):
    return Selector(lambda text: list(text.encode()), SelectionConfig(preference="one_per_right_chain"))


async def build(output_dir, log, delay=0.02, trees_in_flight=4, problems=PROBLEMS):
    engine = LoggingEngine(log, delay)
    patterns = [load_pattern(name) for name in available_patterns()]
    config = BuildConfig(CONFIG, seed=5, trees_in_flight=trees_in_flight, show_progress=False)
    engines = {"generator": engine, "critic": engine}
    return await build_trees(problems, patterns, engines, verify_inline, selector_of(), Path(output_dir), config)


if __name__ == "__main__":
    asyncio.run(build(sys.argv[1], sys.argv[2]))
