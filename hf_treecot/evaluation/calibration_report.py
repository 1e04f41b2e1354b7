"""Calibration, for people: a table and reliability diagrams. Knows figures alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .calibration import COVERAGE, SIGNALS
from .comparison import cell, markdown_table


def calibrated(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose answers were chosen from several: only those have a confidence."""
    return [row for row in rows if row.get("reliability")]


def write_calibration(rows: Sequence[dict[str, Any]]) -> str:
    """
    A table in markdown: for every signal its Brier score, and accuracy where only the most certain answers are given.

    Args:
        rows (`Sequence[dict]`): As of [`~evaluation.comparison.rows_of`].
    """
    heads = ["model", "decoding", "task", "right", "confidence", "Brier score (0 is best)",
             f"right of the most certain {100 * COVERAGE:.0f} %"]  # fmt: skip
    lines = [
        [
            row["model"], row["decoding"], f"{row['task']} ({row['count']})", f"{100 * _accuracy(points):.1f}",
            signal.replace("_", "-"), _score(row, f"brier_{signal}"), cell(row, f"selective_{signal}"),
        ]
        for row in calibrated(rows)
        for signal, points in row["reliability"].items()
    ]  # fmt: skip
    return "With 95 % bootstrap intervals.\n\n" + markdown_table([heads, *lines])


def _accuracy(points: Sequence[Sequence[float]]) -> float:
    return sum(right * count for _, right, count in points) / sum(count for *_, count in points)


def _score(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"


def plot_calibration(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """
    Draw reliability diagrams, a row of panels for every task and a panel for every signal. On the diagonal a
    confidence is the share of answers that are right; a point is as large as the share of problems in its bin.

    Args:
        rows (`Sequence[dict]`): As of [`~evaluation.comparison.rows_of`].
        path (`Path`): A picture; its ending says of which kind.
    """
    from matplotlib.figure import Figure

    rows = calibrated(rows)
    tasks, models = (list(dict.fromkeys(row[name] for row in rows)) for name in ("task", "model"))
    signals = [signal for signal in SIGNALS if any(signal in row["reliability"] for row in rows)]
    figure = Figure(figsize=(3.2 * len(signals), 3.2 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(signals), squeeze=False, sharex=True, sharey=True)
    for task, axes in zip(tasks, panels, strict=True):
        for signal, axis in zip(signals, axes, strict=True):
            axis.plot((0, 1), (0, 1), color="0.7", linewidth=1)
            for row in (row for row in rows if row["task"] == task and signal in row["reliability"]):
                points = row["reliability"][signal]
                color, style = f"C{models.index(row['model'])}", "-" if row["decoding"] == "sample" else "--"
                places, heights, counts = zip(*points, strict=True)
                axis.plot(places, heights, style, color=color, linewidth=1, label=f"{row['model']}, {row['decoding']}")
                axis.scatter(places, heights, s=[8 + 120 * count / sum(counts) for count in counts], color=color)
            axis.set(title=f"{task}: {signal.replace('_', '-')}", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes[0].set_ylabel("right")
        axes[0].legend(fontsize="x-small")
    for axis in panels[-1]:
        axis.set_xlabel("confidence")
    figure.savefig(path, dpi=120)
