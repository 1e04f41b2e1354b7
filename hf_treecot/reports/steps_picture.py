"""A picture of what training did: accuracy against no-answer rate, a point a model, arrows along the training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .evaluated import Evaluated


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLUMNS = 3  # panels side by side
LONGEST = 40  # characters of a name


def steps_figure(evaluated: Evaluated, labels: Mapping[str, str]) -> "Figure":
    """
    Draw a panel for every kind of problems: the upper left corner, always an answer and always right, is best.

    Args:
        evaluated ([`Evaluated`]): Models; arrows go from the one that another was trained from to that one.
        labels (`Mapping[str, str]`): What the models are called.

    Returns:
        `matplotlib.figure.Figure`: The picture, with 95 % intervals as bars.
    """
    from matplotlib.figure import Figure

    tasks = evaluated.tasks
    columns, rows = min(COLUMNS, len(tasks)), -(-len(tasks) // COLUMNS)
    figure = Figure(figsize=(max(5.0, 3.7 * columns), 3.7 * rows + 0.5), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    points = {}
    for axes, task in zip(panels, tasks, strict=False):
        found = [row for row in evaluated.rows if row["task"] == task]
        points |= {
            _text(labels[row["model"]]): _point(axes, row, evaluated.models.index(row["model"])) for row in found
        }
        _numbers(axes, found, evaluated.models)
        _arrows(axes, found, evaluated.parents)
        axes.set(xlim=(-6, 106), ylim=(-6, 106), xlabel="no answer (%)", ylabel="accuracy (%)")
        axes.set_title(_text(f"{task} ({found[0]['count']:g} problems)"), fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(color="#eeeeee")
    figure.legend(points.values(), points.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _place(row: Mapping[str, Any]) -> tuple[float, float]:
    return 100 * row["no_answer_rate"], 100 * row["accuracy"]


def _point(axes: "Axes", row: Mapping[str, Any], number: int) -> "Line2D":
    """A model with its intervals; bars lie under all points."""
    axes.errorbar(
        *_place(row), xerr=_whiskers(row, "no_answer_rate"), yerr=_whiskers(row, "accuracy"), color=f"C{number}",
        capsize=3, linestyle="none", zorder=2,
    )  # fmt: skip
    return axes.plot(*_place(row), color=f"C{number}", marker="o", markersize=13, linestyle="none", zorder=3 + number)[
        0
    ]


def _numbers(axes: "Axes", rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> None:
    """The models' numbers on their points; on a point that lies on others, those of all."""
    for place in dict.fromkeys(map(_place, rows)):
        numbers = [str(models.index(row["model"]) + 1) for row in rows if _place(row) == place]
        axes.text(
            *place, ",".join(numbers), color="white", fontsize=8 if len(numbers) == 1 else 6, fontweight="bold",
            ha="center", va="center_baseline", zorder=2.5 + int(numbers[-1]),
        )  # fmt: skip


def _arrows(axes: "Axes", rows: Sequence[Mapping[str, Any]], parents: Mapping[str, str]) -> None:
    places = {row["model"]: _place(row) for row in rows}
    for model in places:  # in the order of the evaluation
        if (parent := parents.get(model)) in places and places[parent] != places[model]:
            style = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 7, "shrinkB": 7, "linewidth": 1.3}
            style["connectionstyle"] = "arc3,rad=0.15"  # so that the way back does not lie on the way there
            axes.annotate("", xy=places[model], xytext=places[parent], arrowprops=style, zorder=2.5)


def _whiskers(row: Mapping[str, Any], name: str) -> list[list[float]]:
    value = row[name]
    return [[100 * max(0.0, value - row[f"{name}_low"])], [100 * max(0.0, row[f"{name}_high"] - value)]]


def _text(text: str) -> str:
    """A name as matplotlib shows it: no formula, in one line."""
    text = " ".join(text.split())
    return (text if len(text) <= LONGEST else f"{text[:LONGEST]}…").replace("$", r"\$")
