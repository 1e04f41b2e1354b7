import json
import random
import re

import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.mcts.tree import NO_PARENT, ROOT, Node, Tree

from .worlds import PROBLEM, ScriptedEngine, verify_inline


def small_tree():
    tree = Tree(PROBLEM, "reflection")
    plan = tree.add(Node("sub_task", "sub-task", "Plan.", ROOT))
    first = tree.add(Node("thinking", "thinking", "Six times seven is 41.", plan))
    second = tree.add(Node("thinking", "thinking", "Six times seven is 42.", plan))
    wrong = tree.add(Node("answer", "answer", r"\boxed{41}", first, reward=0.0))
    right = tree.add(Node("answer", "answer", r"\boxed{42}", second, reward=1.0))
    tree.add(Node("thinking", "thinking", "", second, dead_end="empty"))
    return tree, wrong, right


def test_ids_are_indices_and_parents_come_first():
    tree, wrong, right = small_tree()
    assert [node.parent for node in tree.nodes] == [NO_PARENT, 0, 1, 1, 2, 3, 3]
    assert tree.path(right) == [0, 1, 3, 5]
    assert list(tree.leaves()) == [wrong, right, 6]
    assert tree.answers(right=True) == [right]
    assert tree.answers(right=False) == [wrong]


def test_a_rendered_chain_is_one_tagged_thought_a_line():
    tree, _, right = small_tree()
    assert tree.render(right) == (
        "<sub-task>Plan.</sub-task>\n<thinking>Six times seven is 42.</thinking>\n<answer>\\boxed{42}</answer>"
    )
    assert tree.render(ROOT) == ""


def test_backpropagation_reaches_the_root_and_nothing_beside_the_path():
    tree, wrong, right = small_tree()
    tree.backpropagate(right, 1.0)
    tree.backpropagate(wrong, 0.0)
    assert [node.visit_count for node in tree.nodes] == [2, 2, 1, 1, 1, 1, 0]
    assert [node.value_sum for node in tree.nodes] == [1, 1, 0, 1, 0, 1, 0]
    assert tree.nodes[ROOT].value == 0.5
    assert tree.nodes[6].value == 0.0


@pytest.mark.parametrize("seed", range(3))
async def test_round_trip_through_json_is_lossless(seed):
    engine = ScriptedEngine()
    tree = await search(
        PROBLEM, load_pattern("released_demo"), {"generator": engine, "critic": engine}, verify_inline,
        SearchConfig(8, 2, 4), random.Random(seed),
    )  # fmt: skip
    tree.provenance = {"seed": "3", "model": "scripted"}
    tree.malformed, tree.nodes[1].reasoning = 2, "Hm."
    again = Tree.from_record(json.loads(json.dumps(tree.to_record())))
    assert again == tree
    assert again.tree_id == "p0/released_demo/3"
    assert [n.children for n in again.nodes] == [n.children for n in tree.nodes]


def set_in(record, path, value):
    *most, last = path
    for key in most:
        record = record[key]
    record[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nodes", 1, "parent"), 2, "node 1: its parent 2 must come before it"),
        (("nodes", 1, "parent"), 1, "node 1: its parent 1 must come before it"),
        (("nodes", 2, "parent"), -1, "node 2: its parent -1 must come before it"),
        (("nodes", 0, "parent"), 1, "its first node must be the root"),
        (("nodes", 1, "parent"), "0", "node 1: parent must be a whole number, got '0'"),
        (("nodes", 1, "text"), None, "node 1: text must be text, got None"),
        (("nodes", 1, "reward"), "1", "node 1: reward must be a number, got '1'"),
        (("nodes", 0, "reward"), 1.0, "its parent 0 is an answer"),
        (("nodes", 2, "reward"), 1.0, "its parent 2 is an answer"),
        (("nodes", 4, "reward"), 2.0, "node 4: reward must be from 0 to 1, got 2.0"),
        (("nodes", 4, "reward"), float("nan"), "node 4: reward must be from 0 to 1, got nan"),
        (("nodes", 4, "answer"), 42, "node 4: answer must be text or nothing, got 42"),
        (("nodes",), [], "its first node must be the root"),
        (("nodes",), [{}], "KeyError: 'kind'"),
        (("nodes",), None, "TypeError"),
        (("problem",), {"id": 1}, "TypeError"),
        (("simulations",), [999], "a simulation ends in no node"),
        (("statistics",), {}, "KeyError"),
    ],
)
def test_a_malformed_tree_is_refused_by_name(path, value, message):
    tree, *_ = small_tree()
    tree.provenance = {"seed": "3", "model": "scripted"}
    record = json.loads(json.dumps(tree.to_record()))
    set_in(record, path, value)
    with pytest.raises(InvalidInputError, match=re.escape(message)) as error:
        Tree.from_record(record)
    assert str(error.value).startswith(f"tree {tree.tree_id!r}: malformed (")
    assert len(str(error.value)) < 500
