"""What an output answers, and which answers are the same. Plain functions of a text; no gold answer is known here."""

import re

from ..verifiers.diagnostics import answer_thought, has_answer
from ..verifiers.extraction import final_answer


MAX_LENGTH = 2_000  # characters of an answer that is normalized; a longer one is compared as it is
THOUGHT = re.compile(r"<(?:sub-task|thinking|hypothesis|double-check|reflection|thinking_from_scratch|reclarify)>")


def answer_text(text: str) -> str:
    """
    What is given to a verifier: the last answer thought; the whole output if it has no thoughts at all.

    Args:
        text (`str`): A whole output. A chain of thoughts that never comes to an answer thought may still hold a box,
            and is given as it is for that; without a box it answers nothing.
    """
    answer = answer_thought(text)
    return "" if answer == text and THOUGHT.search(text) and not has_answer(text) else answer


def states_answer(text: str) -> bool:
    """Whether an output means to answer: an answer thought with content, a box, `####`, "answer is", or `[PLAN]`."""
    return has_answer(text) or "[PLAN]" in text or ("<answer>" in text and bool(answer_thought(text).strip()))


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
    from ..verifiers.math import normalize

    return re.sub(r"\s+|(?<=\d),(?=\d{3}(?!\d))", "", normalize(stated)).casefold()


def _plan_key(text: str) -> str | None:
    from ..verifiers.plan_text import NotAnAction, read_plans

    try:
        plans = read_plans(text)
    except NotAnAction:
        return None
    return str(plans[-1]) if plans else None
