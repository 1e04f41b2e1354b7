"""Traces that a model wrote, imported and regrown: how many thoughts, how many right, how much shorter; and what a
model comes to that is trained on them.

    python benchmarks/regrow.py
    python benchmarks/regrow.py --traces traces.jsonl     # only the import, of traces of your own

The starter grows the demo's trees, in which wrong answers are followed by reflections and new attempts. Of each the
longest right chain and the longest wrong one are written as `<think>` text, as the traces of reasoning models are
published, imported, and regrown by the starter. Then the hasty model is trained by SFT on the right traces, as they
were written and regrown, and answers other problems. Run it again after an interruption: what exists is not made
again.
"""

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path

from hf_treecot.cli import import_traces, regrow
from hf_treecot.cli.build import build
from hf_treecot.cli.engines import EngineArguments
from hf_treecot.cli.stages import outcomes, rows_of, train, tree_settings
from hf_treecot.files import write_atomically
from hf_treecot.hub.dataset import load_trees
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.formats import write_chain
from hf_treecot.selection.selector import SelectionConfig
from hf_treecot.traces.regrow import RegrowConfig


KINDS = ("arithmetic", "letters", "blocks")
HELD_OUT_SEED = 20_261


def write_traces(path: Path, trees: Path) -> None:
    """The longest right and the longest wrong chain of every tree as `<think>` text, a row a problem."""
    rows = []
    for tree in load_trees(trees):
        chains = []
        for right in (True, False):
            leaves = [leaf for leaf in tree.answers(right) if tree.nodes[leaf].answer is not None]
            leaf = max(leaves, key=lambda leaf, tree=tree: (len(tree.render(leaf)), leaf), default=None)
            if leaf is not None:
                chains.append(write_chain([tree.nodes[i] for i in tree.path(leaf)[1:]], "think"))
        problem = tree.problem
        rows.append(
            {"problem_id": problem.problem_id, "prompt": problem.prompt, "answer": problem.answer,
             "verifier": problem.verifier, "completion": chains}
        )  # fmt: skip
    write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def describe_trees(directory: Path) -> dict[str, float]:
    """Thoughts and chains of a dataset of trees."""
    trees = list(load_trees(directory))
    chains = [leaf for tree in trees for leaf in tree.simulations]
    return {
        "trees": len(trees),
        "traces": len(chains),
        "right": sum(tree.nodes[leaf].reward > 0.5 for tree in trees for leaf in tree.simulations),
        "thoughts": sum(len(tree.path(leaf)) - 1 for tree in trees for leaf in tree.simulations),
        "nodes": sum(len(tree.nodes) - 1 for tree in trees),
        **Counter(node.kind for tree in trees for node in tree.nodes[1:]),
    }


def main() -> None:
    """Write, import, regrow, train, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="Traces of others, to be imported alone.")
    parser.add_argument("--num_problems", type=int, default=100, help="Held-out problems of each kind.")
    parser.add_argument("--seed", type=int, default=0, help="Of the continuations and of training.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/regrow"), help="Where the runs go.")
    arguments = parser.parse_args()
    run = arguments.output_dir
    traces = arguments.traces or run / "traces.jsonl"
    if not traces.is_file():
        if not (run / "trees" / "report.json").is_file():
            asyncio.run(build(tree_settings(run / "trees", model="starter")))
        write_traces(traces, run / "trees")

    imported = import_traces.import_traces(
        import_traces.ImportArguments([str(traces)], output_dir=str(run / "imported")), SelectionConfig()
    )
    print(f"left out by the import: {json.dumps({k: v for k, v in imported.rejections.items() if 'import' in k})}")
    print(f"imported: {json.dumps(describe_trees(run / 'imported'))}")
    if arguments.traces:
        return
    where = regrow.RegrowArguments(str(run / "imported"), seed=arguments.seed, output_dir=str(run / "regrown"))
    how = RegrowConfig(max_new_tokens=256, temperature=1.0, top_p=1.0)
    report, shortening = asyncio.run(regrow.regrow(where, EngineArguments(), how, regrow.ShortSelection()))
    print(f"left out by regrowing: {json.dumps({k: v for k, v in report.rejections.items() if 'regrow' in k})}")
    print(regrow.describe(shortening))

    held_out = {kind: load_problems(kind, limit=arguments.num_problems, seed=HELD_OUT_SEED) for kind in KINDS}
    datasets = {"nothing": None, "traces as written": run / "imported", "traces regrown": run / "regrown"}
    print(f"\n| SFT on | {' | '.join(f'{kind}: right / no answer / tokens' for kind in KINDS)} |\n|{' --- |' * 4}")
    for label, dataset in datasets.items():
        path = run / f"{label.replace(' ', '_')}.json"
        if not path.is_file():
            model = "hasty"
            if dataset is not None:
                model = str(train("sft", "hasty", dataset, run / "models" / path.stem, seed=arguments.seed))
            answered = outcomes(model, held_out, max_new_tokens=512, seed=arguments.seed)
            write_atomically(path, json.dumps(answered))
        rows = rows_of(label, [json.loads(path.read_text())])
        cells = [f"{row['accuracy']:.0%} / {row['no_answer_rate']:.0%} / {row['tokens']:.0f}" for row in rows]
        print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
