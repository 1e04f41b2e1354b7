"""Thinking against budget: what is kept of an output, how an answer is forced, and what is made of it."""

import math
from dataclasses import replace

import pytest

from hf_treecot.base import Problem
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.errors import ContextLengthError, InvalidInputError
from hf_treecot.evaluation.budget_figures import area, budget_figures, budget_names
from hf_treecot.evaluation.budget_report import plot_budgets, write_budgets
from hf_treecot.evaluation.budgets import (
    Within,
    check_budgets,
    check_context,
    cut,
    forcing,
    thinking,
    within_budgets,
)
from hf_treecot.problems.generators import PARTS, generate_problems


SUM = Problem("p", "What is 6 times 7?", "42", "math", "test")
CHAIN = (
    "<thinking>six times seven is</thinking>\n<thinking>forty two</thinking>\n"
    "<answer>The answer is: \\boxed{42}</answer>"
)


class Answers:
    """An engine that answers what it is told, and keeps what it was asked; its context is so many words."""

    identity = EngineIdentity("scripted", "answers")

    def __init__(self, text="\\boxed{42}", reason="stop", context=1000):
        self.completion, self.context, self.asked = Completion(text, reason, 0, 5), context, []

    async def generate(self, request):
        self.asked.append(request)
        if (length := len(request.prompt.split())) > self.context:
            raise ContextLengthError("too long")
        return replace(self.completion, prompt_tokens=length)


def test_what_is_thought_before_the_answer():
    assert thinking(CHAIN).endswith("forty two</thinking>\n")
    assert thinking("<think>six</think>\n42") == "<think>six"
    assert thinking("It is 42.") == "It is 42."


@pytest.mark.parametrize(
    ("text", "kept", "words"),
    [
        (CHAIN, "<thinking>six times", "</thinking>\n<answer>The answer is:"),
        (CHAIN, "<thinking>six times</thinking>", "\n<answer>The answer is:"),
        (CHAIN, "", "\n<answer>The answer is:"),
        ("<think>six</think>42", "<think>six", "\n</think>\n\nThe answer is:"),
        ("Six times seven", "Six", "\n\nThe answer is:"),
        ("Six times seven", "", "The answer is:"),
    ],
)
def test_an_answer_is_forced_in_the_way_of_the_output(text, kept, words):
    assert forcing(text, kept) == words


@pytest.mark.parametrize(
    ("budget", "kept"),
    [(0, ""), (2, "one two"), (3, "one two three"), (4, "one two three four"), (9, "one two three four")],
)
def test_a_text_is_cut_at_the_end_of_a_word(budget, kept):
    assert cut("one two three four", 4, budget) == kept


def test_no_half_of_a_tag_is_kept():
    assert cut("six seven <thinking>", 4, 3) == "six seven"


async def test_only_what_is_longer_than_a_budget_is_asked_for():
    engine = Answers()
    results = await within_budgets(engine, "P ", CHAIN, 20, False, [2, 8, 13, 19])
    assert [result.is_cut for result in results] == [True, True, False, False]
    assert results[2] == Within(CHAIN, 20, False, False)
    assert [request.prompt for request in engine.asked] == [
        "P " + result.text.removesuffix("\\boxed{42}</answer>") for result in results[:2]
    ]
    assert [result.tokens for result in results[:2]] == [7, 13]
    assert {request.temperature for request in engine.asked} == {0.0}


async def test_thinking_that_never_ended_is_forced_to_at_any_budget():
    engine = Answers(reason="length")
    (result,) = await within_budgets(engine, "", "<thinking>on and on and", 8, True, [64])
    assert result.text == "<thinking>on and on and</thinking>\n<answer>The answer is:\\boxed{42}"
    assert (result.is_cut, result.is_truncated) == (True, True)
    ended = "I do not know."
    assert await within_budgets(engine, "", ended, 5, False, [8]) == [Within(ended, 5, False, False)]


