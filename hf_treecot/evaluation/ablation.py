"""Figures of several models and seeds, with intervals: a table in the paper's form, and a plot.

This room knows right and wrong, answered and not; it must not know how the models were made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


NUM_RESAMPLES = 10_000
LEVEL = 0.95


def interval(outcomes: np.ndarray) -> tuple[float, float, float]:
    """
    Mean and 95 % interval by a bootstrap over seeds and problems: both are drawn, each with all of its outcomes.

    Args:
        outcomes (`np.ndarray` of shape `(seeds, problems)`): 0 or 1; the problems are the same for all seeds.

    Returns:
        `tuple[float, float, float]`: Mean, lower and upper end, as shares of 1.
    """
    outcomes = np.asarray(outcomes, float)
    rng = np.random.default_rng(0)
    seeds, problems = (rng.multinomial(size, [1 / size] * size, NUM_RESAMPLES) / size for size in outcomes.shape)
    means = ((seeds @ outcomes) * problems).sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(outcomes.mean()), float(low), float(high)


def table(names: Sequence[str], labels: Mapping[str, str], by_seed: Sequence[Mapping[str, list[dict]]]) -> str:
    """
    A Markdown table in the form of the paper's ablation: accuracy, and in brackets the share without an answer.

    Args:
        names (`Sequence[str]`): Stages, in order.
        labels (`Mapping[str, str]`): What the table calls them.
        by_seed (`Sequence[Mapping[str, list[dict]]]`): For every seed and stage, the figures of its conditions:
            `problems`, `temperature`, `right` and `no_answer` (a 0 or 1 for every problem).
    """
    conditions = [(row["problems"], row["temperature"]) for row in by_seed[0][names[0]]]
    heads = [f"{problems}, {_decoding(temperature)}" for problems, temperature in conditions]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for name in names:
        cells = []
        for condition in range(len(conditions)):
            right = interval(_outcomes(by_seed, name, condition, "right"))
            no_answer = interval(_outcomes(by_seed, name, condition, "no_answer"))
            cells.append(f"{_percent(*right)} ({_percent(*no_answer)})")
        lines.append(f"| {labels[name]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_figures(
    names: Sequence[str], labels: Mapping[str, str], by_seed: Sequence[Mapping[str, list[dict]]], path: Path
) -> None:
    """
    Draw accuracy and no-answer rate of the stages, a panel for every condition.

    Args:
        names, labels, by_seed: As in [`table`].
        path (`Path`): Where the picture goes.
    """
    from matplotlib.figure import Figure

    conditions = [(row["problems"], row["temperature"]) for row in by_seed[0][names[0]]]
    figure = Figure(figsize=(3.4 * len(conditions) + 1.6, 0.45 * len(names) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    places = np.arange(len(names))
    for number, (axes, (problems, temperature)) in enumerate(zip(panels, conditions, strict=True)):
        for shift, key, colour, label in (
            (-0.18, "right", "#3b7dd8", "right"),
            (0.18, "no_answer", "#d1495b", "no answer"),
        ):
            ends = np.array([interval(_outcomes(by_seed, name, number, key)) for name in names])
            errors = np.abs(ends[:, 1:] - ends[:, :1]).T
            axes.barh(places + shift, ends[:, 0], 0.34, xerr=errors, color=colour, label=label, ecolor="#555555")
        axes.set_title(f"{problems}, {_decoding(temperature)}", fontsize=10)
        axes.set_xlim(0, 1)
        axes.set_yticks(places, [labels[name] for name in names])
    panels[0].invert_yaxis()
    panels[-1].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)


def _outcomes(by_seed: Sequence[Mapping[str, list[dict]]], name: str, condition: int, key: str) -> np.ndarray:
    return np.array([seed[name][condition][key] for seed in by_seed])


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.0f} % [{100 * low:.0f}–{100 * high:.0f}]"


def _decoding(temperature: float) -> str:
    return "greedy" if temperature == 0 else f"T = {temperature:g}"
