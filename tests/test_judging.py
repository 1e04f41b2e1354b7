import asyncio
import math

import pytest

from hf_treecot.base import Problem, Verdict
from hf_treecot.verifiers.judging import Judged, judge_all


LOOP = "wait, let me check that again. " * 40


@pytest.mark.parametrize(
    ("text", "reason", "is_truncated", "expected"),
    [
        ("<answer>3</answer>", "right", False, ""),
        ("<answer>4</answer>", "wrong: step 2", True, ""),
        ("<answer>perhaps</answer>", "unparseable", False, "unparseable"),
        ("<thinking>So", "no_answer", True, "truncated"),
        ("<thinking>So", "no_answer", False, "none_given"),
        ("<thinking>So", "unparseable: line 1", False, "unparseable"),
        (LOOP, "no_answer", True, "looping"),
        ("<answer>1</answer> <answer>2</answer>", "ambiguous", False, ""),
        ("<think>\nThe answer is 3.", "no_answer", True, "truncated"),
        ("<think>\nThe answer is 3.\n</think>\n\nHm", "unparseable", False, "unparseable"),
        ("<think>\nSo\n</think>\n\nThe answer is: perhaps", "unparseable", False, "unparseable"),
        (f"<think>\n{LOOP}", "no_answer", True, "looping"),
    ],
)
def test_why_there_is_no_answer(text, reason, is_truncated, expected):
    judged = Judged(text, Verdict(float(reason == "right"), None, reason), 5, is_truncated)
    assert judged.no_answer == expected
    assert judged.reward == float(reason == "right")


def test_an_answer_stands_after_the_think_block():
    cases = {
        "<think>\n1 + 1 = 2. The answer is 3.\n</think>\n\nThe answer is: \\boxed{2}": "2",
        "1 + 1 = 2. \\boxed{3}\n</think>\n\n\\boxed{2}": "2",  # the prompt has opened the block
        "<think>\n\n</think>\n\n<thinking>It is 3.</thinking>\n<answer>\\boxed{2}</answer>": "2",
        "<think>\nIt is \\boxed{2}": None,  # never closed: nothing is said
        "<think>\nIt is \\boxed{2}\n</think>\n\n": None,
        "<think>a</think>\\boxed{2} <think>no, \\boxed{3}": None,
        "1 + 1 = 2.\n\nThe answer is: \\boxed{2}": "2",  # plain
    }
    count = len(cases)
    judged = asyncio.run(judge_all(list(cases), [Problem("p", "1 + 1?", "2")] * count, [9] * count, [False] * count))
    assert [output.answer for output in judged] == list(cases.values())
    assert [output.reward for output in judged] == [float(answer == "2") for answer in cases.values()]
    assert [bool(output.no_answer) for output in judged] == [answer is None for answer in cases.values()]


def test_a_verifier_that_failed_is_neither_wrong_nor_without_an_answer():
    judged = Judged("text", None)
    assert math.isnan(judged.reward)
    assert (judged.no_answer, judged.answer) == ("", None)


def test_free_text_that_follows_its_instructions_is_an_answer():
    """It has no box and no `answer is`: only the verifier knows that it answers."""
    problem = Problem("p", "Write.", '{"instructions": [{"id": "punctuation:no_comma"}]}', "instructions")
    texts = ["A letter about tea without any comma.", "Well, one.", ""]
    good, bad, empty = asyncio.run(judge_all(texts, [problem] * 3, [8, 3, 0], [False, False, True]))
    assert (good.reward, good.no_answer) == (1.0, "")
    assert (bad.reward, bad.no_answer) == (0.0, "")
    assert (empty.reward, empty.no_answer) == (0.0, "truncated")


def test_failures_are_warned_of_and_are_not_rewards(caplog):
    problems = [Problem("p", "?", "42", "math"), Problem("q", "?", "1", "tests.verifiers_of_mine:crash")]
    judged = asyncio.run(judge_all([r"\boxed{42}", "x"], problems, [1, 1], [False, False]))
    assert judged[0].reward == 1.0
    assert judged[1].verdict is None
    assert "ZeroDivisionError" in caplog.text
