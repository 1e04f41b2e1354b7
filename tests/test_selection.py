import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.problems import Problem
from hf_treecot.selection import SelectionConfig, Selector, select_preferences, select_sft
from hf_treecot.tree import ROOT, Node, Tree


def tokenize(text):
    """One token a word."""
    return [hash(word) for word in text.replace("<", " <").replace(">", "> ").split()]


def tree_of(*chains, prompt="How many?"):
    """A tree from (thoughts, reward) pairs; equal prefixes are shared. Visits are set so that values differ."""
    tree = Tree(Problem("p", prompt, "1"), "reflection", provenance={"seed": "0"})
    for thoughts, reward in chains:
        node_id = ROOT
        for text in thoughts:
            same = [c for c in tree.nodes[node_id].children if tree.nodes[c].text == text]
            node_id = same[0] if same else tree.add(Node("thinking", "thinking", text, node_id))
        if reward == "dead end":
            tree.add(Node("answer", "answer", "", node_id, dead_end="empty"))
            continue
        answer = None if reward is None else str(reward)
        leaf = tree.add(Node("answer", "answer", f"a{len(tree.nodes)}", node_id, reward=reward or 0.0, answer=answer))
        tree.backpropagate(leaf, reward or 0.0)
    return tree


def thoughts_of(row, column):
    text = row[column][0]["content"]
    return [line.removeprefix("<thinking>").removesuffix("</thinking>") for line in text.split("\n")[:-1]]


TREE = tree_of(
    (["plan", "one two three"], 1.0),  # medium
    (["plan", "one"], 1.0),  # shortest
    (["plan", "one two three", "four five six"], 1.0),  # longest
    (["plan", "one", "wrong turn"], 0.0),  # shares most with the shortest
    (["other plan", "x y"], 0.0),  # shares least
)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("longest", ["plan", "one two three", "four five six"]),
        ("medium", ["plan", "one two three"]),
        ("shortest", ["plan", "one"]),
        ("best_value", ["plan", "one two three", "four five six"]),  # no wrong answer below it
    ],
)
def test_which_right_chain_is_taken(choice, expected):
    (row,) = select_sft([TREE], tokenize, SelectionConfig(sft=choice))
    assert thoughts_of(row, "completion") == expected
    assert row["prompt"] == [{"role": "user", "content": "How many?"}]
    assert row["completion"][0]["role"] == "assistant"
    assert row["length"] == len(tokenize(row["completion"][0]["content"]))
    assert row["rank"] == 0


def test_the_best_value_need_not_be_the_longest():
    tree = tree_of((["plan", "one two three"], 1.0), (["straight"], 1.0), (["plan", "wrong turn"], 0.0))
    (longest,) = select_sft([tree], tokenize)
    (best,) = select_sft([tree], tokenize, SelectionConfig(sft="best_value"))
    assert thoughts_of(longest, "completion") == ["plan", "one two three"]
    assert thoughts_of(best, "completion") == ["straight"]


def test_several_sft_rows_come_in_order():
    rows = select_sft([TREE], tokenize, SelectionConfig(max_sft_per_tree=3))
    assert [row["rank"] for row in rows] == [0, 1, 2]
    assert [row["length"] for row in rows] == sorted((row["length"] for row in rows), reverse=True)


def test_the_shortest_right_chain_against_the_wrong_one_with_the_shortest_common_prefix():
    (row,) = select_preferences([TREE], tokenize)
    assert thoughts_of(row, "chosen") == ["plan", "one"]
    assert thoughts_of(row, "rejected") == ["other plan", "x y"]
    assert row["shared_prefix_length"] == 1  # the opening tag
    assert (row["chosen_reward"], row["rejected_reward"]) == (1.0, 0.0)
    assert row["chosen_length"] == len(tokenize(row["chosen"][0]["content"]))


def test_equally_short_prefixes_are_told_apart_by_length():
    tree = tree_of((["a b c"], 1.0), (["x"], 0.0), (["x y z"], 0.0), (["x y z u v w"], 0.0))
    (row,) = select_preferences([tree], tokenize)
    assert thoughts_of(row, "rejected") == ["x y z"]


def test_a_limit_takes_the_best_pair_of_every_right_chain_first():
    rows = select_preferences([TREE], tokenize, SelectionConfig(preference="all", max_pairs_per_tree=3))
    assert [thoughts_of(row, "rejected") for row in rows] == [["other plan", "x y"]] * 3
    assert len({row["chosen"][0]["content"] for row in rows}) == 3


@pytest.mark.parametrize(("choice", "expected"), [("one_per_tree", 1), ("one_per_right_chain", 3), ("all", 6)])
def test_how_many_pairs(choice, expected):
    assert len(select_preferences([TREE], tokenize, SelectionConfig(preference=choice))) == expected


RIGHT, WRONG, SILENT, DEAD = (["a"], 1.0), (["b"], 0.0), (["c"], None), (["d"], "dead end")


@pytest.mark.parametrize(
    ("trees", "config", "reason", "count"),
    [
        ([tree_of(WRONG)], {}, "sft: tree without a right chain", 1),
        ([tree_of(WRONG)], {}, "preference: tree without a right chain", 1),
        ([tree_of(RIGHT)], {}, "preference: tree without a wrong chain", 1),
        ([tree_of(RIGHT, SILENT)], {}, "preference: chain without an answer", 1),
        ([TREE], {"max_length": 9}, "sft: chain longer than max_length", 2),
        ([TREE], {"max_length": 9}, "preference: chain longer than max_length", 4),
        ([TREE], {}, "sft: beyond max_sft_per_tree", 2),
        ([TREE], {"preference": "all", "max_pairs_per_tree": 2}, "preference: pair beyond max_pairs_per_tree", 4),
        ([TREE], {}, "preference: chain that makes no pair", 3),
        ([tree_of(RIGHT, WRONG, DEAD)], {}, "sft: chain that is a dead end", 1),
        ([tree_of(RIGHT, WRONG, DEAD)], {}, "preference: chain that is a dead end", 1),
        ([tree_of(RIGHT, WRONG)] * 3, {}, "sft: duplicate", 2),
        ([tree_of(RIGHT, WRONG)] * 3, {}, "preference: duplicate", 2),
    ],
)
def test_every_rejection_is_counted_with_its_reason(trees, config, reason, count):
    selector = Selector(tokenize, SelectionConfig(**config))
    for tree in trees:
        list(selector.select_sft(tree))
        list(selector.select_preferences(tree))
    assert selector.rejections[reason] == count


def test_nothing_is_lost_without_a_count():
    selector = Selector(tokenize, SelectionConfig(max_length=9))
    rows = list(selector.select_sft(TREE))
    left_out = sum(n for reason, n in selector.rejections.items() if reason.startswith("sft"))
    assert len(rows) + left_out == len(TREE.answers(right=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [("sft", "best"), ("preference", "some"), ("max_length", 0), ("max_pairs_per_tree", 0), ("max_sft_per_tree", -1)],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}="):
        SelectionConfig(**{name: value})
