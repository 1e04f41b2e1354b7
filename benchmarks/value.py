"""What a value model learns from more trees, and whether a vote by it beats one by log-probability.

    python benchmarks/value.py
    python benchmarks/value.py --sizes 600 2000 3500 --epochs 2 2 1 --seeds 2

Trees are the starter's, at temperature 1, on letters, arithmetic and blocks. A model of every size is judged on trees
of other problems, and on free chains: the samples of `answer_time.py`, on its held-out problems, whose answers it
weighs at equal tokens. Run it again after an interruption: trees, samples and models that exist are not made again.
"""

import argparse
import asyncio
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import answer_time
from answer_time import BUDGETS, KINDS, METHODS, cell_path, percent
from datasets import Dataset

from hf_treecot.cli.build import build
from hf_treecot.cli.parser import parse
from hf_treecot.cli.stages import tree_settings
from hf_treecot.cli.value import kinds
from hf_treecot.engines.value_model import ValueModel
from hf_treecot.evaluation.search_answers import AnswerTree
from hf_treecot.evaluation.statistics import estimate
from hf_treecot.evaluation.value_figures import auc_within, value_figures
from hf_treecot.evaluation.voting import elect
from hf_treecot.files import write_atomically
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.tree import Tree
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.values import agreed, value_rows
from hf_treecot.starter.built_in import model_path
from hf_treecot.trainers import ValueTrainer


PART = 200  # problems of each kind that are built together: 600 trees
FIRST_SEED, HELD_OUT_SEED = 1000, 999
HELD_OUT_TREES = 100  # of each kind
SEARCH = {"model": "starter", "temperature": 1.0, "top_p": 1.0, "give_up_factor": 1, "replicas": 1}
PLACES = {
    "inner": "inner", "inner_within": "inner, within trees", "answers": "answers",
    "answers_within": "answers, within trees",
}  # fmt: skip
SAMPLES = "samples"  # of the methods of `answer_time.py`


def grown(directory: Path, num_problems: int, seed: int) -> Iterator[Tree]:
    """Trees of problems of each kind, built unless they are there."""
    if not (directory / "report.json").is_file():
        asyncio.run(build(tree_settings(directory, num_problems=num_problems, seed=seed, **SEARCH)))
    return load_trees(directory)


def trees_to_learn_from(arguments, unseen: set[str]) -> list[Tree]:
    """As many as the largest size, kinds mixed, without those on problems that a model is judged by."""
    found: dict[str, Tree] = {}
    part = 0
    while len(found) < max(arguments.sizes):
        trees = list(grown(arguments.output_dir / "trees" / str(part), PART, FIRST_SEED + part))
        random.Random(part).shuffle(trees)
        found |= {tree.problem.prompt: tree for tree in trees if tree.problem.prompt not in unseen}
        part += 1
    return list(found.values())


def trained(
    directory: Path, trees: Sequence[Tree], held_out: Sequence[Tree], epochs: float, critic: Path | None = None
) -> dict[str, float]:
    """
    Train a model by the recipe for the starter, unless it is there; its figures on held-out trees. Of values that a
    critic contradicts nothing is learnt.
    """
    path = directory / "figures.json"
    if not path.is_file():
        words = ["--config", "value/starter", "--output_dir", str(directory), "--dataset", "-"]
        words += ["--save_strategy", "no", "--disable_tqdm", "true", "--logging_steps", "100"]
        words += ["--num_train_epochs", str(epochs)]
        _, training, _ = parse("value", kinds(), None, words)
        learnt, judged = ([row for tree in some for row in value_rows(tree)] for some in (trees, held_out))
        count = 0
        if critic is not None:
            asked = [(row["prompt"][0]["content"], row["thoughts"]) for row in learnt]
            learnt, count = agreed(learnt, ValueModel.from_pretrained(str(critic)).score_thoughts(asked))
        trainer = ValueTrainer(model_path("starter"), training, Dataset.from_list(learnt))
        trainer.train()
        trainer.save_model()
        figures = value_figures(judged, trainer.values(Dataset.from_list(judged)))
        write_atomically(path, json.dumps({**figures, "chains": len(learnt), "contradicted": count}))
    return json.loads(path.read_text())


