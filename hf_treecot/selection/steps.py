"""Chains with what a search knows of every thought: rows to train and to measure models that judge steps.

A pure function of one tree. Labels are Monte Carlo's: nobody has read the thoughts.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from ..mcts.pattern import Pattern, load_pattern
from ..mcts.tree import ROOT, Tree
from .formats import write_pieces


STEPS_CHOICES = ("none", "all", "without_corrections")


def step_rows(
    tree: Tree, format: str = "tags", corrections: bool = True, leaves: Iterable[int] | None = None
) -> Iterator[dict[str, Any]]:
    """
    One row for every chain of a tree that ends in a verified answer, right or wrong, in the stepwise format of TRL
    (`prompt`, `completions`, `labels`), with soft labels besides.

    Args:
        tree ([`Tree`]): A finished tree.
        format (`str`): How thoughts are written; see [`~formats.write_pieces`].
        corrections (`bool`): Also chains with a thought that was added since an answer was wrong: it says something of
            that answer, which its chain does not show.
        leaves (`Iterable[int]`, *optional*): The answers whose chains are taken. Default: all.

    Returns:
        `Iterator[dict]`: `prompt` (`str`), `completions` (a text a thought), `labels` (`bool` each: whether any right
        answer was reached through it, as Math-Shepherd's hard labels), `values` (v/N of the search), `visits` (N),
        `first_wrong` (index of the first thought through which no right answer was reached, -1 if there is none, as in
        ProcessBench), `reward` of the answer, and `tree_id`.
    """
    reached = {node for leaf in tree.answers(right=True) for node in tree.path(leaf)}
    for leaf in sorted(tree.answers(right=True) + tree.answers(right=False)) if leaves is None else leaves:
        path = tree.path(leaf)
        if not corrections and any(is_correction(tree, node) for node in path):
            continue
        nodes = [tree.nodes[node] for node in path[1:]]
        labels = [node in reached for node in path[1:]]
        yield {
            "prompt": tree.problem.prompt,
            "completions": [piece.strip() for piece in write_pieces(nodes, format)],
            "labels": labels,
            "values": [node.value for node in nodes],
            "visits": [node.visit_count for node in nodes],
            "first_wrong": labels.index(False) if False in labels else -1,
            "reward": tree.nodes[leaf].reward,
            "tree_id": tree.tree_id,
        }


def is_correction(tree: Tree, node_id: int) -> bool:
    """
    Whether a thought was added since an answer was wrong: it is of the kind that the tree's pattern adds then, besides
    those that may follow anyway.

    Raises:
        InvalidInputError: The pattern is none of the packaged ones.
    """
    on_wrong = (pattern := _pattern(tree.pattern)).on_wrong
    node, parent = tree.nodes[node_id], tree.nodes[max(ROOT, tree.nodes[node_id].parent)]
    if on_wrong is None or node.kind != on_wrong.add or parent.kind not in on_wrong.under:
        return False
    of_kind = [sibling for sibling in parent.children if tree.nodes[sibling].kind == node.kind]
    return of_kind.index(node_id) >= pattern.next_kinds(parent.kind).get(node.kind, 0)


@cache
def _pattern(name: str) -> Pattern:
    return load_pattern(name)
