"""Answers that mean the same, by the verifiers' own notion of equality."""

import pytest

from hf_treecot.base import Problem
from hf_treecot.verifiers import agreement
from hf_treecot.verifiers.agreement import shared_keys, verify_same
from hf_treecot.verifiers.worker import VerifierPool


def problem(verifier, prompt="How much?"):
    return Problem("p", prompt, "no gold answer is looked at", verifier)


def boxes(*answers):
    return [rf"<answer>The answer is: \boxed{{{answer}}}</answer>" for answer in answers]


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        ([r"\sqrt{8}", r"2\sqrt{2}", "3", r"\sqrt8"], [0, 0, 2, 0]),
        ([r"(x+1)^2", r"x^2+2x+1", r"x^2+1"], [0, 0, 2]),
        ([r"\{1, 2\}", r"\{2, 1\}", "1"], [0, 0, 2]),
        (["1/2", "0.5", r"\frac12", "50"], [0, 0, 0, 3]),
        (["Alice", "alice", "Bob"], [0, 0, 2]),
        (["x = 5", "5", "y = 6"], [0, 0, 2]),
    ],
)
async def test_mathematics(answers, groups):
    async with VerifierPool() as pool:
        keys = await shared_keys(boxes(*answers), problem("math"), pool)
    assert [keys.index(key) for key in keys] == groups


async def test_numbers_are_told_apart_by_their_names_alone():
    """No process is asked, which a letters problem's verifier could not be: it knows the right count."""
    unopened = VerifierPool()
    assert await shared_keys(boxes("3", "03.0", "4"), problem("letters"), unopened) == ["3", "3", "4"]
    assert await shared_keys(boxes("3", "3.0", "4", "1,000"), problem("math"), unopened) == ["3", "3", "4", "1000"]


async def test_plans_and_texts():
    plans = ["[PLAN]\npick up the red block\n[PLAN END]", "<answer>1. (pick-up red)</answer>", "(put-down red)"]
    keys = await shared_keys([*plans, "nothing to do"], problem("planning"))
    assert keys[0] == keys[1] != keys[2] is not None
    assert keys[3] is None


async def test_answers_that_cannot_be_compared_vote_apart(monkeypatch, caplog):
    monkeypatch.setattr(agreement, "SAME", "tests.verifiers_of_mine:crash")
    async with VerifierPool() as pool:
        assert await shared_keys(boxes("x", r"\sqrt{2}", "x"), problem("math"), pool) == ["x", r"\sqrt{2}", "x"]
    assert "two answers vote apart, since they cannot be compared" in caplog.text


def test_what_is_no_gold_answer_equals_nothing():
    gold, other = boxes("???", "7")
    assert verify_same(other, Problem("p", "", gold, "math")).reward == 0.0
