"""How a model's outputs fail (paper, section 2): they repeat, they reflect without end, they never answer.

Plain functions of a text. This module knows nothing of models, problems or trees. The definitions are ours; the paper
names the failures and shows examples.
"""

import re
from collections import Counter

from .extraction import final_answer


WINDOW = 8  # words of a phrase
LOOP_ROUNDS, LOOP_WORDS, LOOP_PERIOD = 4, 32, 200  # of a loop: least rounds, least words in all, most words of a round
TAIL = 400  # words at the end of a text
LOOP_SHARE = 0.5  # of phrases that have occurred before
REFLECTIONS_AT_LEAST, WORDS_A_REFLECTION = 6, 60
WORD = re.compile(r"\\?\w+|[^\w\s]")
ANSWER_THOUGHT = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
REFLECTIONS = re.compile(
    r"<(?:reflection|double-check|reclarify)>|\bwait\b|\blet me (?:double-?check|re-?check|re-?think|reconsider)\b|"
    r"\bon second thought\b|\bhold on\b|\balternatively\b|\bor (?:perhaps|maybe)\b|\bhmm+\b",
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


def is_looping(text: str) -> bool:
    """
    Whether a text ends in a loop: content repetition that it does not get out of.

    It does if its end is one span of at most 200 words at least 4 times in a row, over at least 32 words; or if of its
    last 400 words at least half of the phrases of 8 words have occurred before among them (a loop with a counter in
    it). Words are counted, not characters: a row of one sign without spaces is one word to the first rule unless it is
    punctuation.

    Args:
        text (`str`): A whole output.
    """
    words = WORD.findall(text.lower())[-TAIL * 4 :]
    for period in range(1, min(LOOP_PERIOD, len(words) // LOOP_ROUNDS) + 1):
        same = 0
        while same + period < len(words) and words[-1 - same] == words[-1 - same - period]:
            same += 1
        if same + period >= max(LOOP_ROUNDS * period, LOOP_WORDS):
            return True
    tail = words[-TAIL:]
    phrases = {tuple(tail[i : i + WINDOW]) for i in range(len(tail) - WINDOW + 1)}
    total = max(len(tail) - WINDOW + 1, 0)
    return total >= TAIL // 4 and 1 - len(phrases) / total >= LOOP_SHARE


def is_over_reflecting(text: str) -> bool:
    """
    Whether a text turns back on itself without end: at least 6 reflections, and one for every 60 words or fewer.

    Args:
        text (`str`): A whole output.
    """
    reflections = count_reflections(text)
    return reflections >= REFLECTIONS_AT_LEAST and reflections * WORDS_A_REFLECTION >= len(WORD.findall(text))


def count_reflections(text: str) -> int:
    """
    How often a text turns back on itself: thoughts that check, reflect or restate, and phrases that do so in prose.

    Args:
        text (`str`): A whole output.
    """
    return len(REFLECTIONS.findall(text))