def consensus_table(arguments, trees: Sequence[Tree], held_out: Sequence[Tree]) -> str:
    """As many trees as the smallest size, others: all values, and those that the model of that size agrees with."""
    size = min(arguments.sizes)
    others = trees[size : 2 * size]
    lines = [["learnt from", "contradicted", *PLACES.values()], ["---"] * (2 + len(PLACES))]
    for name, critic in (("all", None), ("agreed", arguments.output_dir / f"model-{size}")):
        figures = trained(arguments.output_dir / f"others-{name}", others, held_out, 2.0, critic)
        cells = [_figure(figures[f"auc_{place}_value"]) for place in PLACES]
        lines.append([f"{size} other trees, {name} values", str(figures["contradicted"]), *cells])
    return _markdown(lines)


def read_cell(arguments, kind: str, seed: int) -> list[tuple[AnswerTree, Mapping[str, float]]]:
    """The samples on every held-out problem, and which of their answers are right."""
    rows = json.loads(cell_path(arguments, "starter", seed, kind, SAMPLES).read_text())
    is_sampled = METHODS[SAMPLES].settings.get("branching") == "root"
    return [
        (AnswerTree(Tree.from_record(row["tree"]), dict(row["found"]), row["ends"], is_sampled), row["right"])
        for row in rows
    ]


def values_of(arguments, size: int, kind: str, seed: int) -> list[dict[int, float]]:
    """What the model of a size says of the answers of every problem, scored unless that was done."""
    path = arguments.output_dir / f"model-{size}" / f"values-{arguments.num_problems}" / f"{kind}-{seed}.json"
    if not path.is_file():
        model = ValueModel.from_pretrained(str(arguments.output_dir / f"model-{size}"))
        cell = read_cell(arguments, kind, seed)
        asked = [(tree.tree.problem.prompt, tree.tree.render(node)) for tree, _ in cell for node in tree.found]
        scores = iter(model.score(asked))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([[[node, next(scores)] for node in tree.found] for tree, _ in cell]))
    return [dict(pairs) for pairs in json.loads(path.read_text())]


def transfer(arguments, kind: str, size: int | None) -> float:
    """AUC among the answers of free chains to one problem, by a model, or by mean log-probability."""
    scored = []
    for seed in range(arguments.seeds):
        values = values_of(arguments, size, kind, seed) if size else None
        for number, (tree, right) in enumerate(read_cell(arguments, kind, seed)):
            for node in tree.found:
                tokens = sum(tree.tree.nodes[i].tokens for i in tree.tree.path(node))
                score = values[number][node] if values else tree.tree.log_probability(node) / max(1, tokens)
                scored.append(((seed, number), score, right[str(node)] > 0.5))
    return auc_within(scored)


def votes(arguments, kind: str, budget: int, size: int | None, vote: str) -> list[list[float]]:
    """Whether the elected answer is right, for every seed and problem; by `"both"`, probability times value weighs."""
    found = []
    for seed in range(arguments.seeds):
        values = values_of(arguments, size, kind, seed) if size else None
        outcomes = []
        for number, (tree, right) in enumerate(read_cell(arguments, kind, seed)):
            nodes, ballot = tree.ballot(budget)
            if values:
                pairs = zip(nodes, ballot, strict=True)
                ballot = [replace(one, value=values[number][node]) for node, one in pairs]
            if vote == "both":
                ballot = [replace(v, log_probability=v.log_probability + math.log(v.value)) for v in ballot]
            elected = elect(ballot, "log_probability" if vote == "both" else vote)
            outcomes.append(0.0 if elected is None else right[str(nodes[elected])])
        found.append(outcomes)
    return found


