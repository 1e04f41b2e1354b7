"""A built-in model before training, after SFT, and after SFT and the joint objective, on held-out problems.

    python benchmarks/before_after.py
    python benchmarks/before_after.py --model starter

Every seed grows trees of its own on problems of its own, and trains on them; all are evaluated on the same problems,
which no setting was chosen on. Intervals and differences are over seeds and problems. Everything is done by the
recipes' configurations for the starter model. Run it again after an interruption: what exists is not made again.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from hf_treecot.cli.build import build
from hf_treecot.cli.stages import outcomes, rows_of, train, tree_settings
from hf_treecot.evaluation.statistics import estimate
from hf_treecot.files import write_atomically
from hf_treecot.problems.loading import load_problems


HELD_OUT_SEED = 20_261
KINDS = ("arithmetic", "letters", "blocks")
STEPS = (("base", "sft"), ("sft", "joint"), ("base", "joint"))


def run_seed(model: str, run: Path, seed: int, problems: dict) -> dict[str, list[dict]]:
    """Build and train with one seed; what each of the three models answers."""
    if not (run / "trees" / "report.json").is_file():
        asyncio.run(build(tree_settings(run / "trees", model=model, seed=7 + seed)))
    found = {}
    for name in ("base", "sft", "joint"):
        path = run / f"{name}.json"
        if not path.is_file():
            trained = model
            if name != "base":
                trained = str(train("sft", model, run / "trees", run / "models" / "sft", seed=seed))
            if name == "joint":
                trained = str(train("joint", trained, run / "trees", run / "models" / "joint", seed=seed))
            answered = outcomes(trained, problems, temperatures=(0.0, 1.0), max_new_tokens=512, seed=seed)
            write_atomically(path, json.dumps(answered))
        found[name] = json.loads(path.read_text())
    return found


def percent(value: float, low: float, high: float, sign: str = "") -> str:
    """A value and its interval."""
    return f"{100 * value:{sign}.0f} [{100 * low:{sign}.0f}, {100 * high:{sign}.0f}]"


def main() -> None:
    """Run all seeds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hasty", help="Which: hasty or starter, or a directory.")
    parser.add_argument("--seeds", type=int, default=3, help="How many seeds.")
    parser.add_argument("--num_problems", type=int, default=200, help="Held-out problems of each kind.")
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="Kinds of held-out problems.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/before_after"), help="Where the runs go.")
    arguments = parser.parse_args()
    problems = {
        kind: load_problems(kind, limit=arguments.num_problems, seed=HELD_OUT_SEED) for kind in arguments.kinds
    }
    by_seed = []
    for seed in range(arguments.seeds):
        by_seed.append(run_seed(arguments.model, arguments.output_dir / f"seed-{seed}", seed, problems))
        print(f"seed {seed} is done", file=sys.stderr)

    print("| model | problems | decoding | right % | no answer % | tokens |\n|" + " --- |" * 6)
    for name in by_seed[0]:
        for row in rows_of(name, [seed[name] for seed in by_seed]):
            figures = ("accuracy", "no_answer_rate")
            cells = [percent(*(row[f"{figure}{end}"] for end in ("", "_low", "_high"))) for figure in figures]
            print(f"| {name} | {row['task']} | {row['decoding']} | {' | '.join(cells)} | {row['tokens']:.0f} |")
    print("\n| problems | decoding | figure | sft − base | joint − sft | joint − base |\n|" + " --- |" * 6)
    for number, first in enumerate(by_seed[0]["base"]):
        for figure, label in (("accuracy", "right"), ("no_answer_rate", "no answer")):
            cells = []
            for before, after in STEPS:
                pairs = [(seed[before][number][figure], seed[after][number][figure]) for seed in by_seed]
                changes = [[[b - a] for a, b in zip(*pair, strict=True)] for pair in pairs]
                found = estimate(changes)
                cells.append(percent(found.value, found.low, found.high, "+"))
            print(f"| {first['task']} | {first['decoding']} | {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
