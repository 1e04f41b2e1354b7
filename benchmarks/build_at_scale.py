"""Building in many processes: the same trees as in one, killed and run again, and what storing and merging them takes.

    python benchmarks/build_at_scale.py --problems 2000 --processes 4

The engine writes random words at once, so that what is measured is all but generation. Ray is left out where it is not
installed.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor
from loguru import logger

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.building.sharding import BuildShard, merge_shards, write_problem_shards
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.verifiers.letters import verify


WORDS_OF_A_THOUGHT = 60


class Writer:
    """Writes random words, and in answers a small number, by the seed of the request."""

    identity = EngineIdentity("writer", "random words")

    def render_chat(self, messages):
        return messages[-1]["content"]

    async def generate(self, request):
        rng = random.Random(f"{request.seed}")
        if "</answer>" in request.stop:
            return Completion(rf" \boxed{{{rng.randint(1, 4)}}}", "stop", 300, 8)
        words = ("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(WORDS_OF_A_THOUGHT))
        return Completion(" " + " ".join(words), "stop", 300, 2 * WORDS_OF_A_THOUGHT)


def make_selector(tokenizer_name=""):
    return Selector(str.split)


def build(problems, directory):
    async def check(text, problem):
        return verify(text, problem)

    engines = {"generator": Writer(), "critic": Writer()}
    patterns = [load_pattern(name) for name in available_patterns()]
    config = BuildConfig(SearchConfig(num_simulations=16, min_right=2, max_right=6, max_depth=10), show_progress=False)
    return asyncio.run(build_trees(problems, patterns, engines, check, make_selector(), directory, config))


def in_tasks(directory, arguments, make_executor, num_tasks):
    """Run the tasks that are missing."""
    write_problem_shards(list(generate_problems("letters", arguments.problems, seed=1)), directory, num_tasks, {})
    step = BuildShard(directory, build)
    logs = str(directory / "logs")
    executor = make_executor([step], tasks=num_tasks, workers=arguments.processes, logging_dir=logs)
    executor.run()
    assert not executor.get_incomplete_ranks()


def dataset_of(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def megabytes(*paths):
    return sum(path.stat().st_size for path in paths) / 1e6


def killed_and_run_again(directory, arguments):
    """The same command until it ends by itself; killed twice, with all of its processes."""
    command = [sys.executable, __file__, "--worker", str(directory), "--problems", str(arguments.problems)]
    command += ["--processes", str(arguments.processes)]
    kills = 0
    while True:
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        begun = len(list(directory.glob("tasks/*/dataset")))
        # In the middle: when some tasks have finished since, and others have not.
        while process.poll() is None and (kills == 2 or len(list(directory.glob("tasks/*/dataset"))) < begun + 3):
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.returncode == 0, "a task failed"
            return kills
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=2000, help="how many")
    parser.add_argument("--processes", type=int, default=4, help="how many at the same time")
    parser.add_argument("--tasks", type=int, default=16, help="how many shards")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logger.remove()
    here = str(Path(__file__).parent.absolute())
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    if arguments.worker:
        in_tasks(arguments.worker, arguments, LocalPipelineExecutor, arguments.tasks)
        return
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), arguments)


def measure(directory, arguments):
    started = time.process_time()
    report = build(list(generate_problems("letters", arguments.problems, seed=1)), directory / "one")
    one = time.process_time() - started
    dataset = dataset_of(directory / "one" / "dataset")
    count = report.trees
    simulations = report.statistics["simulations"]
    tokens = report.statistics["generated_tokens"]
    print(f"one process: {count} trees, {simulations} simulations, {count / one:.0f} trees a second of a core")
    trees = megabytes(*(directory / "one" / "dataset" / "trees").iterdir())
    rows = megabytes(*(directory / "one" / "dataset").glob("[sp]*/*"))
    journal = megabytes(*(directory / "one").glob("journal.sqlite*"))
    for name, size in (("trees", trees), ("rows", rows), ("journal", journal)):
        print(f"  {name}: {1000 * size / count:.1f} kB a tree, {1e6 * size / tokens:.1f} bytes a generated token")

    kills = killed_and_run_again(directory / "local", arguments)
    started = time.process_time()
    merged = merge_shards(directory / "local", arguments.tasks, make_selector)
    merging = time.process_time() - started
    same = dataset_of(directory / "local" / "dataset") == dataset
    print(f"{arguments.processes} processes, killed {kills} times: {merged.trees} trees, same bytes: {same}")
    print(f"  merging: {merged.trees / merging:.0f} trees a second of a core")

    try:
        import ray
    except ModuleNotFoundError:
        print("ray is not installed")
        return
    environment = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
    ray.init(num_cpus=arguments.processes, runtime_env=environment, include_dashboard=False, log_to_driver=False)
    in_tasks(directory / "ray", arguments, RayPipelineExecutor, arguments.tasks)
    ray.shutdown()
    merged = merge_shards(directory / "ray", arguments.tasks, make_selector)
    print(f"ray: {merged.trees} trees, same bytes: {dataset_of(directory / 'ray' / 'dataset') == dataset}")


if __name__ == "__main__":
    import build_at_scale  # tasks find its functions by this name

    build_at_scale.main()
