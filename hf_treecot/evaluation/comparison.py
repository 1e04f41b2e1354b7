"""Runs side by side: a table with intervals and paired significance, and a plot. Knows figures, not how they came."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from .calibration import SIGNALS, reliability
from .statistics import compare


if TYPE_CHECKING:
    from .run import Figures


WIDE = 160  # columns of a terminal
COLUMNS = ("accuracy", "no_answer_rate", "repetition_rate", "over_reflection_rate", "length", "tokens")
NARROW = ("accuracy", "no_answer_rate", "tokens")


def rows_of(runs: Sequence["Figures"]) -> list[dict[str, Any]]:
    """
    A row of plain values for every run and task.

    Args:
        runs (`Sequence[Figures]`): The first of every task is what the others are compared with.

    Returns:
        `list[dict]`: `model`, `decoding`, `task`, `count`, every metric with its interval, and, if it is not the
        first, `difference`, `difference_low`, `difference_high` and `p_value` of its accuracy against the first on the
        same problems; in `reliability` the points of its reliability diagrams, where answers were chosen from several.
    """
    rows, first = [], {}
    for run in runs:
        accuracy = run.values["accuracy"]
        row = {"model": run.model, "decoding": run.decoding, "task": run.task, "count": len(accuracy), **run.results}
        pairs = {signal: list(run.values.get(f"selective_{signal}", {}).values()) for signal in SIGNALS}
        row["reliability"] = {signal: points for signal in SIGNALS if (points := reliability(pairs[signal]))}
        if base := first.get(run.task):
            shared = [name for name in base if name in accuracy]
            result = compare([base[name] for name in shared], [accuracy[name] for name in shared])
            row |= {
                "difference": result.difference.value, "difference_low": result.difference.low,
                "difference_high": result.difference.high, "p_value": result.p_value,
            }  # fmt: skip
        else:
            first[run.task] = accuracy
        rows.append(row)
    return rows


def cell(row: dict[str, Any], name: str) -> str:
    """A figure with its interval, for people."""
    if name not in row:
        return ""
    if name in ("length", "tokens"):
        return f"{row[name]:.0f}"
    if name == "difference":
        return f"{100 * row[name]:+.1f} ({100 * row[f'{name}_low']:+.1f} to {100 * row[f'{name}_high']:+.1f})"
    if name == "p_value":
        return f"{row[name]:.3f}" if row[name] >= 0.001 else "< 0.001"
    return f"{100 * row[name]:.1f} ({100 * row[f'{name}_low']:.1f} to {100 * row[f'{name}_high']:.1f})"


def figures_of(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> list[str]:
    """
    The names of the figures that a table of these rows shows, in order.

    Args:
        rows (`Sequence[dict]`): As of [`rows_of`].
        columns (`Sequence[str]`): Those that are there in any case; figures of samples and differences come to them.
    """
    counts = {int(name.removeprefix("maj@")) for row in rows for name in row if re.fullmatch(r"maj@\d+", name)}
    most = max(counts, default=1)
    of_samples = [*([f"maj@{most}", f"vote@{most}"] if most > 1 else []), "test@tokens"]
    of_samples = [name for name in of_samples if any(name in row for row in rows)]
    names = [*columns[:1], *of_samples, *columns[1:]]
    if any("p_value" in row for row in rows):
        names += ["difference", "p_value"]
    return names


def _grid(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> tuple[list[str], list[list[str]]]:
    names = figures_of(rows, columns)
    heads = ["model", "decoding", "task", *(name.removesuffix("_rate").replace("_", " ") for name in names)]
    lines = [
        [row["model"], row["decoding"], f"{row['task']} ({row['count']})", *(cell(row, name) for name in names)]
        for row in rows
    ]
    return heads, lines


def table(rows: Sequence[dict[str, Any]], width: int = WIDE) -> Table:
    """
    The rows for a terminal.

    Args:
        rows (`Sequence[dict]`): As of [`rows_of`].
        width (`int`): Columns of the terminal; in a narrow one there is no room for intervals, nor for all figures.
    """
    heads, lines = _grid(rows, NARROW if width < WIDE else COLUMNS)
    title = "Percent, with 95 % bootstrap intervals"
    if width < WIDE:
        title = "Percent (intervals and other figures are in table.md)"
        lines = [[*line[:3], *(figure.partition(" (")[0] for figure in line[3:])] for line in lines]
    result = Table(title=title, padding=0)
    for head in heads:
        result.add_column(head, no_wrap=head in ("model", "task"), overflow="fold")
    for line in lines:
        result.add_row(*line)
    return result


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a README."""
    heads, lines = _grid(rows)
    return markdown_table([heads, *lines])


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, the first of which is the head, as a table in markdown."""
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rest]) + "\n"


def ladder(rows: Sequence[dict[str, Any]]) -> str:
    """
    The rows in the form of the paper's ablation: a line for every model, a column for every task and decoding, with
    the accuracy and in brackets the share without an answer.

    Args:
        rows (`Sequence[dict]`): As of [`rows_of`]; every model with the same tasks and decodings, in one order.
    """

    def percent(row: dict[str, Any], name: str) -> str:
        low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
        return f"{100 * row[name]:.0f} % [{low:.0f}–{high:.0f}]"

    models = list(dict.fromkeys(row["model"] for row in rows))
    heads = list(dict.fromkeys(f"{row['task']}, {row['decoding']}" for row in rows))
    lines = [["", *heads], ["---"] * (1 + len(heads))]
    for model in models:
        cells = [row for row in rows if row["model"] == model]
        lines.append([model, *(f"{percent(row, 'accuracy')} ({percent(row, 'no_answer_rate')})" for row in cells)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """
    Draw accuracy against no-answer rate, and how often any output is right of those that some tokens buy.

    Args:
        rows (`Sequence[dict]`): As of [`rows_of`].
        path (`Path`): A picture; its ending says of which kind.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = Figure(figsize=(9, 3.6 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), 2, squeeze=False)
    models = list(dict.fromkeys(row["model"] for row in rows))
    markers = {"greedy": "o", "sample": "s", "mcts": "^"}
    for task, (left, right) in zip(tasks, axes, strict=True):
        for row in (row for row in rows if row["task"] == task):
            color, label = f"C{models.index(row['model'])}", f"{row['model']}, {row['decoding']}"
            x, y = 100 * row["no_answer_rate"], 100 * row["accuracy"]
            left.errorbar(
                x, y, xerr=_whiskers(row, "no_answer_rate"), yerr=_whiskers(row, "accuracy"), color=color,
                marker=markers[row["decoding"]], label=label, capsize=2,
            )  # fmt: skip
            points = [(part, name) for part, name in _PARTS if name in row]
            if points:
                right.errorbar(
                    [part * row["tokens"] for part, _ in points], [100 * row[name] for _, name in points],
                    yerr=[[_whiskers(row, name)[side][0] for _, name in points] for side in (0, 1)],
                    color=color, marker=markers[row["decoding"]], label=label, capsize=2,
                    linestyle="--" if row["decoding"] == "mcts" else "-",
                )  # fmt: skip
        left.set(xlabel="no answer (%)", ylabel="accuracy (%)", title=f"{task}: accuracy against no-answer rate")
        right.set(xlabel="generated tokens a problem", ylabel="any output right (%)", title=f"{task}: at equal tokens")
        left.legend(fontsize="small")
        if right.has_data():
            right.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def plot_progress(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """
    Draw accuracy and no-answer rate from model to model, each of which came of the one before it.

    Args:
        rows (`Sequence[dict]`): As of [`rows_of`], in the order of the models; a line is drawn for every task.
        path (`Path`): A picture; its ending says of which kind.
    """
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row["model"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, title in ((left, "accuracy", "accuracy"), (right, "no_answer_rate", "no answer")):
        for number, task in enumerate(tasks):
            of_task = [row for row in rows if row["task"] == task]
            # Side by side, or their intervals would hide each other.
            places = [models.index(row["model"]) + 0.05 * (number - (len(tasks) - 1) / 2) for row in of_task]
            whiskers = [[_whiskers(row, name)[side][0] for row in of_task] for side in (0, 1)]
            values = [100 * row[name] for row in of_task]
            axes.errorbar(places, values, yerr=whiskers, marker="o", capsize=2, label=task)
        axes.set(ylabel=f"{title} (%)", ylim=(-3, 103))
        axes.set_xticks(range(len(models)), models)
    left.legend(fontsize="small")
    figure.savefig(path, dpi=120)


_PARTS = ((1 / 8, "test@tokens/8"), (1 / 4, "test@tokens/4"), (1 / 2, "test@tokens/2"), (1, "test@tokens"))


def _whiskers(row: dict[str, Any], name: str) -> list[list[float]]:
    value = row[name]
    low, high = max(0.0, value - row[f"{name}_low"]), max(0.0, row[f"{name}_high"] - value)
    return [[100 * low], [100 * high]]
