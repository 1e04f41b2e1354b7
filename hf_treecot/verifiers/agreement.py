"""Which outputs answer the same, by the verifiers' own notion of equality: what a vote counts together.

The gold answer is not looked at. Numbers, plans and texts are told apart by their names alone
([`~verifiers.judging.answer_key`]); what else mathematics calls equal (`\\sqrt{8}`, `2\\sqrt{2}`) the math verifier
says, in a process that can be killed.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..base import Problem, Verdict
from ..errors import UnverifiableError
from .extraction import final_answer
from .judging import RATIONAL, answer_key, answer_text
from .worker import VerifierPool, verifier_pool


logger = logging.getLogger(__name__)
SAME = f"{__name__}:verify_same"  # run where verifiers run


async def shared_key(
    text: str, problem: Problem, earlier: Mapping[str, str], pool: VerifierPool | None = None
) -> str | None:
    """
    A name for what an output answers, which all outputs share that answer the same.

    Args:
        text (`str`): The output.
        problem ([`Problem`]): What it answers; only its prompt and the name of its verifier are looked at.
        earlier (`Mapping[str, str]`): Other outputs, by their names; one of each name is enough.
        pool ([`VerifierPool`], *optional*): Who compares; default: the processes of this process.

    Returns:
        `str`, *optional*: One of the earlier names, or a new one; None without an answer. Answers that the verifier
        cannot compare within its limits have different names, with a warning.
    """
    key = answer_key(text, problem.verifier)
    if key is None or key in earlier or problem.verifier != "math":
        return key
    for name, other in earlier.items():
        if RATIONAL.fullmatch(key) and RATIONAL.fullmatch(name):
            continue  # two numbers are equal if their names are
        pair = replace(problem, answer=other, verifier=SAME)
        try:
            if (await (pool or verifier_pool()).verify(text, pair)).reward > 0.5:
                return name
        except UnverifiableError as error:
            logger.warning("two answers vote apart, since they cannot be compared (%s)", error)
    return key


async def shared_keys(texts: Sequence[str], problem: Problem, pool: VerifierPool | None = None) -> list[str | None]:
    """The names of what some outputs answer; see [`shared_key`]."""
    earlier: dict[str, str] = {}
    keys = []
    for text in texts:
        key = await shared_key(text, problem, earlier, pool)
        if key is not None:
            earlier.setdefault(key, text)
        keys.append(key)
    return keys


def prepare() -> None:
    """What takes a second and is done once in a verifier's process."""
    from . import math  # noqa: F401


def verify_same(completion: str, problem: Problem) -> Verdict:
    """A verifier whose gold answer is another output: whether the math verifier takes either for the other."""
    from .math import verify

    for gold, other in ((problem.answer, completion), (completion, problem.answer)):
        stated = final_answer(answer_text(gold))
        try:
            verdict = verify(answer_text(other), replace(problem, answer=stated or "", verifier="math"))
        except ValueError:  # it is no answer that another could be held against
            continue
        if verdict.reward > 0.5:
            return replace(verdict, answer=stated)
    return Verdict(0.0, None, "wrong")
