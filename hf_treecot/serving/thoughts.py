"""What of an output is thought, and what is answer: the two fields in which clients show them.

Typed thoughts are between their tags, and those of reasoning models in a think block.
"""

from collections.abc import Callable

from .writing import settled


THOUGHTS = tuple(
    f"<{tag}>"
    for tag in (
        "sub-task", "thinking", "hypothesis", "double-check", "reflection", "thinking_from_scratch", "reclarify",
        "answer",
    )
)  # fmt: skip
THINK, END_OF_THINK = "<think>", "</think>"
ANSWER, END_OF_ANSWER = "<answer>", "</answer>"
Tell = Callable[[str, str], None]  # of which kind, and what


def split_thoughts(text: str, is_whole: bool = True) -> tuple[str, str]:
    """
    The thoughts of an output, and its answer.

    Args:
        text (`str`): What was written so far.
        is_whole (`bool`): Whether nothing follows. Otherwise what may still turn out to be something else is left out:
            both parts only grow as the text does.

    Returns:
        `tuple[str, str]`: The thoughts with their tags, and the answer without. An output that does not begin with a
        thought is all answer.
    """
    start = text.lstrip()
    if not is_whole and any(tag.startswith(start) for tag in (*THOUGHTS, THINK)):
        return "", ""
    if start.startswith(THINK):
        thoughts, closed, answer = start.removeprefix(THINK).partition(END_OF_THINK)
        ends, endings = (), (END_OF_THINK,)
    elif start.startswith(THOUGHTS):
        thoughts, closed, answer = start.partition(ANSWER)
        ends, endings = (END_OF_ANSWER,), (ANSWER,)
    else:
        return "", text
    for end in ends:
        inside, _, after = answer.partition(end)
        answer = inside + after
    if not is_whole and not closed:
        thoughts = settled(thoughts, endings)
    if not is_whole and closed:
        answer = settled(answer, ends)
    return thoughts.strip(), answer.strip()


def opened_by(prompt: str) -> str:
    """The think block that a rendered prompt has opened, if its template opens one; the output is in it."""
    return THINK if prompt.rstrip().endswith(THINK) else ""


class Telling:
    """
    An answer in the making: what was told of it so far.

    Args:
        tell (`Callable`, *optional*): Called with `"reasoning"` or `"content"`, and what is new of it.
    """

    def __init__(self, tell: Tell | None = None):
        self._tell = tell
        self.reasoning = self.content = ""

    def add(self, kind: str, text: str) -> None:
        """Tell more."""
        if text:
            setattr(self, kind, getattr(self, kind) + text)
            if self._tell is not None:
                self._tell(kind, text)

    def grow(self, reasoning: str, content: str) -> None:
        """Tell what is new of an answer's two parts, which begin with what was told."""
        self.add("reasoning", reasoning[len(self.reasoning) :])
        self.add("content", content[len(self.content) :])
