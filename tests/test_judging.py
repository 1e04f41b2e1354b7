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
        ("<thinking>So", "unparseable: line 1", False, "none_given"),
        (LOOP, "no_answer", True, "looping"),
        ("<answer>1</answer> <answer>2</answer>", "ambiguous", False, ""),
    ],
)
def test_why_there_is_no_answer(text, reason, is_truncated, expected):
    judged = Judged(text, Verdict(float(reason == "right"), None, reason), 5, is_truncated)
    assert judged.no_answer == expected
    assert judged.reward == float(reason == "right")


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
