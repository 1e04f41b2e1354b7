"""Mathematical answers, compared by Hugging Face's math-verify."""

import logging

import math_verify

from ..problems import Problem
from . import Verdict
from .extraction import final_answer


VERSION = "1"
# It warns once that its own time limits are off: ours are harder.
logging.getLogger("math_verify").setLevel(logging.ERROR)


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Compare the stated answer with the gold one as mathematical objects.

    Has no time limit of its own: an expression may take for ever, so run it in a [`~verifiers.worker.VerifierPool`].

    Args:
        completion (`str`): The text of an answer thought.
        problem ([`Problem`]): Its `answer` is a number or LaTeX.

    Returns:
        [`Verdict`]: 1 if they are equal, else 0.

    Raises:
        ValueError: The gold answer cannot be parsed.
    """
    # math-verify's own limits use signal.alarm, which works in main threads only and cannot stop C code.
    gold = math_verify.parse(f"\\boxed{{{problem.answer}}}", parsing_timeout=None, raise_on_error=True)
    if not gold:
        raise ValueError(f"the gold answer {problem.answer!r} cannot be parsed")
    answer = final_answer(completion)
    if answer is None:
        return Verdict(0.0, None, "no_answer")
    parsed = math_verify.parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
    if not parsed:
        return Verdict(0.0, answer, "unparseable")
    right = math_verify.verify(gold, parsed, timeout_seconds=None, raise_on_error=True)
    return Verdict(float(right), answer, "right" if right else "wrong")
