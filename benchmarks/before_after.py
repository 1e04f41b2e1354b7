"""A built-in model before training, after SFT, and after SFT and the joint objective, on held-out problems.

    python benchmarks/before_after.py

Every seed grows trees of its own on problems of its own, and trains on them; all are evaluated on the same problems.
Everything is done by `treecot`, with its configurations for the starter model.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path


def treecot(name: str, config: str | None, **arguments) -> None:
    """Run a command; what it says is shown only if it fails."""
    command = [sys.executable, "-m", "hf_treecot.cli.main", name]
    if config:
        command += ["--config", config]
    for key, value in arguments.items():
        command += [f"--{key}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)


def figures(model: str, run: Path, seed: int, num_problems: int) -> list[dict]:
    """Build and train with one seed; a row of figures for every stage, source of problems and temperature."""
    treecot("build", "demo", model=model, output_dir=run, seed=7 + seed)
    treecot(
        "sft", "starter", model_name_or_path=model, dataset=run / "dataset", output_dir=run / "sft", seed=seed,
        num_watched=4,
    )  # fmt: skip
    treecot(
        "joint", "starter", model_name_or_path=run / "sft", dataset=run / "dataset",
        output_dir=run / "joint", seed=seed, num_watched=4,
    )  # fmt: skip
    rows = []
    for temperature in (0.0, 1.0):
        directory = run / f"evaluation-{temperature}"
        path = directory / "evaluation.json"
        if not path.is_file():
            models = [model, run / "sft", run / "joint"]
            decoding = {"decoding": "sample", "k": 1, "temperature": temperature, "top_p": 1.0} if temperature else {}
            treecot(
                "evaluate", None, models=models, tasks=["letters", "arithmetic"], problems=["blocks"], seed=seed,
                num_problems=num_problems, output_dir=directory, **decoding,
            )  # fmt: skip
        for row in json.loads(path.read_text()):
            rows.append({**row, "problems": row["task"], "temperature": temperature})
    return rows


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hasty", help="Which: hasty or starter.")
    parser.add_argument("--seeds", type=int, default=3, help="How many seeds.")
    parser.add_argument("--num_problems", type=int, default=200, help="Held-out problems of each kind.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/before_after"), help="Where the runs go.")
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        rows += figures(arguments.model, arguments.output_dir / f"seed-{seed}", seed, arguments.num_problems)
        print(f"seed {seed} is done", file=sys.stderr)
    print("| model | problems | temperature | accuracy | no answer | repetition | tokens |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    groups = dict.fromkeys((row["problems"], row["temperature"], row["model"]) for row in rows)
    for problems, temperature, model in sorted(groups, key=lambda group: group[:2]):
        same = [r for r in rows if (r["problems"], r["temperature"], r["model"]) == (problems, temperature, model)]
        cells = []
        for name in ("accuracy", "no_answer_rate", "repetition"):
            values = [100 * row[name] for row in same]
            cells.append(f"{statistics.mean(values):.0f} % ({' '.join(f'{value:.0f}' for value in values)})")
        length = statistics.mean(row["length"] for row in same)
        print(f"| {model} | {problems} | {temperature:g} | {' | '.join(cells)} | {length:.0f} |")


if __name__ == "__main__":
    main()
