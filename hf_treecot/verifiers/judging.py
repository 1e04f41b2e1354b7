"""What an output answers, and what is to be said of it: the one place where a text, its problem and the verdict on it
become an answer, a reward and, if there is no answer, the reason why.

Evaluation, training and the command line all judge by it. It knows nothing of models, nor of lighteval.
"""

import asyncio
import logging
import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction

from ..base import Problem, Verdict
from ..errors import VerifierError
from .diagnostics import answer_thought, has_answer, is_looping
from .extraction import final_answer
from .worker import VerifierPool


logger = logging.getLogger(__name__)
NO_ANSWER = ("truncated", "looping", "none_given", "unparseable")
RATIONAL = re.compile(
    r"[-+]?(?:\d{1,30}(?:\.\d{1,30})?|\.\d{1,30}|\d{1,30}/\d{1,30}|\\frac\{\d{1,30}\}\{\d{1,30}\}|\\frac\d\d)"
)
ANSWER_END = "</answer>"
MAX_LENGTH = 2_000  # characters of an answer that is normalized; a longer one is compared as it is
THOUGHT = re.compile(r"<(?:sub-task|thinking|hypothesis|double-check|reflection|thinking_from_scratch|reclarify)>")


@dataclass(frozen=True)
class Judged:
    """
    One output, judged.

    Args:
        text (`str`): The whole output.
        verdict ([`Verdict`], *optional*): On its answer; None if the verifier failed, which is not a reward of 0.
        tokens (`int`): Its length.
        is_truncated (`bool`): Whether it ran into its limit.
    """

    text: str
    verdict: Verdict | None
    tokens: int = 0
    is_truncated: bool = False

    @property
    def answer(self) -> str | None:
        """What the verifier took as the answer."""
        return self.verdict.answer if self.verdict else None

    @property
    def reward(self) -> float:
        """1 if right, 0 if wrong, NaN if the verifier failed."""
        return math.nan if self.verdict is None else float(self.verdict.reward > 0.5)

    @property
    def no_answer(self) -> str:
        """Why there is no answer, one of [`NO_ANSWER`]; empty if there is one."""
        reason = self.verdict.reason.partition(":")[0] if self.verdict else "right"
        if reason not in ("no_answer", "unparseable"):
            return ""
        if states_answer(self.text, self.is_truncated) or (reason == "unparseable" and not self.is_truncated):
            return "unparseable"
        if is_looping(self.text):
            return "looping"
        return "truncated" if self.is_truncated else "none_given"


async def verify_all(
    texts: Sequence[str], problems: Sequence[Problem], pool: VerifierPool
) -> list[Verdict | VerifierError]:
    """The verdict on every output, or why its verifier failed."""

    async def verify(text: str, problem: Problem) -> Verdict | VerifierError:
        try:
            return await pool.verify(answer_text(text), problem)
        except VerifierError as error:
            return error

    return await asyncio.gather(*map(verify, texts, problems))


async def judge_all(
    texts: Sequence[str],
    problems: Sequence[Problem],
    tokens: Sequence[int],
    truncated: Sequence[bool],
    pool: VerifierPool | None = None,
) -> list[Judged]:
    """
    Judge outputs.

    Args:
        texts (`Sequence[str]`): Whole outputs.
        problems (`Sequence[Problem]`): Their problems.
        tokens (`Sequence[int]`): Their lengths.
        truncated (`Sequence[bool]`): Whether they ran into their limits.
        pool ([`VerifierPool`], *optional*): Who verifies; default: a pool of their own, closed when they are judged.

    Returns:
        `list[Judged]`: In their order. Where a verifier failed there is a warning, and no verdict.
    """
    async with nullcontext(pool) if pool else VerifierPool() as pool:
        verdicts = await verify_all(texts, problems, pool)
    for error in (verdict for verdict in verdicts if isinstance(verdict, VerifierError)):
        logger.warning(str(error))
    known = [verdict if isinstance(verdict, Verdict) else None for verdict in verdicts]
    return [Judged(*row) for row in zip(texts, known, tokens, truncated, strict=True)]


def answer_text(text: str) -> str:
    """
    What is given to a verifier: the last answer thought, or what follows a think block; the whole output if it has no
    thoughts at all.

    Args:
        text (`str`): A whole output. A chain of thoughts that never comes to an answer thought may still hold a box,
            and is given as it is for that; without a box it answers nothing.
    """
    answer = answer_thought(text)
    return "" if answer == text and THOUGHT.search(text) and not has_answer(text) else answer


def states_answer(text: str, is_truncated: bool = False) -> bool:
    """
    Whether an output means to answer: a box, `####`, "answer is", `[PLAN]`, an answer thought with content, or the end
    of one that was never begun.

    Args:
        text (`str`): A whole output.
        is_truncated (`bool`): Whether it ran into its limit. What it then had not ended is no answer.
    """
    if is_truncated and not text.rstrip().endswith(ANSWER_END):
        return False
    has_thought = bool(answer_thought(text).strip()) if "<answer>" in text else ANSWER_END in text
    return has_thought or has_answer(text) or "[PLAN]" in text


def answer_key(text: str, verifier: str) -> str | None:
    """
    A name for what an output answers: equal for answers that are the same up to notation, None without an answer.

    Args:
        text (`str`): A whole output.
        verifier (`str`): The verifier of the problem: plans and texts are compared otherwise than numbers.
    """
    answer = answer_text(text)
    if verifier == "planning":
        return _plan_key(answer)
    if verifier == "instructions":
        return answer.strip() or None
    if (stated := final_answer(answer)) is None or len(stated) > MAX_LENGTH:
        return stated
    from .math_notation import normalize, split_unit

    key = re.sub(r"\s+|(?<=\d),(?=\d{3}(?!\d))", "", split_unit(normalize(stated), "")[0]).casefold()
    return str(_as_fraction(key) if RATIONAL.fullmatch(key) else key)


def _as_fraction(text: str) -> Fraction | str:
    """A number in any notation as a fraction, so that `0.5`, `1/2` and `\\frac{1}{2}` are one answer."""
    digits = re.findall(r"\d*\.?\d+", text.replace("\\frac", "") if "{" in text else text)
    if "\\frac" in text and "{" not in text:  # \frac12
        digits = list(text[-2:])
    numbers = [Fraction(number) for number in digits]
    if numbers[1:] == [0]:
        return text
    value = numbers[0] / (numbers[1] if len(numbers) > 1 else 1)
    return -value if text.startswith("-") else value


def _plan_key(text: str) -> str | None:
    from .plan_text import NotAnAction, read_plans

    try:
        plans = read_plans(text)
    except NotAnAction:
        return None
    return str(plans[-1]) if plans else None
