"""What thinking is worth, for people: curves over budgets, and how much of it easy and hard problems get.

This module knows figures alone.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..problems.generators import EASY, HARD
from .comparison import cell, markdown_table


def write_budgets(rows: Sequence[dict[str, Any]], budgets: Sequence[int]) -> str:
    """
    Tables in markdown: the curve of every model and task, and both parts together of tasks that have an easy and a
    hard one.

    Args:
        rows (`Sequence[dict]`): As of [`~evaluation.comparison.rows_of`]; those without budgets are left out.
        budgets (`Sequence[int]`): Tokens of thinking.
    """
    rows = [row for row in rows if "accuracy_area" in row]
    heads = ["model", "decoding", "task", "figure", *(f"{budget} tokens" for budget in budgets), "as it is", "area"]
    lines = []
    for row in rows:
        who = [row["model"], row["decoding"], f"{row['task']} ({row['count']})"]
        for title, name, last in (
            ("accuracy", "accuracy", cell(row, "accuracy")),
            ("no answer", "no_answer_rate", cell(row, "no_answer_rate")),
            ("cut", "cut", ""),
            ("accuracy of those not cut", "accuracy_complete", ""),
            ("accuracy of those cut", "accuracy_cut", ""),
        ):
            values = [_cell(row, f"{name}@{budget}") for budget in budgets]
            lines.append([*who, title, *values, last, cell(row, "accuracy_area") if name == "accuracy" else ""])
    text = "Percent, with 95 % bootstrap intervals.\n\n" + markdown_table([heads, *lines])
    heads = ["model", "decoding", "task", "tokens", "tokens a right answer", "overthinking", "underthinking"]
    names = ("overthinking", "underthinking")
    lines = [
        [
            row["model"], row["decoding"], row["task"], f"{row['length']:.0f}", _tokens_per_right(row),
            *(_cell(row, name) for name in names),
        ]
        for row in rows
    ]  # fmt: skip
    text += "\n" + markdown_table([heads, *lines])
    if lines := [_both(easy, hard) for easy, hard in _parts(rows)]:
        heads = ["model", "decoding", "kind", "easy: accuracy", "easy: tokens", "easy: thrift", "hard: accuracy",
                 "hard: tokens", "F1 of thrift and accuracy"]  # fmt: skip
        text += "\n" + markdown_table([heads, *lines])
    return text


def _cell(row: dict[str, Any], name: str) -> str:
    """A figure with its interval; nothing where there was nothing to take the mean of."""
    return "" if math.isnan(row[name]) else cell(row, name)


def _tokens_per_right(row: dict[str, Any]) -> str:
    return "none is right" if math.isnan(row["tokens_per_right"]) else f"{row['tokens_per_right']:.0f}"


def _parts(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of the easy and of the hard part of one task, by one model."""
    known = {(row["model"], row["decoding"], row["task"]): row for row in rows}
    pairs = []
    for (model, decoding, task), row in known.items():
        kind, _, part = task.rpartition("-")
        if part == EASY and (hard := known.get((model, decoding, f"{kind}-{HARD}"))):
            pairs.append((row, hard))
    return pairs


def _both(easy: dict[str, Any], hard: dict[str, Any]) -> list[str]:
    thrift, accuracy = easy["thrift"], hard["accuracy"]
    f1 = 2 * thrift * accuracy / (thrift + accuracy) if thrift + accuracy else 0.0
    return [
        easy["model"], easy["decoding"], easy["task"].rpartition("-")[0], cell(easy, "accuracy"),
        f"{easy['length']:.0f}", cell(easy, "thrift"), cell(hard, "accuracy"), f"{hard['length']:.0f}",
        f"{100 * f1:.1f}",
    ]  # fmt: skip


def plot_budgets(rows: Sequence[dict[str, Any]], budgets: Sequence[int], path: Path) -> None:
    """
    Draw accuracy and no-answer rate over the budgets, a row of panels for every task, with 95 % intervals.

    Args:
        rows (`Sequence[dict]`): As of [`~evaluation.comparison.rows_of`]; those without budgets are left out.
        budgets (`Sequence[int]`): Tokens of thinking.
        path (`Path`): A picture; its ending says of which kind.
    """
    from matplotlib.figure import Figure

    rows = [row for row in rows if "accuracy_area" in row]
    tasks, models = (list(dict.fromkeys(row[name] for row in rows)) for name in ("task", "model"))
    figure = Figure(figsize=(9, 3 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), 2, squeeze=False, sharex=True)
    places = [max(budget, 1) for budget in budgets]
    for task, panels in zip(tasks, axes, strict=True):
        for axis, name, title in zip(panels, ("accuracy", "no_answer_rate"), ("right", "no answer"), strict=True):
            for row in (row for row in rows if row["task"] == task):
                color, style = f"C{models.index(row['model'])}", "-" if row["decoding"] == "greedy" else "--"
                values, low, high = (
                    [100 * row[f"{name}@{budget}{end}"] for budget in budgets] for end in ("", "_low", "_high")
                )
                axis.plot(places, values, style, color=color, marker="o", label=f"{row['model']}, {row['decoding']}")
                axis.fill_between(places, low, high, color=color, alpha=0.12, linewidth=0)
            axis.set(title=f"{task}: {title}", ylabel=f"{title} (%)", ylim=(-3, 103))
            axis.set_xscale("log", base=2)
            axis.set_xticks(places, list(map(str, budgets)))
        panels[0].legend(fontsize="small")
    for axis in axes[-1]:
        axis.set_xlabel("tokens of thinking, then an answer is forced")
    figure.savefig(path, dpi=120)
