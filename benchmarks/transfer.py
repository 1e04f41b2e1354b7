"""What trees of a teacher teach a student, by the number of trees: of the skill, and of its form.

    python benchmarks/transfer.py                          # minutes for each hundred trees on two cores
    python benchmarks/transfer.py --trees 100 1000 10000   # an overnight run

The starter model grows trees of arithmetic problems. Two students are trained on them: the hasty one, which has the
skill and does not use it, and one from scratch that knows sums, reading and direct answers, and was never shown a
thought. Beside it SFT on as many tokens of whole chains, sampled by the teacher for the same problems. Right and
without an answer as everywhere; sums: the share of the sums written in an output that are true (its content); form:
the share of outputs with closed thoughts and an answer. Run it again after an interruption: what exists is not made
again.
"""

import argparse
import asyncio
import json
import random
import re
import sys
from functools import partial
from itertools import islice
from pathlib import Path

from hf_treecot.cli.ablation import sample_best_of_n
from hf_treecot.cli.build import build
from hf_treecot.cli.stages import load_engine, train, tree_settings
from hf_treecot.evaluation.outputs import answer_all
from hf_treecot.evaluation.statistics import estimate
from hf_treecot.files import write_atomically
from hf_treecot.hub.dataset import DatasetWriter, load_trees
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.starter.built_in import HASTY, STARTER, model_path
from hf_treecot.starter.drills import DRILLS
from hf_treecot.starter.hasty import HastyRecipe, hasty_examples
from hf_treecot.starter.training import StarterRecipe, fit


SUM = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
OPERATORS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
COLUMNS = ("student", "trees", "tokens", "rows", "trained by", "right", "no answer", "sums", "form")


def train_direct(directory: Path, num_steps: int) -> Path:
    """The student from scratch: half drills, half direct answers, in the words of the starter's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if (directory / "recipe.json").is_file():
        return directory
    recipe = StarterRecipe(num_steps=num_steps, num_drill_steps=num_steps // 2)
    rng, count = random.Random(0), num_steps * recipe.batch_size // 2
    examples = [("", rng.choice(DRILLS)(rng)) for _ in range(count)]
    examples += hasty_examples(HastyRecipe(direct_share=1.0), count)
    rng.shuffle(examples)
    config = AutoConfig.from_pretrained(model_path(STARTER))
    tokenizer = AutoTokenizer.from_pretrained(model_path(STARTER))
    make_model = partial(AutoModelForCausalLM.from_config, config)
    fit(make_model, tokenizer, examples, recipe, directory, {"num_steps": num_steps})
    return directory


def write_rows(trees: list, selector: Selector, settings, directory: Path) -> dict[str, int]:
    """Datasets `trees` and `best_of_n` of some trees; how many tokens they took and how many rows there are."""
    path = directory / "counts.json"
    if path.is_file():
        return json.loads(path.read_text())
    num_tokens = sum(tree.statistics["generated_tokens"] for tree in trees)
    sampled = sample_best_of_n([tree.problem for tree in trees], num_tokens, settings)
    chosen = [row for tree in trees for row in selector.select_sft(tree)]
    with DatasetWriter(directory / "trees") as writer:
        for row in chosen:
            writer.write("sft", row)
        for tree in trees:
            for row in selector.select_preferences(tree):
                writer.write("preference", row)
    with DatasetWriter(directory / "best_of_n") as writer:
        for row in sampled:
            writer.write("sft", row)
    counts = {"tokens": num_tokens, "trees": len(chosen), "best_of_n": len(sampled)}
    write_atomically(path, json.dumps(counts))
    return counts


def trained(student: str, name: str, rows: Path, directory: Path) -> Path:
    """SFT on rows, or for `joint` the joint objective after it, by the starter's configurations."""
    if name != "joint":
        return train("sft", student, rows, directory / name, seed=0)
    return train("joint", str(trained(student, "sft", rows, directory)), rows, directory / name, seed=0)


