import re
from collections import Counter

import pytest

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import ROOT, Node, Tree
from hf_treecot.selection.chains import CHANGES_OF_MIND
from hf_treecot.selection.judgements import Judgements, item_id
from hf_treecot.selection.selector import SelectionConfig, Selector, select_preferences, select_sft


def tokenize(text):
    """One token a word."""
    return [hash(word) for word in text.replace("<", " <").replace(">", "> ").split()]


def tree_of(*chains, prompt="How many?"):
    """
    A tree from (thoughts, reward) pairs, one simulation each; equal prefixes are shared. A thought is its text, or its
    kind, a colon and its text.
    """
    tree = Tree(Problem("p", prompt, "1"), "reflection", provenance={"seed": "0"})
    for thoughts, reward in chains:
        node_id = ROOT
        for thought in thoughts:
            kind, _, text = thought.rpartition(": ")
            same = [c for c in tree.nodes[node_id].children if tree.nodes[c].text == text]
            node_id = same[0] if same else tree.add(Node(kind or "thinking", kind or "thinking", text, node_id))
        if reward == "dead end":
            tree.simulations.append(tree.add(Node("answer", "answer", "", node_id, dead_end="empty")))
            tree.backpropagate(tree.simulations[-1], 0.0)
            continue
        answer = None if reward is None else str(reward)
        leaf = tree.add(Node("answer", "answer", f"a{len(tree.nodes)}", node_id, reward=reward or 0.0, answer=answer))
        tree.backpropagate(leaf, reward or 0.0)
        tree.simulations.append(leaf)
    return tree


def thoughts_of(row, column):
    text = row[column][0]["content"]
    return [re.sub("<[^>]*>", "", line) for line in text.split("\n")[:-1]]


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
        ("by_difficulty", ["plan", "one two three"]),  # 3 of 5 are right: rank 0.4 * 2, nearest to 1
        ("pruned", ["plan", "one two three", "four five six"]),  # nobody changes their mind
    ],
)
def test_which_right_chain_is_taken(choice, expected):
    (row,) = select_sft([TREE], tokenize, SelectionConfig(sft=choice))
    assert thoughts_of(row, "completion") == expected
    assert row["prompt"] == [{"role": "user", "content": "How many?"}]
    assert row["completion"][0]["role"] == "assistant"
    assert row["length"] == len(tokenize(row["completion"][0]["content"]))
    assert row["rank"] == 0
    assert (row["first_success"], row["pass_rate"], row["pass_rate_variation"]) == (1, 0.6, 0.375)


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


LENGTHS = ["a", "a b c", "a b c d e"]


@pytest.mark.parametrize(
    ("num_wrong", "expected"),
    [
        (0, [0, 1, 2]),  # easy: the shortest first
        (3, [1, 0, 2]),  # half of all are right: the middle, and of two that are equally near the shorter
        (27, [2, 1, 0]),  # hard: the longest first
    ],
)
def test_the_harder_the_problem_the_longer_the_chain(num_wrong, expected):
    tree = tree_of(*(([text], 1.0) for text in LENGTHS), *(([f"w{i}"], 0.0) for i in range(num_wrong)))
    rows = select_sft([tree], tokenize, SelectionConfig(sft="by_difficulty", max_sft_per_tree=3))
    assert [thoughts_of(row, "completion") for row in rows] == [[LENGTHS[i]] for i in expected]


def test_a_single_right_chain_is_taken_by_any_choice():
    tree = tree_of((["plan", "reflection: wait", "x"], 1.0), (["plan", "y"], 0.0))
    for choice in ("by_difficulty", "pruned"):
        (row,) = select_sft([tree], tokenize, SelectionConfig(sft=choice))
        assert thoughts_of(row, "completion") == ["plan", "wait", "x"]


