"""Labels of steps, by hand."""

import random

import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.mcts.tree import ROOT, Node, Tree
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.selection.steps import is_correction, step_rows

from .worlds import PROBLEM, ScriptedEngine, verify_inline


def tree_by_hand():
    """
    A thought with a wrong answer and, added after it, a reflection that leads to the right one; beside it a thought
    that leads nowhere right.
    """
    tree = Tree(PROBLEM, "reflection")
    for kind, parent, reward in [
        ("thinking", ROOT, None), ("thinking", ROOT, None), ("answer", 1, 0.0), ("answer", 2, 0.0),
        ("reflection", 1, None), ("answer", 5, 1.0),
    ]:  # fmt: skip
        answer = None if reward is None else "42"
        tree.add(Node(kind, kind, f"text {len(tree.nodes)}", parent, reward=reward, answer=answer))
    for leaf in (3, 4, 6):
        tree.simulations.append(leaf)
        tree.backpropagate(leaf, tree.nodes[leaf].reward)
    return tree


def test_rows_by_hand():
    rows = list(step_rows(tree_by_hand()))
    assert [row["completions"] for row in rows] == [
        ["<thinking>text 1</thinking>", "<answer>text 3</answer>"],
        ["<thinking>text 2</thinking>", "<answer>text 4</answer>"],
        ["<thinking>text 1</thinking>", "<reflection>text 5</reflection>", "<answer>text 6</answer>"],
    ]
    assert [row["labels"] for row in rows] == [[True, False], [False, False], [True, True, True]]
    assert [row["first_wrong"] for row in rows] == [1, 0, -1]
    assert [row["values"] for row in rows] == [[0.5, 0.0], [0.0, 0.0], [0.5, 1.0, 1.0]]
    assert [row["visits"] for row in rows] == [[2, 1], [1, 1], [2, 1, 1]]
    assert [row["reward"] for row in rows] == [0.0, 0.0, 1.0]


def test_without_the_paths_of_corrections():
    tree = tree_by_hand()
    assert [is_correction(tree, node) for node in range(7)] == [False] * 5 + [True, False]
    assert [row["completions"][-1] for row in step_rows(tree, corrections=False)] == [
        "<answer>text 3</answer>", "<answer>text 4</answer>",
    ]  # fmt: skip
    selector = Selector(lambda text: [], SelectionConfig(steps="without_corrections"))
    assert len(list(selector.select_steps(tree))) == 2
    assert selector.rejections == {"steps: chain with a correction": 1}


def test_they_are_made_only_if_asked_for():
    assert list(Selector(lambda text: []).select_steps(tree_by_hand())) == []
    with pytest.raises(InvalidInputError, match="steps='some' is unknown: use one of none, all, without_corrections"):
        SelectionConfig(steps="some")


@pytest.mark.parametrize("name", ["reflection", "hypothesis", "reclarify"])
async def test_corrections_of_searched_trees(name):
    engine = ScriptedEngine(lambda tag, chain, rng: r" \boxed{41}" if tag == "answer" else f" {rng.random()}")
    pattern, engines = load_pattern(name), {"generator": engine, "critic": engine}
    tree = await search(PROBLEM, pattern, engines, verify_inline, SearchConfig(12, 1, 2, 1), random.Random(0))
    corrections = [tree.nodes[node] for node in range(len(tree.nodes)) if is_correction(tree, node)]
    assert corrections
    assert {node.kind for node in corrections} == {pattern.on_wrong.add}
    for node in corrections:
        assert tree.nodes[node.parent].kind in pattern.on_wrong.under
        assert any(tree.nodes[leaf].reward == 0 and node.parent in tree.path(leaf) for leaf in tree.leaves())
    kinds = [node.kind for node in tree.nodes]
    if pattern.on_wrong.add != "thinking":  # nothing else adds one
        assert len(corrections) == kinds.count(pattern.on_wrong.add)