def evaluate(model: str, problems: list, path: Path) -> list[str]:
    """Right, without an answer, true sums and form, greedy, with intervals over problems."""
    if not path.is_file():
        engine = load_engine(model)
        outputs = answer_all(problems, engine, max_new_tokens=512)
        engine.close()
        found = [[OPERATORS[o](int(a), int(b)) == int(c) for a, o, b, c in SUM.findall(out.text)] for out in outputs]
        figures = {
            "right": [float(output.reward == 1) for output in outputs],
            "no answer": [float(bool(output.no_answer)) for output in outputs],
            "sums": [sum(sums) / len(sums) for sums in found if sums],
            "form": [float("</thinking>" in o.text and o.text.endswith("</answer>")) for o in outputs],
        }
        write_atomically(path, json.dumps(figures))
    cells = []
    for values in json.loads(path.read_text()).values():
        if not values:
            cells.append("none")
            continue
        found = estimate(values)
        cells.append(f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})")
    return cells


def main() -> None:
    """Grow the trees, train both students on parts of them, print the table and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, nargs="+", default=[100, 300, 1000], help="Points of the curve.")
    parser.add_argument("--num_evaluated", type=int, default=200, help="Held-out problems.")
    parser.add_argument("--num_steps", type=int, default=2000, help="Steps of the student from scratch.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/transfer"), help="Where everything goes.")
    arguments = parser.parse_args()
    run = arguments.output_dir
    settings = tree_settings(run / "trees", model=STARTER, num_problems=max(arguments.trees), seed=17)
    settings.problems.problems = ["arithmetic"]
    if not (run / "trees" / "report.json").is_file():
        asyncio.run(build(settings))
    problems = load_problems("arithmetic", limit=arguments.num_evaluated, seed=991)
    students = {"hasty": HASTY, "from scratch": str(train_direct(run / "from-scratch", arguments.num_steps))}
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for student, model in students.items():
        cells = evaluate(model, problems, run / "figures" / f"{student}.json")
        print(f"| {student} | 0 | 0 | 0 | | {' | '.join(cells)} |", flush=True)
    from transformers import AutoTokenizer

    selector = Selector.of_tokenizer(AutoTokenizer.from_pretrained(model_path(STARTER)))
    for count in sorted(arguments.trees):
        rows = run / f"rows-{count}"
        counts = write_rows(list(islice(load_trees(run / "trees"), count)), selector, settings, rows)
        for student, model in students.items():
            for name, kind in (("sft", "trees"), ("joint", "trees"), ("best_of_n", "best_of_n")):
                path = trained(model, name, rows / kind, run / f"models-{count}" / student)
                cells = evaluate(str(path), problems, run / "figures" / f"{student}-{count}-{name}.json")
                print(
                    f"| {student} | {count} | {counts['tokens']:,} | {counts[kind]} | {name} | {' | '.join(cells)} |",
                    flush=True,
                )
    draw(run, students, sorted(arguments.trees))


def draw(run: Path, students: dict, counts: list[int]) -> None:
    """Right answers and true sums over tokens of the trees."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(students), figsize=(9, 3.6), sharey=True, layout="constrained")
    tokens = [json.loads((run / f"rows-{count}" / "counts.json").read_text())["tokens"] for count in counts]
    for panel, student in zip(axes, students, strict=True):
        for name in ("sft", "joint", "best_of_n"):
            found = [json.loads((run / "figures" / f"{student}-{count}-{name}.json").read_text()) for count in counts]
            for key, line in (("right", "-"), ("sums", ":")):
                values = [100 * sum(f[key]) / max(len(f[key]), 1) for f in found]
                colour = {"sft": "tab:blue", "joint": "tab:green", "best_of_n": "tab:orange"}[name]
                panel.plot(tokens, values, line, marker="o", color=colour, label=f"{name}: {key}")
        panel.set(title=student, xscale="log", xlabel="tokens that the teacher generated", ylim=(-3, 103))
    axes[0].set_ylabel("%")
    axes[0].legend(fontsize=7)
    figure.savefig(run / "transfer.png", dpi=150)
    print(f"\nThe curve is in {run / 'transfer.png'}", file=sys.stderr)


if __name__ == "__main__":
    main()
