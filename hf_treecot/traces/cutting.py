"""Cutting: the prose of a trace becomes typed thoughts, at blank lines and where a thought says by its first words
that it is another (`mcts.turning_words`).

Plain functions of a text, in time linear in it. This module must not know problems, verdicts or trees.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from ..mcts.turning_words import FIRST_WORDS, opening_kind
from ..think_blocks import CLOSING, OPENING
from ..verifiers.extraction import final_answer


LONGEST = 1_000_000  # characters of a trace: more than any model writes
BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
SENTENCE = re.compile(r"(?<=[.!?:…])[ \t]+(?=[A-Z\"“*])|\n(?=\S)")
GOES_ON = re.compile(r"[^\w*\"“'(]|\w\)|\d+\.\s|\*\s")  # formulas, items of lists
# How sets of traces mark what is thought and what is said.
BLOCKS = (
    (OPENING, CLOSING),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>")


@dataclass(frozen=True)
class CutTrace:
    """
    A trace, cut.

    Args:
        thoughts (`tuple[tuple[str, str], ...]`): The kind and the text of every thought.
        answer (`str`): What is said after them.
    """

    thoughts: tuple[tuple[str, str], ...]
    answer: str


def cut_trace(text: str) -> CutTrace | str:
    """
    Cut a trace as it was published, its think block included; of one without a block, the answer is all from the last
    paragraph on that states one.

    Args:
        text (`str`): Of a model.

    Returns:
        [`CutTrace`], or why there is none.
    """
    if len(text) > LONGEST:
        return f"trace longer than {LONGEST} characters"
    if not text.strip():
        return "empty trace"
    for opening, closing in BLOCKS:
        before, closed, said = text.rpartition(closing)
        if closed:
            thought = before.partition(opening)[2] if opening in before else before
            thought = thought.replace(opening, "\n\n").replace(closing, "\n\n")  # of several blocks
            said = SOLUTION.sub("", said).strip()
            return CutTrace(cut_thoughts(thought), said) if said else "trace that says nothing after its thoughts"
        if opening in text:
            return "trace that never ends its thoughts"
    paragraphs = BLANK_LINE.split(text.strip())
    last = next((i for i in range(len(paragraphs) - 1, -1, -1) if final_answer(paragraphs[i]) is not None), None)
    if last is None:
        return "trace without an answer"
    return CutTrace(cut_thoughts("\n\n".join(paragraphs[:last])), "\n\n".join(paragraphs[last:]))


def cut_thoughts(text: str) -> tuple[tuple[str, str], ...]:
    """
    The thoughts of a piece of prose.

    A paragraph is a thought of its own, unless it goes on with the one before (a formula, an item of a list, or what
    follows a colon); within it, a sentence that opens as a thought of another kind begins one.

    Args:
        text (`str`): What was thought, without its block.

    Returns:
        `tuple[tuple[str, str], ...]`: The kind and the text of every thought; `"thinking"` where no words say it.
    """
    thoughts: list[list[str]] = []  # kind and text
    for paragraph in BLANK_LINE.split(text.strip()):
        goes_on = bool(thoughts) and (GOES_ON.match(paragraph) is not None or thoughts[-1][1].endswith(":"))
        kind = thoughts[-1][0] if goes_on else opening_kind(paragraph) or "thinking"
        turns = [(0, kind)]
        for match in SENTENCE.finditer(paragraph):
            kind = opening_kind(paragraph[match.end() : match.end() + FIRST_WORDS])
            if kind not in (None, turns[-1][1]):
                turns.append((match.end(), kind))
        for (start, kind), (end, _) in pairwise([*turns, (len(paragraph), "")]):
            piece = paragraph[start:end].strip()
            if goes_on and start == 0:
                thoughts[-1][1] += f"\n\n{piece}"
            elif piece:
                thoughts.append([kind, piece])
    return tuple((kind, text) for kind, text in thoughts)
