import pytest

from hf_treecot.base import Problem
from hf_treecot.mcts.tree import ROOT, Node, Tree
from hf_treecot.selection.difficulty import Difficulty, difficulty

from .test_selection import (
    DEAD,
    RIGHT,
    SILENT,
    TREE,
    WRONG,
    tree_of,
)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (TREE, Difficulty(1, 3 / 5, 0.375)),  # 3 of 4 below one root's child, 0 of 1 below the other
        (tree_of(WRONG, DEAD, RIGHT, WRONG), Difficulty(3, 1 / 3, 0.5)),  # a dead end is effort, but no answer
        (tree_of(SILENT, RIGHT), Difficulty(2, 1 / 2, 0.5)),  # an answer thought without an answer is wrong
        (tree_of(RIGHT), Difficulty(1, 1.0, 0.0)),
        (tree_of(WRONG), Difficulty(None, 0.0, 0.0)),
        (tree_of(DEAD), Difficulty(None, None, None)),
        (Tree(Problem("p", "?", "1"), "reflection"), Difficulty(None, None, None)),
    ],
)
def test_difficulty_of_trees_that_are_known(tree, expected):
    assert difficulty(tree) == expected


def test_the_same_pass_rate_can_vary_between_branches_or_not():
    even = tree_of((["a", "x"], 1.0), (["a", "y"], 0.0), (["b", "x"], 1.0), (["b", "y"], 0.0))
    uneven = tree_of((["a", "x"], 1.0), (["a", "y"], 1.0), (["b", "x"], 0.0), (["b", "y"], 0.0))
    assert difficulty(even) == Difficulty(1, 0.5, 0.0)
    assert difficulty(uneven) == Difficulty(1, 0.5, 0.5)


def test_an_answer_counts_when_it_is_verified_not_when_it_is_written():
    tree = Tree(Problem("p", "?", "1"), "reflection")
    wrong, right = (tree.add(Node("answer", "answer", text, ROOT, simulation=0)) for text in ("2", "1"))
    for leaf, reward in ((wrong, 0.0), (wrong, 0.0), (right, 1.0)):
        tree.nodes[leaf].reward = reward
        tree.backpropagate(leaf, reward)
        tree.simulations.append(leaf)
    assert difficulty(tree).first_success == 3
    assert difficulty(Tree.from_record(tree.to_record())) == difficulty(tree)
