"""Letter counting: the answer is one whole number."""

import re

from ..problems import Problem
from . import Verdict
from .extraction import final_answer


VERSION = "1"


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Compare the stated number with the gold one.

    Args:
        completion (`str`): The text of an answer thought.
        problem ([`Problem`]): Its `answer` is a whole number.

    Returns:
        [`Verdict`]: 1 if they are equal, else 0.

    Raises:
        ValueError: The gold answer is not a whole number.
    """
    gold = int(problem.answer)
    answer = final_answer(completion)
    if answer is None:
        return Verdict(0.0, None, "no_answer")
    numbers = re.findall(r"(?<![\w.])[-+]?\d+(?![\w.]*\d)", answer)
    if len(numbers) != 1:
        return Verdict(0.0, answer, "unparseable")
    right = int(numbers[0]) == gold
    return Verdict(float(right), numbers[0], "right" if right else "wrong")