async def test_budgets_beyond_the_context():
    await check_context(Answers(context=64), [32, 64])
    with pytest.raises(InvalidInputError, match="budgets=32 128: the last is beyond the context of 'answers'"):
        await check_context(Answers(context=64), [32, 128])


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ([64, 32], "budgets=64 32: they must increase"),
        ([64, 64], "they must increase"),
        ([-1, 4], "from 0 or more"),
        ([64, 1024], "outputs have at most 512 tokens"),
    ],
)
def test_bad_budgets(budgets, message):
    with pytest.raises(InvalidInputError, match=message):
        check_budgets(budgets, 512)


def test_the_area_is_the_mean_height_over_doublings():
    assert area([16, 32, 64], [0.0, 0.5, 1.0]) == pytest.approx(0.5)
    assert area([16, 64], [0.2, 0.4]) == pytest.approx(0.3)
    assert area([64], [0.25]) == 0.25
    assert area([0, 2, 4], [0.0, 1.0, 1.0]) == pytest.approx(0.75)


def test_figures_of_two_samples():
    right, wrong, none = (f"<answer>{text}</answer>" for text in ("\\boxed{42}", "\\boxed{41}", "well"))
    samples = [
        [Within(none, 4, True, False), Within(right, 8, True, False), Within(right, 32, False, False)],
        [Within(right, 4, True, False), Within(wrong, 8, True, False), Within(wrong, 16, False, False)],
    ]
    figures = budget_figures(SUM, samples, [1.0, 0.0], [4, 8, 64])
    assert set(figures) == set(budget_names([4, 8, 64]))
    assert [figures[f"accuracy@{b}"] for b in (4, 8, 64)] == [0.5, 0.5, 0.5]
    assert [figures[f"no_answer_rate@{b}"] for b in (4, 8, 64)] == [0.5, 0.0, 0.0]
    assert [figures[f"cut@{b}"] for b in (4, 8, 64)] == [1.0, 1.0, 0.0]
    assert math.isnan(figures["accuracy_complete@4"])
    assert (figures["accuracy_complete@64"], figures["accuracy_cut@4"]) == (0.5, 0.5)
    assert figures["tokens@64"] == 24
    assert figures["overthinking"] == pytest.approx(1 - 8 / 32)  # right at 8 of 32
    assert figures["underthinking"] == 1.0  # right at 4, and given up
    assert figures["thrift"] == pytest.approx((1 - 32 / 64) / 2)


def row(task, **more):
    known = {"model": "m", "decoding": "greedy", "task": task, "count": 9, "length": 12.0, "tokens_per_right": 20.0}
    names = [f"{name}@{b}" for name in ("accuracy", "no_answer_rate", "cut", "accuracy_complete", "accuracy_cut")
             for b in (8, 16)]  # fmt: skip
    names += ["accuracy", "no_answer_rate", "accuracy_area", "overthinking", "underthinking", "thrift"]
    for name in names:
        known |= {name: more.get(name, 0.5), f"{name}_low": 0.4, f"{name}_high": 0.6}
    return known


def test_the_report_puts_the_easy_and_the_hard_part_together(tmp_path):
    rows = [row("letters-easy", thrift=0.8), row("letters-hard", accuracy=0.4), row("blocks")]
    text = write_budgets([*rows, {"model": "m", "decoding": "mcts", "task": "blocks"}], [8, 16])
    assert "| m | greedy | blocks (9) | accuracy | 50.0 (40.0 to 60.0) |" in text
    assert text.count("| letters |") == 1
    assert "| 53.3 |" in text  # the harmonic mean of 0.8 and 0.4
    plot_budgets(rows, [8, 16], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.parametrize("kind", PARTS)
def test_easy_problems_are_not_hard(kind):
    prompts = {part: {p.prompt for p in generate_problems(f"{kind}-{part}", 20, 1)} for part in PARTS[kind]}
    assert not prompts["easy"] & prompts["hard"]
    assert sum(map(len, prompts["easy"])) < sum(map(len, prompts["hard"]))
