"""Decontamination: training problems that share a long n-gram with an evaluation set are left out, and counted.

A plain function of problems. This module knows nothing of where they come from.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ..base import Problem
from ..errors import InvalidInputError


NGRAM = 13  # words, as usual since GPT-3
WORDING = 3  # an n-gram that more evaluation problems share is wording ("I have a table and some blocks …")
WORD = re.compile(r"\w+")


def decontaminate(
    problems: Sequence[Problem], evaluation: Iterable[Problem], ngram: int = NGRAM
) -> tuple[list[Problem], dict[str, str]]:
    """
    Leave out the problems that an evaluation set holds.

    Args:
        problems (`Sequence[Problem]`): What would be trained on.
        evaluation (`Iterable[Problem]`): What will be evaluated on.
        ngram (`int`): Words, lower-cased and without punctuation, that two problems must share in a row. A shorter
            evaluation problem counts as a whole. Plans are compared by initial state and goal, too.

    Returns:
        `tuple[list[Problem], dict[str, str]]`: The problems that are kept, and for each that is left out, by its id,
        the id of the evaluation problem.

    Raises:
        InvalidInputError: `ngram` is not positive.
    """
    if ngram < 1:
        raise InvalidInputError(f"ngram={ngram} is out of range: it must be at least 1 (word)")
    evaluation = list(evaluation)
    shared = Counter(gram for problem in evaluation for gram in _ngrams(problem, ngram))
    source = {
        gram: problem.problem_id
        for problem in evaluation
        for gram in _ngrams(problem, ngram)
        if shared[gram] <= WORDING
    }
    short = {_words(problem): problem.problem_id for problem in evaluation if len(_words(problem)) < ngram}
    lengths = {len(words) for words in short}
    worlds = {problem.answer: problem.problem_id for problem in evaluation if problem.verifier == "planning"}
    kept, left_out = [], {}
    for problem in problems:
        words = _words(problem)
        found = next((source[gram] for gram in _ngrams(problem, ngram) if gram in source), None)
        for length in lengths:
            grams = (words[i : i + length] for i in range(len(words) - length + 1))
            found = found or next((short[gram] for gram in grams if gram in short), None)
        found = found or worlds.get(problem.answer)
        if found is None:
            kept.append(problem)
        else:
            left_out[problem.problem_id] = found
    return kept, left_out


def _words(problem: Problem) -> tuple[str, ...]:
    return tuple(WORD.findall(problem.prompt.lower()))


def _ngrams(problem: Problem, ngram: int) -> set[tuple[str, ...]]:
    words = _words(problem)
    return {words[i : i + ngram] for i in range(len(words) - ngram + 1)}
