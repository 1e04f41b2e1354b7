"""How well a signal ranks thoughts and answers: the area under the ROC curve, over all trees and within each.

Plain functions of rows and numbers. A value model may know which problem is hard and not which chain is right; a vote
needs the latter, so pairs of one tree are counted apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy


SIGNALS = ("value", "log_probability", "depth")
PLACES = ("inner", "answers")


def auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """
    How often something right is scored above something wrong, ties counted as a half (Mann and Whitney, 1947).

    Args:
        scores (`Sequence[float]`): Of anything.
        right (`Sequence[bool]`): What it is.

    Returns:
        `float`: NaN if all are right, or none is.
    """
    return auc_within([(0, score, is_right) for score, is_right in zip(scores, right, strict=True)])


def auc_within(scored: Iterable[tuple[Any, float, bool]]) -> float:
    """
    The same, of pairs in one group alone.

    Args:
        scored (`Iterable[tuple]`): Group, score, and whether it is right.
    """
    groups = defaultdict(list)
    for group, score, is_right in scored:
        groups[group].append((score, is_right))
    won = pairs = 0.0
    for members in groups.values():
        scores, right = map(numpy.asarray, zip(*members, strict=True))
        right = right.astype(bool)
        ordered, wrong = numpy.sort(scores[~right]), int((~right).sum())
        below = numpy.searchsorted(ordered, scores[right], "left").sum()
        won += (below + numpy.searchsorted(ordered, scores[right], "right").sum()) / 2
        pairs += wrong * int(right.sum())
    return float(won / pairs) if pairs else float("nan")


def value_figures(rows: Iterable[Mapping[str, Any]], scores: Iterable[Sequence[float]]) -> dict[str, float]:
    """
    How well a value model ranks what it has not seen, beside signals that cost nothing.

    A thought is right if more than half of the simulations through it were.

    Args:
        rows (`Iterable[Mapping]`): Of [`~selection.values.value_rows`].
        scores (`Iterable[Sequence[float]]`): For every row, what the model says of its thoughts.

    Returns:
        `dict[str, float]`: `count_PLACE`, and `auc_PLACE_SIGNAL` and `auc_PLACE_within_SIGNAL` (pairs of one tree
        alone) of thoughts that are no answers (`inner`) and of `answers`. Signals: the model's `value`, the chain's
        mean `log_probability` (left out where the engine gave none), and its `depth`, fewer thoughts first.
    """
    found: dict[str, list[tuple]] = {place: [] for place in PLACES}
    for row, of_row in zip(rows, scores, strict=True):
        thoughts = zip(row["values"], of_row, row["log_probabilities"], strict=True)
        last = len(row["values"]) - 1
        for depth, (value, score, log_probability) in enumerate(thoughts):
            if value is not None:
                signals = {"value": score, "log_probability": log_probability, "depth": -depth}
                found[PLACES[depth == last]].append((row["tree_id"], value > 0.5, signals))
    figures: dict[str, float] = {}
    for place, thoughts in found.items():
        figures[f"count_{place}"] = len(thoughts)
        for signal in SIGNALS:
            scored = [(tree, signals[signal], right) for tree, right, signals in thoughts]
            if all(score is not None for _, score, _ in scored):
                figures[f"auc_{place}_{signal}"] = auc_within((0, *rest) for _, *rest in scored)
                figures[f"auc_{place}_within_{signal}"] = auc_within(scored)
    return figures


def figures_table(figures: Mapping[str, float]) -> str:
    """The figures of [`value_figures`] as a table in Markdown."""
    heads = {"": "", "_within": ", within trees"}
    lines = ["| AUC | " + " | ".join(f"{place}{words}" for place in PLACES for words in heads.values()) + " |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for signal in SIGNALS:
        cells = [figures.get(f"auc_{place}{way}_{signal}") for place in PLACES for way in heads]
        if None not in cells:
            lines.append(f"| {signal.replace('_', '-')} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)