def ranking_table(arguments, figures: Mapping[int, Mapping[str, float]]) -> str:
    """AUC of every size on held-out trees and on free chains, beside that of log-probability and of depth."""
    places = tuple(PLACES)
    lines = [["trees", *PLACES.values(), *(f"free chains, {kind}" for kind in KINDS)]]
    lines.append(["---"] * len(lines[0]))
    for size, found in figures.items():
        cells = [found[f"auc_{place}_value"] for place in places]
        lines.append([str(size), *map(_figure, cells), *(_figure(transfer(arguments, kind, size)) for kind in KINDS)])
    last = figures[max(figures)]
    free = [_figure(transfer(arguments, kind, None)) for kind in KINDS]
    lines.append(["log-probability", *(_figure(last[f"auc_{place}_log_probability"]) for place in places), *free])
    lines.append(["depth", *(_figure(last[f"auc_{place}_depth"]) for place in places), "", "", ""])
    return _markdown(lines)


def vote_table(arguments) -> str:
    """Accuracy of votes at equal tokens, and the difference of each to that by log-probability."""
    heads = [cell for kind in KINDS for cell in (kind, "− log-probability")]
    lines = [["tokens at most", "vote", *heads], ["---"] * (2 + len(heads))]
    ways = [("majority", None, "majority"), ("log-probability", None, "log_probability")]
    ways += [(f"value, {size} trees", size, "value") for size in arguments.sizes]
    ways += [(f"log-probability and value, {size} trees", size, "both") for size in arguments.sizes]
    for budget in BUDGETS[1:]:
        for name, size, vote in ways:
            line = [str(budget), name]
            for kind in KINDS:
                right = votes(arguments, kind, budget, size, vote)
                base = votes(arguments, kind, budget, None, "log_probability")
                pairs = [zip(*both, strict=True) for both in zip(right, base, strict=True)]
                line.append(percent(estimate([[[value] for value in seed] for seed in right])))
                line.append(percent(estimate([[[a - b] for a, b in pair] for pair in pairs]), "+"))
            lines.append(line)
    return _markdown(lines)


def _figure(value: float) -> str:
    return f"{value:.3f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Grow trees, train, judge, vote, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[600, 2000, 6000], help="Trees to learn from.")
    parser.add_argument("--epochs", type=float, nargs="+", help="Of each size, over its trees. Default: 2.")
    parser.add_argument("--consensus", action="store_true", help="Train with a critic, too.")
    parser.add_argument("--seeds", type=int, default=3, help="Seeds of the samples.")
    parser.add_argument("--num_problems", type=int, default=200, help="Problems of each kind that are voted on.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/value"), help="Where everything goes.")
    arguments = parser.parse_args()
    arguments.methods = [SAMPLES]
    problems = {
        kind: load_problems(kind, limit=arguments.num_problems, seed=answer_time.HELD_OUT_SEED) for kind in KINDS
    }
    held_out = list(grown(arguments.output_dir / "trees" / "held_out", HELD_OUT_TREES, HELD_OUT_SEED))
    unseen = {problem.prompt for some in problems.values() for problem in some}
    unseen |= {tree.problem.prompt for tree in held_out}
    trees = trees_to_learn_from(arguments, unseen)
    for seed in range(arguments.seeds):
        answer_time.run_model(arguments, "starter", seed, problems)
    figures = {}
    for size, epochs in zip(arguments.sizes, arguments.epochs or [2.0] * len(arguments.sizes), strict=True):
        figures[size] = trained(arguments.output_dir / f"model-{size}", trees[:size], held_out, epochs)
        print(f"{size} trees, {figures[size]['chains']} chains", flush=True)
    print(f"\n{ranking_table(arguments, figures)}\n\n{vote_table(arguments)}")
    if arguments.consensus:
        print(f"\n{consensus_table(arguments, trees, held_out)}")


if __name__ == "__main__":
    main()
