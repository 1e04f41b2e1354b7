"""Think blocks: where reasoning models think, `<think>…</think>`, before they answer.

Today's chat templates know them: some drop those of earlier turns, or of every turn, and some open one for the model.
"""

import re


OPENING, CLOSING = "<think>", "</think>"
OPENED = re.compile(rf"{OPENING}\s*\Z")


def opened_by(prompt: str) -> str:
    """
    The opening of a think block in which a rendered prompt ends; empty if there is none.

    Args:
        prompt (`str`): As an engine renders it. What a model writes after it is already within the block, and says
            so only where it ends.
    """
    match = OPENED.search(prompt)
    return match.group() if match else ""


def after_thinking(text: str) -> str:
    """
    What an output says to its reader: all that follows its last think block, nothing if that is never closed, and the
    whole output if it has none.

    Args:
        text (`str`): A whole output. The opening may be missing, if the prompt has written it.
    """
    _, closing, after = text.rpartition(CLOSING)
    if closing and OPENING not in after:
        return after.strip()
    return "" if OPENING in text else text
