"""Formats of rows: tags, a think block, plain prose; and the words by which kinds are known without tags."""

from collections import Counter

import pytest

from hf_treecot.mcts.pattern import KINDS, available_patterns, load_pattern
from hf_treecot.mcts.tree import Node
from hf_treecot.mcts.turning_words import CONNECTIVES, opening_kind
from hf_treecot.selection.advantages import advantage_rows
from hf_treecot.selection.formats import FORMATS, write_chain, write_pieces
from hf_treecot.selection.judgements import Judgements, item_id
from hf_treecot.selection.selector import SelectionConfig, Selector, select_preferences, select_sft
from hf_treecot.think_blocks import after_thinking, opened_by

from .test_selection import TREE, tokenize


def node(kind, text):
    return Node(kind, kind.replace("_", "-"), text, 0)


CHAIN = [
    node("sub_task", "First, I add."),
    node("thinking", "1 + 1 = 3."),
    node("double_check", "1 + 1 = 2."),
    node("reflection", "Wait! That is wrong."),
    node("thinking", "So </think> 2."),
    node("answer", "The answer is: \\boxed{2}"),
]
PROSE = "First, I add.\n\n1 + 1 = 3.\n\nLet me double-check. 1 + 1 = 2.\n\nWait! That is wrong.\n\nSo < /think> 2."
ANSWER = "The answer is: \\boxed{2}"
TAGS = (
    "<sub-task>First, I add.</sub-task>\n<thinking>1 + 1 = 3.</thinking>\n<double-check>1 + 1 = 2.</double-check>\n"
    f"<reflection>Wait! That is wrong.</reflection>\n<thinking>So < /think> 2.</thinking>\n<answer>{ANSWER}</answer>"
)


@pytest.mark.parametrize(
    ("format", "expected"),
    [("tags", TAGS), ("think", f"<think>\n{PROSE}\n</think>\n\n{ANSWER}"), ("plain", f"{PROSE}\n\n{ANSWER}")],
)
def test_a_chain_in_every_format(format, expected):
    assert write_chain(CHAIN, format) == expected
    pieces = write_pieces(CHAIN, format)
    assert len(pieces) == len(CHAIN)
    for piece, thought in zip(pieces, CHAIN, strict=True):
        assert thought.text.replace("</", "< /") in piece
    assert after_thinking(expected) == (ANSWER if format == "think" else expected)


@pytest.mark.parametrize(("format", "expected"), [("think", f"<think>\n\n</think>\n\n{ANSWER}"), ("plain", ANSWER)])
def test_an_answer_without_a_thought(format, expected):
    assert write_chain(CHAIN[-1:], format) == expected


def test_prefills_and_connectives_say_of_which_kind_a_thought_is():
    """So that what is written without tags can be read again."""
    assert set(CONNECTIVES) == set(KINDS) - {"thinking", "answer"}
    for kind, words in CONNECTIVES.items():
        assert opening_kind(words) == kind
    for name in available_patterns():
        for kind, spec in load_pattern(name).thoughts.items():
            if kind in CONNECTIVES:
                assert {opening_kind(prefill) for prefill in spec.prefills} == {kind}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Wait, that is wrong.", "reflection"),
        ("Hmm, I'm not sure.", "reflection"),
        ("But wait, let me double-check the sum.", "double_check"),
        ("Wait, maybe I should use x.", "hypothesis"),
        ("**Alternatively**, we could count.", "hypothesis"),
        ("Okay, so let me try another way.", "hypothesis"),
        ("To verify, substitute 3.", "double_check"),
        ("Wait, let me re-read the problem.", "reclarify"),
        ("Let me start over.", "thinking_from_scratch"),
        ("Waiting for the bus takes 3 minutes.", None),
        ("No. 5 is prime.", "reflection"),
        ("Now 3 + 4 = 7.", None),
        ("So the total is 7.", None),
        ("", None),
    ],
)
def test_how_a_thought_opens(text, kind):
    assert opening_kind(text) == kind


@pytest.mark.parametrize("format", FORMATS)
def test_rows_in_every_format(format):
    (row,) = select_sft([TREE], tokenize, SelectionConfig(format=format))
    text = row["completion"][0]["content"]
    assert text.startswith("<think>\nplan\n\none two three") is (format == "think")
    assert ("<thinking>" in text) is (format == "tags")
    assert row["length"] == len(tokenize(text))  # of what is trained on
    (pair,) = select_preferences([TREE], tokenize, SelectionConfig(format=format))
    for side in ("chosen", "rejected"):
        assert pair[f"{side}_length"] == len(tokenize(pair[side][0]["content"]))
    # The same pair in all of them, which begins otherwise at the first thought: shared is what stands before it.
    assert pair["shared_prefix_length"] == {"tags": 1, "think": 1, "plain": 0}[format]
    for advantage in advantage_rows(TREE, format):
        assert "".join(advantage["thoughts"]) == advantage["completion"][0]["content"]


@pytest.mark.parametrize("format", FORMATS)
def test_judgements_hold_in_every_format(format):
    leaf = max(TREE.answers(right=True), key=lambda leaf: len(TREE.path(leaf)))
    judgements = Judgements(rejected=Counter([item_id(TREE.problem.prompt, TREE.render(leaf))]))
    selector = Selector(tokenize, SelectionConfig(format=format), judgements)
    (row,) = selector.select_sft(TREE)
    assert "four five six" not in row["completion"][0]["content"]
    assert selector.rejections["sft: chain that annotators reject"] == 1


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [("<|Assistant|><think>\n", "<think>\n"), ("<think>\n\n</think>\n\n", ""), ("<|assistant|>", ""), ("", "")],
)
def test_a_prompt_may_have_opened_a_block(prompt, opened):
    assert opened_by(prompt) == opened
