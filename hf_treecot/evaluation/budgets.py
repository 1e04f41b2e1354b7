"""Thinking against budget: what a model answers if its thinking ends after so many tokens.

An output whose thinking ended by itself within a budget counts as it is. Of any other the beginning is kept, and its
answer is forced: one short completion after words that begin an answer. No thinking is generated anew. Where a text is
cut is told by its share of the output's tokens, and moved back to the end of a word: any engine can be asked so.

This module knows texts and engines; it must not know who is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..engines.engine import Engine, Request
from ..errors import ContextLengthError, InvalidInputError
from ..verifiers.judging import THOUGHT


ANSWER_TOKENS = 128  # of a forced answer
ANSWER, THINK_END = "<answer>", "</think>"
OPEN_THOUGHT = re.compile(r"<([\w-]+)>(?:(?!</\1>).)*\Z", re.DOTALL)
BROKEN_TAG = re.compile(r"</?[\w-]*\Z")
BEGINNING = "The answer is:"
PROBE = " a" * 16  # a text whose tokens the engine counts


@dataclass(frozen=True)
class Within:
    """
    An output within a budget.

    Args:
        text (`str`): The output as it is, or what was kept of it with the forced answer.
        tokens (`int`): Of thinking and answer.
        is_cut (`bool`): Whether its thinking was cut.
        is_truncated (`bool`): Whether its answer ran into its limit.
    """

    text: str
    tokens: int
    is_cut: bool
    is_truncated: bool


def check_budgets(budgets: Sequence[int], generation_size: int) -> None:
    """
    See that budgets make a curve.

    Args:
        budgets (`Sequence[int]`): Tokens of thinking.
        generation_size (`int`): Tokens of an output.

    Raises:
        InvalidInputError: They do not increase, or outputs cannot be that long.
    """
    shown = " ".join(map(str, budgets))
    if any(second <= first for first, second in pairwise(budgets)) or budgets[0] < 0:
        raise InvalidInputError(f"budgets={shown}: they must increase, from 0 or more")
    if budgets[-1] > generation_size:
        raise InvalidInputError(
            f"budgets={shown}: outputs have at most {generation_size} tokens: leave out what is above, or raise "
            "max_new_tokens"
        )


async def check_context(engine: Engine, budgets: Sequence[int]) -> None:
    """
    See that the longest thinking fits into the model's context; engines only tell when they are asked.

    Raises:
        InvalidInputError: It does not.
    """
    try:
        some = await engine.generate(Request(PROBE, (), 1, 0.0, 1.0, 0))
        times = budgets[-1] // max(some.prompt_tokens, 1)
        await engine.generate(Request(PROBE * max(times, 1), (), 1, 0.0, 1.0, 0))
    except ContextLengthError as error:
        raise InvalidInputError(
            f"budgets={' '.join(map(str, budgets))}: the last is beyond the context of {engine.identity.model!r} "
            f"({error}): leave it out"
        ) from error


def thinking(text: str) -> str:
    """What an output thinks before its answer; all of it if one cannot tell where that begins."""
    for border in (ANSWER, THINK_END):
        before, found, _ = text.rpartition(border)
        if found:
            return before
    return text


def cut(text: str, tokens: int, budget: int) -> str:
    """
    The beginning of a text, to the end of a word.

    Args:
        text (`str`): An output.
        tokens (`int`): Its length.
        budget (`int`): Tokens of the beginning.
    """
    if budget >= tokens:
        return text
    end = len(text) * budget // tokens
    while 0 < end < len(text) and not text[end - 1].isspace() and not text[end].isspace():
        end -= 1
    return BROKEN_TAG.sub("", text[:end]).rstrip()


def forcing(text: str, kept: str) -> str:
    """
    The words that end thinking and begin an answer, in the way of the output.

    Args:
        text (`str`): The whole output: it has thoughts in tags, a think block, or neither.
        kept (`str`): Its beginning, after which they stand.
    """
    if THOUGHT.search(text):
        opened = OPEN_THOUGHT.search(kept)
        closing = f"</{opened.group(1)}>" if opened else ""
        return f"{closing}\n{ANSWER}{BEGINNING}"
    if THINK_END in text or "<think>" in text:
        closing = f"\n{THINK_END}" if "<think>" in kept and THINK_END not in kept else ""
        return f"{closing}\n\n{BEGINNING}"
    return f"\n\n{BEGINNING}" if kept else BEGINNING


async def within_budgets(
    engine: Engine, prompt: str, text: str, tokens: int, is_truncated: bool, budgets: Sequence[int]
) -> list[Within]:
    """
    An output within each of some budgets.

    Args:
        engine ([`Engine`]): Who wrote it.
        prompt (`str`): The rendered prompt that it follows.
        text (`str`): The output.
        tokens (`int`): Its length.
        is_truncated (`bool`): Whether it ran into its limit.
        budgets (`Sequence[int]`): Tokens of thinking.
    """
    thought = thinking(text)
    length = tokens * len(thought) // max(len(text), 1)  # tokens of thinking
    is_over = not is_truncated or thought != text
    results = []
    for budget in budgets:
        if is_over and length <= budget:
            results.append(Within(text, tokens, False, is_truncated))
            continue
        kept = cut(text, tokens, min(budget, length))
        kept += forcing(text, kept)
        # Greedy: what is asked is which answer it would give, not which one chance would.
        request = Request(prompt + kept, ("</answer>",), ANSWER_TOKENS, 0.0, 1.0, 0)
        try:
            answer = await engine.generate(request)
        except ContextLengthError:  # it was the context that ended the output
            results.append(Within(kept, budget, True, True))
            continue
        whole = kept + answer.text + ("</answer>" if answer.finish_reason == "stop" else "")
        results.append(Within(whole, budget + answer.tokens, True, answer.finish_reason == "length"))
    return results
