"""How far what a model shows of its certainty can be trusted: confidence against being right.

The confidence of the answer that is given is the share of all votes for it (`agreement`), the geometric mean of the
probabilities of its chain's tokens (`log_probability`), or, in a search, how simulations through the thought before
it fared (`value`). Plain functions of votes and numbers; it must not know where they are from.
"""

import math
from collections.abc import Mapping, Sequence

import numpy

from .statistics import Estimate, bootstrap
from .voting import Vote


SIGNALS = ("agreement", "log_probability", "value")
BINS = 5
COVERAGE = 0.5  # the share of problems that are answered where only the most certain are


def confidences(votes: Sequence[Vote], tokens: Sequence[int], chosen: int | None) -> dict[str, float]:
    """
    How certain the answer that is given is, from 0 to 1, by every signal; NaN where a signal is not known, and where
    there is no answer.

    Args:
        votes (`Sequence[Vote]`): All outputs, those without an answer too.
        tokens (`Sequence[int]`): Their lengths.
        chosen (`int`, *optional*): Which is given.
    """
    if chosen is None:
        return dict.fromkeys(SIGNALS, math.nan)
    given = votes[chosen]
    same = sum(vote.count for vote in votes if vote.key == given.key)
    return {
        "agreement": same / sum(vote.count for vote in votes),
        "log_probability": _probability_of_a_token(given.log_probability, tokens[chosen]),
        "value": math.nan if given.value is None else min(1.0, max(0.0, given.value)),
    }


def _probability_of_a_token(log_probability: float | None, tokens: int) -> float:
    return math.nan if log_probability is None or not tokens else min(1.0, math.exp(log_probability / tokens))


def calibration_names() -> list[str]:
    """The figures of [`calibration_figures`]."""
    return [f"{name}_{signal}" for name in ("brier", "selective") for signal in SIGNALS]


def calibration_figures(confidence: Mapping[str, float], right: float) -> dict[str, float | list[float]]:
    """
    The figures of one problem.

    Args:
        confidence (`Mapping[str, float]`): As of [`confidences`].
        right (`float`): Whether the answer that is given is right: 1 or 0, NaN if its verifier failed.

    Returns:
        `dict`: `brier_SIGNAL`, the squared distance of confidence and truth, and `selective_SIGNAL`, both of them.
    """
    return {f"brier_{signal}": (value - right) ** 2 for signal, value in confidence.items()} | {
        f"selective_{signal}": [value, right] for signal, value in confidence.items()
    }


def _known(pairs: Sequence[Sequence[float]]) -> numpy.ndarray:
    """The pairs without NaN, as an array of two columns."""
    array = numpy.asarray(pairs, dtype=float).reshape(-1, 2)
    return array[~numpy.isnan(array).any(axis=1)]


def selective_accuracy(pairs: Sequence[Sequence[float]]) -> Estimate:
    """
    Accuracy on the most certain half of the problems, with its interval; equals are counted by their share.

    Args:
        pairs (`Sequence[Sequence[float]]`): Confidence and being right, of every problem; NaN is left out.
    """
    return bootstrap(_known(pairs), _of_the_most_certain)


def _of_the_most_certain(pairs: numpy.ndarray) -> float:
    wanted = COVERAGE * len(pairs)
    certain, right = pairs[:, 0], pairs[:, 1]
    border = numpy.sort(certain)[::-1][math.ceil(wanted) - 1]
    above, at = certain > border, certain == border
    rest = wanted - above.sum()  # of those that are as certain as the last, as many, and no choice among them
    return float((right[above].sum() + rest * right[at].mean()) / wanted)


def reliability(pairs: Sequence[Sequence[float]]) -> list[tuple[float, float, int]]:
    """
    The points of a reliability diagram.

    Args:
        pairs (`Sequence[Sequence[float]]`): Confidence and being right, of every problem; NaN is left out.

    Returns:
        `list[tuple[float, float, int]]`: Mean confidence, accuracy and number of problems, of up to five bins of equal
        width that hold any.
    """
    known = _known(pairs)
    numbers = numpy.minimum(BINS - 1, (known[:, 0] * BINS).astype(int))
    bins = [known[numbers == number] for number in numpy.unique(numbers)]
    return [(*map(float, pairs.mean(axis=0)), len(pairs)) for pairs in bins]
