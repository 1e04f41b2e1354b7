"""What publishing costs: memory and time of `push_trees` for many trees, to the loopback Hub of the tests.

    python benchmarks/publish.py --run runs/demo --trees 1000 10000 100000

The trees of a run are repeated under other problems, with texts of random words of the same lengths, until there are
enough. Each push is a process of its own; the Hub is another, so that its memory does not
count.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path


ROOT = Path(__file__).parents[1]


def write_run(source, count, directory):
    """A run of so many trees."""
    from hf_treecot.hub.dataset import DatasetWriter, load_trees
    from hf_treecot.mcts.tree import Tree
    from hf_treecot.selection.selector import Selector

    records = [tree.to_record() for tree in load_trees(source)]
    selector = Selector(str.split)
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    with DatasetWriter(directory / "dataset") as writer:
        for i in range(count):
            tree = Tree.from_record(records[i % len(records)])
            prompt = f"{tree.problem.prompt} (Copy {i}.)"
            tree.problem = replace(tree.problem, problem_id=f"copy-{i}", prompt=prompt)
            for node in tree.nodes:
                node.text = " ".join(rng.choices(words, k=len(node.text) // 6))
            writer.write("trees", tree.to_record())
            for row in selector.select_sft(tree):
                writer.write("sft", row)
            for row in selector.select_preferences(tree):
                writer.write("preference", row)


def measure(directory):
    """Push, push again unchanged, read back; in this process."""
    from hf_treecot.hub.dataset import load_trees
    from hf_treecot.hub.push import push_trees

    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        push_trees(directory, "user/many")
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    count = sum(1 for _ in load_trees("user/many"))
    return {"push": seconds[0], "again": seconds[1], "read": time.perf_counter() - started, "MB": peak, "trees": count}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo", help="whose trees are repeated")
    parser.add_argument("--trees", type=int, nargs="+", default=[1000, 10_000], help="numbers of trees")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure))))
        return
    hub = subprocess.Popen(
        [sys.executable, "-m", "hf_treecot.testing.hub"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    settings = dict(pair.split("=", 1) for pair in hub.stdout.readline().split()[1:])
    try:
        for count in arguments.trees:
            with tempfile.TemporaryDirectory() as folder:
                write_run(arguments.run, count, Path(folder))
                size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet")) / 2**20
                environment = {**os.environ, **settings, "HF_HOME": f"{folder}/home", "PYTHONPATH": str(ROOT)}
                output = subprocess.run(
                    [sys.executable, __file__, "--measure", folder], env=environment, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True, check=True,
                ).stdout  # fmt: skip
            figures = json.loads(output.splitlines()[-1])
            print(
                f"{figures['trees']} trees ({size:.0f} MB): push {figures['push']:.1f} s, unchanged "
                f"{figures['again']:.1f} s, read {figures['read']:.1f} s; peak memory {figures['MB']:.0f} MB",
                flush=True,
            )
    finally:
        hub.terminate()


if __name__ == "__main__":
    main()
