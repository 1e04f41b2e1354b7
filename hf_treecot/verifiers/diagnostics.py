"""How a model's outputs fail (paper, section 2): they repeat, they reflect without end, they never answer.

Plain functions of a text. This module knows nothing of models, problems or trees. The definitions are ours; the paper
names the failures and shows examples.
"""

import re
from collections import Counter

from ..think_blocks import after_thinking
from .extraction import final_answer


WINDOW = 8  # words of a phrase
LOOP_ROUNDS, LOOP_WORDS, LOOP_PERIOD = 4, 32, 200  # of a loop: least rounds, least words in all, most words of a round
LOOP_CHARACTERS = 200  # the least of a loop without words
COUNTING_ROUNDS, COUNTING_WORDS = 16, 256  # of a loop that counts: lists and tables count, too, but not as long
PHRASE_WORDS = 3  # different ones that make a phrase
TAIL = 400  # words at the end of a text
LOOP_SHARE = 0.5  # of phrases that have occurred before
FEW_WORDS, OF_WORDS = 24, 200  # different ones, of the last words that are made of letters
REFLECTIONS_AT_LEAST, WORDS_A_REFLECTION = 6, 60
WORD = re.compile(r"\\?\w+|[^\w\s]")
ANSWER_THOUGHT = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)
# A thought that begins with such words turns back once.
REFLECTIONS = re.compile(
    r"<(?:reflection|double-check|reclarify)>(?:\s*(?:wait|hold on|let me (?:double-?check|re-?check))\b)?|\bwait\b|"
    r"\blet me (?:double-?check|re-?check|re-?think|reconsider)\b|\bon second thought\b|\bhold on\b|"
    r"\balternatively\b|\bor (?:perhaps|maybe)\b|\bhmm+\b",
    re.IGNORECASE,
)


def answer_thought(text: str) -> str:
    """
    The content of the last answer thought of an output, or the whole output if it has none; of one that thinks in a
    block, what comes after it: nothing in the block is an answer.
    """
    text = after_thinking(text)
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

    It does if its end is one span, at least 4 times in a row, of at most 200 words over at least 32, or of at most 200
    characters over at least 200 (whatever they are: line breaks too); if its end is one span but for the numbers in
    it, at least 16 times over at least 256 words (counting up for ever); if, of the phrases of 8 words among its last
    400, at least half have occurred before; or if its last 200 words are of at most 24 different ones (going round in
    ever the same words). Phrases without 3 different words are not counted, nor numbers and signs as words: rows of a
    matrix or a table do not repeat themselves.

    Args:
        text (`str`): A whole output.
    """
    end = text[-LOOP_ROUNDS * LOOP_PERIOD :]
    for period in range(1, min(LOOP_PERIOD, len(end) // LOOP_ROUNDS) + 1):
        length = max(LOOP_ROUNDS * period, LOOP_CHARACTERS)
        if len(end) >= length and end[-length:-period] == end[-length + period :]:
            return True
    words = WORD.findall(text.lower())[-TAIL * 4 :]
    if _ends_in_rounds(words, LOOP_ROUNDS, LOOP_WORDS):
        return True
    if _ends_in_rounds([re.sub(r"\d+", "0", word) for word in words], COUNTING_ROUNDS, COUNTING_WORDS):
        return True
    spoken = [word for word in words if word.isalpha()][-OF_WORDS:]
    if len(spoken) == OF_WORDS and len(set(spoken)) <= FEW_WORDS:
        return True
    tail = words[-TAIL:]
    windows = [tuple(tail[i : i + WINDOW]) for i in range(len(tail) - WINDOW + 1)]
    phrases = [window for window in windows if len({word for word in window if word.isalpha()}) >= PHRASE_WORDS]
    return len(phrases) >= TAIL // 4 and 1 - len(set(phrases)) / len(phrases) >= LOOP_SHARE


def _ends_in_rounds(words: list[str], rounds: int, least: int) -> bool:
    """Whether the end of a text is one span of words, so many times in a row, over at least so many words."""
    for period in range(1, min(LOOP_PERIOD, len(words) // rounds) + 1):
        same = 0
        while same + period < len(words) and words[-1 - same] == words[-1 - same - period]:
            same += 1
        if same + period >= max(rounds * period, least):
            return True
    return False


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