@pytest.mark.parametrize("kind", sorted(CHANGES_OF_MIND))
def test_a_pruned_chain_goes_back_to_before_its_first_change_of_mind(kind):
    tree = tree_of(
        (["plan", "a b c", f"{kind}: hm", "d e", "double_check: is it", "f g"], 1.0),  # the longest
        (["plan", "a b c", f"{kind}: hm", "d e", "h"], 1.0),  # the shortest below the second change of mind
        (["plan", "a b c", "i j"], 1.0),  # the shortest below the first
        (["plan", "a b c", "k"], 0.0),  # shorter, but wrong
        (["plan", "l"], 1.0),  # shorter, but it parts earlier
    )
    selector = Selector(tokenize, SelectionConfig(sft="pruned", max_sft_per_tree=9))
    rows = list(selector.select_sft(tree))
    assert [thoughts_of(row, "completion") for row in rows] == [["plan", "a b c", "i j"], ["plan", "l"]]
    assert +selector.rejections == Counter({"sft: chain that a pruned one replaces": 2})


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ([["reflection: wait", "a b c"], ["d"]], ["d"]),  # back to the problem itself
        ([["plan", "reflection: wait", "a b c"], ["d"]], ["plan", "wait", "a b c"]),  # no other right chain from there
        ([["plan", "reflection: wait", "a"], ["plan", "b c d e"]], ["plan", "wait", "a"]),  # as long: it stays
    ],
)
def test_what_is_pruned_and_what_is_not(chains, expected):
    tree = tree_of(*((thoughts, 1.0) for thoughts in chains))
    (row,) = select_sft([tree], tokenize, SelectionConfig(sft="pruned"))
    assert thoughts_of(row, "completion") == expected


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


@pytest.mark.parametrize(
    ("choice", "expected"), [("one_per_tree", 1), ("one_per_right_chain", 3), ("all", 6), ("one_per_branching", 3)]
)
def test_how_many_pairs(choice, expected):
    assert len(select_preferences([TREE], tokenize, SelectionConfig(preference=choice))) == expected


def pairs_of(*trees, **settings):
    """Thoughts of the chosen and the rejected chain of every step-level pair."""
    rows = select_preferences(trees, tokenize, SelectionConfig(preference="one_per_branching", **settings))
    return [(thoughts_of(row, "chosen"), thoughts_of(row, "rejected")) for row in rows]


STEPS = [  # of TREE, the largest difference in value first
    (["plan", "one"], ["plan", "one", "wrong turn"]),  # an answer with value 1, "wrong turn" with 0
    (["plan", "one"], ["other plan", "x y"]),  # "plan" with 3/4, "other plan" with 0
    (["plan", "one two three"], ["plan", "one", "wrong turn"]),  # "one two three" with 1, "one" with 1/2
]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_step_level_pairs_part_where_the_values_do(limit):
    assert pairs_of(TREE, max_pairs_per_tree=limit) == STEPS[:limit]


def test_with_the_prefix_masked_the_loss_of_a_step_level_pair_begins_at_its_step():
    (row, *_) = select_preferences([TREE], tokenize, SelectionConfig(preference="one_per_branching"))
    assert row["shared_prefix_length"] == len(tokenize("<thinking>plan</thinking>\n<thinking>one</thinking>"))


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        (  # equal values at the root, equal differences below it: in the order of writing
            [(["a", "x"], 1.0), (["a", "y"], 0.0), (["b", "z"], 1.0), (["b", "w"], 0.0)],
            [(["a", "x"], ["a", "y"]), (["b", "z"], ["b", "w"])],
        ),
        (  # equal differences: the thought with more visits first; the root with 1/2 against 1/3 last
            [(["a", "x"], 1.0), (["a", "y"], 0.0), (["b", "z"], 1.0), (["b", "w"], 0.0), (["b", "v"], 0.0)],
            [(["b", "z"], ["b", "w"]), (["a", "x"], ["a", "y"]), (["a", "x"], ["b", "w"])],
        ),
        (  # of the wrong chains through the worse child the one nearest in length
            [(["a b c d e f"], 1.0), (["g", "x"], 0.0), (["g", "x y z"], 0.0), (["g", "x y z u v w"], 0.0)],
            [(["a b c d e f"], ["g", "x y z"])],
        ),
        (  # the only child with a right chain has a lower value than its sibling: nothing to learn at the root
            [(["a", "x"], 0.6), (["a", "y"], 0.0), (["a", "z"], 0.0), (["b"], 0.4)],
            [(["a", "x"], ["a", "y"])],
        ),
    ],
)
def test_one_step_level_pair_for_every_branching_with_different_values(chains, expected):
    assert pairs_of(tree_of(*chains)) == expected


