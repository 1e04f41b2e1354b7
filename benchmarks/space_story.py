"""Makes again what the Space shows where there is no run: trees, pairs, figures, and an output without an end.

    python benchmarks/before_after.py              # minutes; or what exists of it
    python benchmarks/space_story.py

The story's tree is, of all small ones of sums whose pair parts after a beginning, the one whose simulations tried
something new most often. The others are the first seed's: of every kind the first small ones with such a pair, one
without a right chain, and the largest. The figures are of all seeds. The output is the first seed's SFT model's on the
first held-out problem that it does not answer and the joint model answers rightly, both greedy.
"""

import argparse
import json
import shutil
from pathlib import Path

from before_after import HELD_OUT_SEED, STEPS

from hf_treecot.cli.stages import load_engine, rows_of
from hf_treecot.evaluation.outputs import answer_all
from hf_treecot.evaluation.statistics import estimate
from hf_treecot.hub.dataset import DatasetWriter
from hf_treecot.mcts.tree import Tree
from hf_treecot.problems.loading import load_problems
from hf_treecot.space.tree_index import TreeIndex, open_trees


SHIPPED = Path(__file__).parents[1] / "hf_treecot" / "space" / "shipped"
NAMES = {"base": "hasty", "sft": "SFT", "joint": "joint"}  # what the story calls the three models
KINDS = ("arithmetic", "letters", "blocks")
OF_A_KIND = 4
SMALL = 30  # thoughts


def _kind(tree: Tree) -> str:
    return tree.problem.problem_id.partition("-")[0]


def new_ways(tree: Tree) -> float:
    """The share of simulations that tried something new: what is worth watching."""
    return len({node.simulation for node in tree.nodes[1:]}) / len(tree.simulations)


def choose(indices: list[TreeIndex]) -> list[tuple[Tree, list[dict]]]:
    """The trees that are shipped, each with its pairs, the story's first."""
    found = [(tree, index.pairs(tree)) for index in indices for tree in map(index.tree, range(len(index)))]
    of_first = found[: len(indices[0])]

    def paired(kind: str, trees: list) -> list:
        parting = [(tree, pairs) for tree, pairs in trees if any(pair["shared_prefix_length"] for pair in pairs)]
        return [(tree, pairs) for tree, pairs in parting if _kind(tree) == kind and len(tree.nodes) <= SMALL]

    chosen = [max(paired("arithmetic", found), key=lambda each: new_ways(each[0]))]
    for kind in KINDS:
        chosen += paired(kind, of_first)[:OF_A_KIND]
    chosen += [(tree, pairs) for tree, pairs in of_first if not tree.answers(True) and len(tree.nodes) <= SMALL][:1]
    chosen.append(max(of_first, key=lambda each: len(each[0].nodes)))
    return list({tree.tree_id: (tree, pairs) for tree, pairs in chosen}.values())


def figures(run: Path) -> list[dict]:
    """A row for every model, kind and way of decoding, with intervals over seeds and problems."""
    seeds = sorted(run.glob("seed-*"))
    by_seed = [{name: json.loads((seed / f"{name}.json").read_text()) for name in NAMES} for seed in seeds]
    rows = []
    for name, label in NAMES.items():
        of_model = rows_of(label, [seed[name] for seed in by_seed])
        for number, row in enumerate(of_model):
            if name == "base":
                continue
            pairs = [(seed["base"][number]["accuracy"], seed[name][number]["accuracy"]) for seed in by_seed]
            found = estimate([[[b - a] for a, b in zip(*pair, strict=True)] for pair in pairs])
            row |= {"difference": found.value, "difference_low": found.low, "difference_high": found.high}
        rows += of_model
    return rows


def failure(run: Path, kind: str = "blocks") -> dict[str, str]:
    """A held-out problem that the SFT model thinks about for ever, and what both models say to it."""
    sft, joint = (json.loads((run / f"{name}.json").read_text()) for name in ("sft", "joint"))
    at = next(i for i, task in enumerate(sft) if (task["task"], task["decoding"]) == (kind, "greedy"))
    number = next(
        i
        for i, (lost, right) in enumerate(zip(sft[at]["no_answer_rate"], joint[at]["accuracy"], strict=True))
        if lost and right and sft[at]["tokens"][i] == max(sft[at]["tokens"])
    )
    problem = load_problems(kind, limit=len(sft[at]["accuracy"]), seed=HELD_OUT_SEED)[number]
    found = {"kind": kind, "prompt": problem.prompt, "answer": problem.answer}
    for name in ("sft", "joint"):
        engine = load_engine(str(run / "models" / name))
        (output,) = answer_all([problem], engine, max_new_tokens=512)
        engine.close()
        found |= {name: output.text, f"{name}_tokens": output.tokens}
    return found


def main() -> None:
    """Write the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/before_after"), help="What before_after.py has made.")
    parser.add_argument("--output_dir", type=Path, default=SHIPPED, help="Where it goes.")
    arguments = parser.parse_args()
    seeds = sorted(arguments.run.glob("seed-*"))
    trees = choose([open_trees(str(seed / "trees")) for seed in seeds])
    shutil.rmtree(arguments.output_dir, ignore_errors=True)
    arguments.output_dir.mkdir(parents=True)
    with DatasetWriter(arguments.output_dir / "dataset") as writer:
        for tree, pairs in trees:
            writer.write("trees", tree.to_record())
            for pair in pairs:
                writer.write("preference", pair)
    shutil.rmtree(arguments.output_dir / "dataset" / "sft")
    (arguments.output_dir / "dataset" / "README.md").unlink()  # it names what is not shipped
    rows = figures(arguments.run)
    (arguments.output_dir / "evaluation.json").write_text(json.dumps(rows, indent=1) + "\n")
    story = {
        "tree_id": trees[0][0].tree_id,
        "steps": list(NAMES.values()),
        "parents": {NAMES[after]: NAMES[before] for before, after in STEPS[:2]},
        "seeds": len(seeds),
        "failure": failure(seeds[0]),
    }
    (arguments.output_dir / "story.json").write_text(json.dumps(story, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(trees)} trees, {len(rows)} rows of figures: {arguments.output_dir}")


if __name__ == "__main__":
    main()
