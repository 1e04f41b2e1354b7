"""How a model's outputs fail (paper, section 2): they repeat, they reflect without end, they never answer.

Plain functions of a text. This room knows nothing of models, problems or trees.
"""

import re
from collections import Counter

from .verifiers.extraction import final_answer


WINDOW = 8  # words of a phrase
WORD = re.compile(r"\\?\w+|[^\w\s]")
ANSWER_THOUGHT = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
REFLECTIONS = re.compile(
    r"<(?:reflection|double-check|reclarify)>|\bwait\b|\blet me (?:double-?check|re-?check|re-?think|reconsider)\b|"
    r"\bon second thought\b|\bhold on\b",
    re.IGNORECASE,
)


def answer_thought(text: str) -> str:
    """The content of the last answer thought of an output, or the whole output if it has none."""
    thoughts = ANSWER_THOUGHT.findall(text)
    return thoughts[-1] if thoughts else text


def has_answer(text: str) -> bool:
    r"""
    Whether an output states an answer, in its answer thought if it has any: `\boxed{…}`, `####` or "answer is".

    Args:
        text (`str`): A whole output.
    """
    return final_answer(answer_thought(text)) is not None


def repetition(text: str) -> float:
    """
    The share of the phrases of 8 words that have occurred before in a text: near 0 for prose, near 1 for a loop.

    Args:
        text (`str`): A whole output. One too short to hold two phrases does not repeat.
    """
    words = WORD.findall(text.lower())
    phrases = Counter(tuple(words[i : i + WINDOW]) for i in range(len(words) - WINDOW + 1))
    total = phrases.total()
    return 1 - len(phrases) / total if total > 1 else 0.0


def count_reflections(text: str) -> int:
    """
    How often a text turns back on itself: thoughts that check, reflect or restate, and phrases that do so in prose.

    Args:
        text (`str`): A whole output.
    """
    return len(REFLECTIONS.findall(text))
