"""Difficulty: how hard a problem was for the search that grew its tree.

It is read off a finished tree. This module must not know what is made of it.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, pstdev

from ..mcts.tree import Tree


@dataclass(frozen=True)
class Difficulty:
    """
    How hard a problem was for a search.

    Args:
        first_success (`int`, *optional*): Simulations until the first right answer, that one included. None: no
            simulation ended in one.
        pass_rate (`float`, *optional*): Right answers among all verified ones, in [0, 1]. None: there are none.
        pass_rate_variation (`float`, *optional*): Standard deviation of the pass rates of the root's children, those
            without verified answers left out, in [0, 0.5]; 0 for a single one. None: there are none.
    """

    first_success: int | None
    pass_rate: float | None
    pass_rate_variation: float | None


def difficulty(tree: Tree) -> Difficulty:
    """
    How hard a problem was: the effort until a search first solved it (ThinkLite-VL, arXiv 2504.07934, which counts the
    iterations of its search), how often it was solved, and how much that depends on how a chain begins.

    Args:
        tree ([`Tree`]): A finished tree.
    """
    right, wrong = tree.answers(right=True), tree.answers(right=False)
    # Not the simulation that wrote the answer: it may have been verified many simulations later.
    first = next((number for number, leaf in enumerate(tree.simulations, start=1) if leaf in right), None)
    branches: defaultdict[int, list[bool]] = defaultdict(list)
    for leaf in (*right, *wrong):
        root_child = tree.path(leaf)[1]
        branches[root_child].append(leaf in right)
    if not branches:
        return Difficulty(first, None, None)
    pass_rates = [fmean(branch) for branch in branches.values()]
    return Difficulty(first, len(right) / len(right + wrong), pstdev(pass_rates))
