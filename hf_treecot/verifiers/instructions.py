"""Instructions that can be checked: IFEval's 25 kinds, by lm-eval's checkers, and Multi-IF's other languages."""

import json
import re

from ..base import Problem, Verdict
from ..domains.instructions import checkers, checkers_version, follow


VERSION = f"1 ({checkers_version()})"
PREFILL = re.compile(r"\s*(?:the answer is\s*:?|<answer>)\s*", re.IGNORECASE)
VISIBLE = re.compile(r"[^\s\x00-\x1f\u200b-\u200f\u2060-\u2069\ufeff]")
MAX_LENGTH = 500_000  # characters of an answer


def prepare() -> None:
    """Load the checkers, which takes seconds; a worker does so before its clock runs."""
    checkers()


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Check that an answer follows all instructions of its problem.

    Args:
        completion (`str`): The text of an answer thought; all of it but "The answer is:" is the answer.
        problem ([`Problem`]): Its `answer` is JSON: the `instructions`, and whether checks are `loose` and
            `multilingual`.

    Returns:
        [`Verdict`]: 1 if all are followed, else 0; its `reason` names those that are not.

    Raises:
        ValueError: The problem's instructions cannot be read.
    """
    task = json.loads(problem.answer)
    if not task["instructions"]:
        raise ValueError("the problem has no instructions: any answer would follow them")
    answer = completion[match.end() :] if (match := PREFILL.match(completion)) else completion
    if not VISIBLE.search(answer.removesuffix("</answer>")):
        return Verdict(0.0, None, "no_answer")
    if len(answer) > MAX_LENGTH:
        return Verdict(0.0, answer[:200], "unparseable: too long")
    options = {"loose": task.get("loose", False), "multilingual": task.get("multilingual", False)}
    followed = follow(answer, task["instructions"], **options)
    broken = [i["id"] for i, ok in zip(task["instructions"], followed, strict=True) if not ok]
    return Verdict(float(not broken), answer, f"wrong: {', '.join(broken)}" if broken else "right")
