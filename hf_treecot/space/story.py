"""The story that the app opens with: a tree, its pair, and what training did, of the run that comes with the package.

`benchmarks/space_story.py` makes that run again. This module must not know how a page is laid out.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from ..mcts.tree import NO_PARENT, Tree
from ..reports.evaluated import Evaluated, Steps, read_rows
from .charts import Share, bars_html
from .rendering import chain_html, tree_payload
from .tree_index import EXAMPLES, SHIPPED, open_trees


@dataclass(frozen=True)
class Story:
    """
    What is told.

    Args:
        tree ([`Tree`]): That grows.
        pair (`dict`): Its preference row.
        evaluated ([`Evaluated`]): The model that grew such trees, after SFT, after the joint objective.
        failure (`dict[str, Any]`): A problem that the model after SFT thinks about for ever, and what both say to it.
        seeds (`int`): Runs that the figures are of.
    """

    tree: Tree
    pair: dict[str, Any]
    evaluated: Evaluated
    failure: dict[str, Any]
    seeds: int


@lru_cache(maxsize=1)
def load_story() -> Story:
    """The story that comes with the package."""
    facts = json.loads((SHIPPED / "story.json").read_text(encoding="utf-8"))
    index = open_trees(EXAMPLES)
    tree = index.tree(index.row_of(facts["tree_id"]))
    rows = [row for row in read_rows(SHIPPED) if row["decoding"] == "greedy"]
    evaluated = Evaluated(rows, 2, facts["parents"], Steps(*facts["steps"]))
    return Story(tree, index.pairs(tree)[0], evaluated, facts["failure"], facts["seeds"])


def captions(tree: Tree) -> list[str]:
    """What happens in every simulation, in a sentence; first what there is before any."""
    told = ["there is only the problem."]
    for number, leaf in enumerate(tree.simulations):
        node = tree.nodes[leaf]
        added = sum(1 for other in tree.nodes[1:] if other.simulation == number)
        way = f"{added} new thoughts" if added else "the way that looks best, once more"
        if node.reward is None:
            told.append(f"{way}; this way ends without an answer.")
        else:
            told.append(
                f"{way}; this way ends in the answer {node.answer}, {'right ✓' if node.reward > 0.5 else 'wrong ✗'}."
            )
    return told


def growing(story: Story) -> dict[str, Any]:
    """
    What is drawn: the tree, which grows by itself, and in the end the two chains of its pair. Thoughts that the search
    wrote and never came by are left out, so that it is seen at a glance.
    """
    payload = tree_payload(story.tree)
    kept = [i for i, node in enumerate(story.tree.nodes) if node.visit_count]
    number = {NO_PARENT: NO_PARENT, **{old: new for new, old in enumerate(kept)}}
    columns = {name: [values[i] for i in kept] for name, values in payload.items() if name != "simulations"}
    ends = {story.tree.render(leaf): leaf for leaf in story.tree.leaves()}
    marks = {side: number[ends[story.pair[side][0]["content"]]] for side in ("chosen", "rejected")}
    return {
        **columns, "parent": [number[parent] for parent in columns["parent"]],
        "simulations": [number[leaf] for leaf in payload["simulations"]],
        "title": "story", "play": True, "captions": captions(story.tree), "marks": marks,
    }  # fmt: skip


def ladder(evaluated: Evaluated, figure: str = "accuracy") -> str:
    """What the models of the ladder come to, a group of bars for every kind of problems."""
    groups = {
        task: [
            Share(model, *(row[f"{figure}{end}"] for end in ("", "_low", "_high")))
            for model in evaluated.models
            if (row := evaluated.row(model, task))
        ]
        for task in evaluated.tasks
    }
    return bars_html(groups)


def failure_html(story: Story) -> str:
    """An output that goes on and on, cut, and its cure, side by side."""
    failure = story.failure
    lost, found = failure["sft"], failure["joint"]
    thoughts = lost.count("</thinking>")
    cut = "</thinking>\n".join(lost.split("</thinking>\n")[:3]) + "</thinking>"
    return (
        f'<details class="failure"><summary>The failure, and its cure: an output each</summary><p class="text">'
        f"{escape(failure['prompt'])}</p>"
        f'<div class="pair"><section class="rejected"><h3>✗ SFT <small>no answer, {failure["sft_tokens"]} tokens'
        f'</small></h3>{chain_html(cut)}<p class="note">… and so on: {thoughts} thoughts, until the budget was spent.'
        f'</p></section><section class="chosen"><h3>✓ joint <small>right, {failure["joint_tokens"]} tokens</small>'
        f"</h3>{chain_html(found)}</section></div></details>"
    )
