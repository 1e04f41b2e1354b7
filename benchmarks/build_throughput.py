"""Tokens per second of a whole build with the embedded engine: in one process, in its default, and of another version.

    python benchmarks/build_throughput.py                           # one process against one a core
    git worktree add ../before COMMIT                               # and against an earlier version
    python benchmarks/build_throughput.py --before ../before --rounds 5

The builds are those of `make demo`, on other problems; they run one after the other, in rounds, so that what else the
machine does falls on all of them. Only ratios within a run mean anything. Trees must be equal, node by node.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from hf_treecot.hub.dataset import load_trees


ROOT = Path(__file__).parents[1]


def build(checkout: Path, output_dir: Path, options: list[str]) -> tuple[float, float]:
    """Generated tokens of a build, per second without its start, and per second of processor time with it."""
    command = [sys.executable, "-m", "hf_treecot.cli.main", "build", "--config", "demo", "--seed", "11"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    output = ["--output_dir", str(output_dir)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, *output, *options], env=environment, check=True, cwd=checkout, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((output_dir / "report.json").read_text())
    tokens = report["statistics"]["generated_tokens"]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return tokens / report["seconds"], tokens / spent


def written(output_dir: Path) -> dict[str, list[tuple]]:
    """What the trees of a build say, whoever wrote it."""
    return {
        tree.tree_id: [(node.kind, node.text, node.parent, node.reward) for node in tree.nodes]
        for tree in load_trees(output_dir)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hasty", help="a directory or Hub name; default: the demo's")
    parser.add_argument("--num_problems", type=int, default=40, help="of each of three kinds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    arguments = parser.parse_args()
    options = ["--model", arguments.model, "--num_problems", str(arguments.num_problems)]
    builds = {
        **({"the other version": (arguments.before.resolve(), options)} if arguments.before else {}),
        "one process": (ROOT, [*options, "--replicas", "1"]),
        "one process a core": (ROOT, options),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in builds}
    equal = 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(arguments.rounds):
            found = []
            for name, (checkout, options) in builds.items():
                output_dir = Path(directory) / f"{number}-{name.replace(' ', '-')}"
                rates[name].append(build(checkout, output_dir, options))
                found.append(written(output_dir))
                print(f"{number + 1}/{arguments.rounds} {name}: {rates[name][-1][0]:.0f}", file=sys.stderr, flush=True)
            equal += all(trees == found[0] for trees in found)
    print(f"load, mean of the last quarter of an hour: {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores\n")
    print("| build | tokens/s | against the first (least, most) | tokens a second of a core, start included |")
    print("| --- | --- | --- | --- |")
    first, *_ = rates.values()
    for name, values in rates.items():
        ratios = [value / base for (value, _), (base, _) in zip(values, first, strict=True)]
        wall, processor = (statistics.median(column) for column in zip(*values, strict=True))
        print(
            f"| {name} | {wall:,.0f} | {statistics.median(ratios):.2f}x ({min(ratios):.2f}, {max(ratios):.2f}) | "
            f"{processor:,.0f} |"
        )
    print(f"\nMedians; equal trees in {equal} of {arguments.rounds} rounds.")


if __name__ == "__main__":
    main()