def test_judgements_hold_for_step_level_pairs():
    config = SelectionConfig(preference="one_per_branching", max_pairs_per_tree=1)
    (first,) = select_preferences([TREE], tokenize, config)
    chosen, rejected = (first[column][0]["content"] for column in ("chosen", "rejected"))
    for item, reason, expected in (
        (item_id("How many?", chosen, rejected), "pair that annotators reject", STEPS[1]),
        (item_id("How many?", rejected), "chain that annotators reject", STEPS[1]),
        (item_id("How many?", chosen), "chain that annotators reject", (STEPS[2][0], STEPS[1][1])),
    ):
        selector = Selector(tokenize, config, Judgements(rejected=Counter({item: 1})))
        (row,) = selector.select_preferences(TREE)
        assert (thoughts_of(row, "chosen"), thoughts_of(row, "rejected")) == expected
        assert selector.rejections[f"preference: {reason}"] == 1


STEP_LEVEL = {"preference": "one_per_branching"}
LEFT_OUT = "chains are all left out: too long, without an answer or rejected"
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
        ([TREE], {"max_length": 1}, f"sft: tree whose right {LEFT_OUT}", 1),
        ([TREE], {"max_length": 1}, f"preference: tree whose right {LEFT_OUT}", 1),
        ([tree_of(RIGHT, SILENT)], {}, f"preference: tree whose wrong {LEFT_OUT}", 1),
        ([TREE], {}, "sft: beyond max_sft_per_tree", 2),
        ([TREE], {"preference": "all", "max_pairs_per_tree": 2}, "preference: pair beyond max_pairs_per_tree", 4),
        ([TREE], {}, "preference: chain that makes no pair", 3),
        ([tree_of(RIGHT, WRONG, DEAD)], {}, "sft: chain that is a dead end", 1),
        ([tree_of(RIGHT, WRONG, DEAD)], {}, "preference: chain that is a dead end", 1),
        ([tree_of(RIGHT, WRONG)] * 3, {}, "sft: duplicate", 2),
        ([tree_of(RIGHT, WRONG)] * 3, {}, "preference: duplicate", 2),
        ([TREE], {**STEP_LEVEL, "max_pairs_per_tree": 1}, "preference: pair beyond max_pairs_per_tree", 2),
        ([TREE], STEP_LEVEL, "preference: chain that makes no pair", 1),
        ([TREE] * 2, STEP_LEVEL, "preference: duplicate", 3),
        ([TREE], {"min_pass_rate": 0.7}, "sft: tree below min_pass_rate", 1),
        ([TREE], {"max_pass_rate": 0.5}, "preference: tree above max_pass_rate", 1),
        ([tree_of(WRONG, RIGHT)], {"min_first_success": 3}, "sft: tree below min_first_success", 1),
        ([tree_of(DEAD)], {"min_pass_rate": 0.5}, "sft: tree without a right chain", 1),
    ],
)
def test_every_rejection_is_counted_with_its_reason(trees, config, reason, count):
    selector = Selector(tokenize, SelectionConfig(**config))
    for tree in trees:
        list(selector.select_sft(tree))
        list(selector.select_preferences(tree))
    assert selector.rejections[reason] == count


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"min_pass_rate": 0.6, "max_pass_rate": 0.6, "min_first_success": 1}, 1),
        ({"min_pass_rate": 0.61}, 0),
        ({"max_pass_rate": 0.59}, 0),
        ({"min_first_success": 2}, 0),
    ],
)
def test_trees_are_filtered_by_difficulty(settings, count):
    config = SelectionConfig(**settings)
    assert len(select_sft([TREE], tokenize, config)) == len(select_preferences([TREE], tokenize, config)) == count


def test_nothing_is_lost_without_a_count():
    selector = Selector(tokenize, SelectionConfig(max_length=9))
    rows = list(selector.select_sft(TREE))
    left_out = sum(n for reason, n in selector.rejections.items() if reason.startswith("sft"))
    assert len(rows) + left_out == len(TREE.answers(right=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sft", "best"),
        ("preference", "some"),
        ("max_length", 0),
        ("max_pairs_per_tree", 0),
        ("max_sft_per_tree", -1),
        ("min_first_success", 0),
        ("min_pass_rate", -0.1),
        ("max_pass_rate", 1.5),
        ("max_pass_rate", float("nan")),
    ],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}="):
        SelectionConfig(**{name: value})


def test_limits_that_leave_nothing_are_refused():
    with pytest.raises(
        InvalidInputError, match=r"min_pass_rate=0\.9 leaves nothing: it must be at most max_pass_rate=0\.5"
    ):
        SelectionConfig(min_pass_rate=0.9, max_pass_rate=0.5)
