"""Builds on servers that nobody here wrote: llama.cpp's and that of transformers, both of the starter model.

python -m benchmarks.real_servers --problems 20       # after `make test-servers`, which installs and compiles them

How long they take, whether faults cost trees, and whether greedy trees are those of the engine in this process.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.verifiers.worker import VerifierPool
from tests.real_servers.servers import llama_cpp, transformers_serve


SEARCH = {"num_simulations": 8, "min_right": 2, "max_right": 3, "give_up_factor": 2, "max_new_tokens": 80}


async def build(arguments: EngineArguments, output_dir: Path, problems: list, temperature: float, disturb=None):
    """A build, and what it came to: the report, seconds, warnings of the pool."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("hf_treecot").addHandler(handler)
    search = SearchConfig(**SEARCH, temperature=temperature)
    async with open_engines(arguments, search.temperature, search.top_p) as engines, VerifierPool() as pool:
        config = BuildConfig(search, seed=5, trees_in_flight=32, show_progress=False)
        started = time.monotonic()
        building = asyncio.create_task(
            build_trees(
                problems,
                [load_pattern("reflection")],
                engines,
                pool.verify,
                Selector.of_tokenizer(engines["generator"].tokenizer),
                output_dir,
                config,
            )
        )
        if disturb:
            await asyncio.sleep(2)
            disturb()
        report = await building
    logging.getLogger("hf_treecot").removeHandler(handler)
    return report, time.monotonic() - started, warnings


def written(output_dir: Path) -> dict:
    """What the trees of a build say, whoever wrote it."""
    return {
        tree.problem.problem_id: [(node.kind, node.text, node.parent, node.reward) for node in tree.nodes]
        for tree in load_trees(output_dir)
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    problems = list(generate_problems("letters", options.problems, seed=3))
    directory = Path(tempfile.mkdtemp())
    numbers = iter(range(10_000))

    def place() -> Path:
        return directory / str(next(numbers))

    greedy = place()
    await build(EngineArguments(), greedy, problems, 0.0)
    print("| server | at a time | | trees | lost | s | tokens/s | greedy trees equal to the local engine's |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)

    async def row(name: str, server, concurrency: int, note: str = "", disturb=None, compare: bool = False) -> None:
        arguments = EngineArguments(
            engine="openai", servers=[server.url], tokenizer="starter", max_concurrent_requests=concurrency,
            **({"model": server.model} if server.model else {}),
        )  # fmt: skip
        report, seconds, warnings = await build(arguments, place(), problems, 0.7, disturb)
        equal = ""
        if compare:
            there = place()
            await build(arguments, there, problems, 0.0)
            here, found = written(greedy), written(there)
            equal = f"{sum(found.get(name) == tree for name, tree in here.items())} of {len(here)}"
        rate = report.statistics["generated_tokens"] / seconds
        print(
            f"| {name} | {concurrency} | {note} | {report.trees} | {len(report.failures)} | {seconds:.1f} | "
            f"{rate:.0f} | {equal} |",
            flush=True,
        )
        for warning in dict.fromkeys(warnings):
            print(f"<!-- {warning} -->", flush=True)

    def restarted(server):
        def again() -> None:
            server.kill()
            server.start()

        return again

    with llama_cpp(directory, slots=32, context=32_768) as server:
        for concurrency in options.concurrency:
            await row("llama.cpp", server, concurrency, compare=True)
        await row("llama.cpp", server, 8, "killed after 2 s, started again", restarted(server))
    with llama_cpp(directory, "--kv-unified", slots=32, context=1_024) as server:
        await row("llama.cpp", server, 32, "all slots share a cache of 1,024 tokens")
    with transformers_serve(directory) as server:
        for concurrency in options.concurrency[:2]:
            await row("transformers serve", server, concurrency, compare=concurrency == 1)
        await row("transformers serve", server, 1, "killed after 2 s, started again", restarted(server))
    batching = ("--continuous-batching", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "256")
    with transformers_serve(directory, *batching) as server:
        await row("transformers serve, continuous batching", server, 8)


if __name__ == "__main__":
    asyncio.run(main())
