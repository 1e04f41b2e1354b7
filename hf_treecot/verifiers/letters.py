"""Letter counting: the answer is one whole number."""

import re

from ..base import Problem, Verdict
from .extraction import candidate_answers


VERSION = "5"
# "What is the sum of the counts of e and u in subsensual?", and all other phrasings of the seed data
QUESTION = re.compile(
    r"\b([a-z]) and ([a-z])\b.*\bin (?:the word )?[\"'“‘]?([a-z]+)[\"'”’]?\s*[.?!]*\s*$", re.IGNORECASE
)
NUMBER = re.compile(
    r"(?:(?:answer|total|sum|count)\s*[=:]\s*)?"
    r"(?:\$|\\\(|\\(?:text|mathbf|mathrm)\{)?\s*([-+]?\d{1,9})(?:\.0+)?\s*(?:\$|\\\)|\})?"
    r"(?:\s*(?:\\text\{)?\s*(?:times|letters?|characters?|occurrences?|in (?:total|all))\s*\}?)?"
    r"\.?",
    re.IGNORECASE | re.ASCII,
)
AROUND = " \t\n\"'“”‘’\u200b"  # a number in quotes is one
MAX_LENGTH = 2_000


def count_letters(question: str) -> int | None:
    """
    The answer to a letter-counting question.

    Args:
        question (`str`): In any phrasing of the seed data: two letters joined by "and", and the word after "in".

    Returns:
        `int`, *optional*: None if it is not such a question.
    """
    match = QUESTION.search(question.strip())
    if match is None:
        return None
    first, second, word = (group.lower() for group in match.groups())
    return sum(word.count(letter) for letter in {first, second})


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Compare the stated number with the gold one. Every answer that the thought states must be right, and be a whole
    number, not a text in which one occurs.

    Args:
        completion (`str`): The text of an answer thought.
        problem ([`Problem`]): Its `answer` is a whole number.

    Returns:
        [`Verdict`]: 1 if they are equal, else 0.

    Raises:
        ValueError: The gold answer is not a whole number, or is not the answer to the question.
    """
    gold = int(problem.answer)
    if count_letters(problem.prompt) not in (None, gold):
        raise ValueError(f"the gold answer {gold} is wrong: it is {count_letters(problem.prompt)}")
    answers = candidate_answers(completion)
    if not answers:
        return Verdict(0.0, None, "no_answer")
    numbers = [NUMBER.fullmatch(answer.strip(AROUND)) if len(answer) <= MAX_LENGTH else None for answer in answers]
    if None in numbers:
        return Verdict(0.0, answers[-1][:MAX_LENGTH], "unparseable")
    stated = {int(number.group(1)) for number in numbers}
    shown = numbers[-1].group(1)
    if len(stated) > 1:
        return Verdict(0.0, shown, "ambiguous")
    right = stated == {gold}
    return Verdict(float(right), shown, "right" if right else "wrong")
