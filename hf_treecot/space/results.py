"""The results of an evaluation: its figures, how outputs end, with examples, and another run beside it.

Figures are those of `evaluation.json`, written as in `table.md`. This module must not know how a page is laid out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..evaluation.comparison import cell, figures_of
from ..evaluation.statistics import compare
from ..reports.evaluated import Evaluated, Output, read_evaluation, read_outputs, read_rows
from ..reports.page import CURVES, read_history
from .charts import Point, Segment, Share, bars_html, curves_html, ladder_html, stacked_html, with_interval
from .rendering import chain_html
from .story import load_story
from .text import text_html
from .tree_index import SHIPPED, settings_of


PLAIN_FIGURES = ("length", "tokens", "difference", "p_value")  # written as in the table, not as a share
KINDS = {  # of outputs without an answer
    "truncated": "budget spent", "looping": "repeats itself", "none_given": "none given", "unparseable": "unreadable",
}  # fmt: skip
NO_ANSWER = "no answer"
MOST_EXAMPLES = 3
Z = 1.96  # of a 95 % interval, where only a standard error is known


@dataclass(frozen=True)
class Results:
    """
    What an evaluation came to.

    Args:
        directory (`Path`): Of the run.
        rows (`list[dict]`): Figures of every model, task and way of decoding.
        evaluated ([`Evaluated`]): Those of one way of decoding, and which model was trained from which.
    """

    directory: Path
    rows: list[dict[str, Any]]
    evaluated: Evaluated

    def outputs(self) -> Mapping[str, Mapping[str, Mapping[str, Output]]]:
        """Task -> model -> id of a problem -> output, as far as they were kept."""
        stamp = max((path.stat().st_mtime for path in self.directory.glob("evaluation*/details")), default=0.0)
        return _outputs(self.directory, stamp)


def read_results(directory: Path) -> Results | None:
    """
    The results in a run's directory, or lighteval's at any depth; None if there are none.

    Raises:
        InvalidInputError: A file cannot be read.
    """
    if directory == SHIPPED:
        return Results(SHIPPED, read_rows(SHIPPED), load_story().evaluated)
    if rows := read_rows(directory):
        return Results(directory, rows, read_evaluation(directory, settings_of(directory)))
    if rows := list(_lighteval_rows(directory)):
        return Results(directory, rows, Evaluated(rows, 1))
    return None


@lru_cache(maxsize=4)
def _outputs(directory: Path, _stamp: float) -> Mapping[str, Mapping[str, Mapping[str, Output]]]:
    results = read_results(directory)
    return read_outputs(directory, results.evaluated) if results else {}


def _lighteval_rows(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("**/results_*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            config = content["config_general"]
            model = str(config.get("model_name") or config["model_config"]["model_name"])
            for task, metrics in content["results"].items():
                name = task_name(task)
                if name not in ("all", "_average"):
                    yield {"model": model, "decoding": "", "task": name, "count": 0, **_with_intervals(metrics)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"results {path.name!r} cannot be read ({error}): make them again") from error


def task_name(task: str) -> str:
    """What people call a task: `treecot:letters|0` and `lighteval|letters|0` are letters."""
    parts = [part for part in re.split(r"[|:]", task) if part and not part.isdigit()]
    return parts[-1] if parts else task


def _with_intervals(metrics: Mapping[str, float]) -> dict[str, float]:
    """Lighteval's metrics with intervals, where it gives standard errors alone; the first one stands for accuracy."""
    found = dict(metrics)
    first = next(name for name in metrics if not name.endswith("_stderr"))
    for name in (*(("accuracy",) if "accuracy" in metrics else ()), *metrics):
        if name.endswith(("_stderr", "_low", "_high")) or f"{name}_low" in metrics:
            continue
        reach = Z * float(metrics.get(f"{name}_stderr", 0.0))
        found |= {f"{name}_low": max(0.0, metrics[name] - reach), f"{name}_high": min(1.0, metrics[name] + reach)}
    for end in ("", "_low", "_high"):
        found.setdefault(f"accuracy{end}", found[f"{first}{end}"])
    return found


def labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What rows are called: the model, and how it was decoded if there are several ways."""
    ways = {row["decoding"] for row in rows}
    return [f"{row['model']}, {row['decoding']}" if len(ways) > 1 else row["model"] for row in rows]


def by_task(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """Rows with their labels, by task, in the order of the evaluation."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for label, row in zip(labels(rows), rows, strict=True):
        found.setdefault(row["task"], []).append((label, row))
    return found


def accuracy_html(results: Results) -> str:
    """Bars of how often models are right, grouped by task."""
    return bars_html(
        {task: [_share(label, row, "accuracy") for label, row in rows] for task, rows in by_task(results.rows).items()}
    )


def _share(label: str, row: Mapping[str, Any], figure: str) -> Share:
    return Share(label, *(row[f"{figure}{end}"] for end in ("", "_low", "_high")))


def steps_html(results: Results) -> str:
    """Accuracy against no-answer rate; empty where that rate is not known."""
    rows = results.evaluated.rows
    if not rows or any("no_answer_rate" not in row for row in rows):
        return ""
    panels = {
        task: [
            Point(row["model"], _share("", row, "no_answer_rate"), _share("", row, "accuracy"))
            for row in rows
            if row["task"] == task
        ]
        for task in results.evaluated.tasks
    }
    return ladder_html(panels, results.evaluated.parents)


def endings_html(results: Results) -> str:
    """How outputs end: right, wrong, or without an answer, and why; parts of which outputs were kept are buttons."""
    evaluated, kept = results.evaluated, results.outputs()
    groups: dict[str, dict[str, list[Segment]]] = {}
    for row in evaluated.rows:
        if "no_answer_rate" in row:
            has_outputs = bool(kept.get(row["task"], {}).get(row["model"]))
            parts = [
                Segment(name, share, _key(evaluated, row, name) if has_outputs else "") for name, share in endings(row)
            ]
            groups.setdefault(row["task"], {})[row["model"]] = parts
    return stacked_html(groups) if groups else ""


def endings(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Shares of the outputs of a row, which add up to all."""
    without = {KINDS[kind]: row[f"no_answer_{kind}"] for kind in KINDS if f"no_answer_{kind}" in row}
    rest = max(0.0, row["no_answer_rate"] - sum(without.values()))
    wrong = max(0.0, 1 - row["accuracy"] - row["no_answer_rate"])
    return [
        ("right", row["accuracy"]), ("wrong", wrong), *without.items(), *([(NO_ANSWER, rest)] if rest > 1e-9 else []),
    ]  # fmt: skip


def _key(evaluated: Evaluated, row: Mapping[str, Any], name: str) -> str:
    return f"{evaluated.tasks.index(row['task'])}.{evaluated.models.index(row['model'])}.{name}"


def examples_html(results: Results, key: str) -> str:
    """Some outputs behind a part of a bar; empty for a part that there is not."""
    task_number, _, rest = str(key).partition(".")
    model_number, _, ending = rest.partition(".")
    tasks, models = results.evaluated.tasks, results.evaluated.models
    try:
        task, model = tasks[int(task_number)], models[int(model_number)]
    except (ValueError, IndexError):
        return ""
    found = [output for output in results.outputs().get(task, {}).get(model, {}).values() if _ends(output) == ending]
    shown = "".join(
        f'<section class="example"><div class="problem text">{text_html(output.prompt)}</div>'
        f"{chain_html(output.text or '(nothing)')}</section>"
        for output in found[:MOST_EXAMPLES]
    )
    head = f"{task}, {model}: {ending}, {min(MOST_EXAMPLES, len(found))} of {len(found)} outputs"
    return f'<h3 role="status">{escape(head)}</h3><div class="examples">{shown}</div>'


def _ends(output: Output) -> str:
    if output.outcome != NO_ANSWER:
        return output.outcome
    return KINDS.get(output.failure, NO_ANSWER)


def table_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """All figures: a table for all tasks, a body for each."""
    names = figures_of(rows)
    head = "".join(f"<th scope='col'>{escape(_head(name))}</th>" for name in ("model", *names))
    bodies = []
    for task, of_task in by_task(rows).items():
        count = f" · {of_task[0][1]['count']} problems" if of_task[0][1]["count"] else ""
        title = (
            f"<tr><th class='task' colspan='{1 + len(names)}' scope='rowgroup'>{escape(f'{task}{count}')}</th></tr>"
        )
        lines = "".join(
            f"<tr><th scope='row'>{escape(label)}</th>"
            + "".join(f"<td>{escape(figure_cell(row, name))}</td>" for name in names)
            + "</tr>"
            for label, row in of_task
        )
        bodies.append(f"<tbody>{title}{lines}</tbody>")
    table = f'<table class="figures"><thead><tr>{head}</tr></thead>{"".join(bodies)}</table>'
    return f'<div class="table-scroll" tabindex="0" role="region" aria-label="All figures">{table}</div>'


def _head(name: str) -> str:
    if name in ("length", "tokens", "model"):
        return name
    return {"accuracy": "right, %", "difference": "against the first", "p_value": "p"}.get(
        name, f"{name.removesuffix('_rate').replace('_', ' ')}, %"
    )


def figure_cell(row: Mapping[str, Any], name: str) -> str:
    """A figure of a row, with its interval in the same cell."""
    if name not in row:
        return ""
    if name in PLAIN_FIGURES:
        return re.sub(r"\.0(?!\d)", "", cell(row, name)) if name == "difference" else cell(row, name)
    return with_interval(*(row.get(f"{name}{end}", row[name]) for end in ("", "_low", "_high")))


def training_html(directory: Path) -> str:
    """Curves of the trainings of a run, of what was logged; empty without any."""
    drawn = []
    for path in sorted(directory.glob("*/trainer_state.json"), key=lambda path: path.stat().st_mtime):
        history = read_history(path)
        for title, names in CURVES.items():
            lines = {name: [(log["step"], log[name]) for log in history if name in log] for name in names}
            lines = {name: line for name, line in lines.items() if len(line) > 1}
            if lines:
                drawn.append(curves_html(f"{path.parent.name}: {title}", lines))
    return f'<div class="panels">{"".join(drawn)}</div>' if drawn else ""


def compared_html(one: Results, other: Results) -> str:
    """
    Two runs, row by row: what both have evaluated. Where they kept their outputs and answered the same problems, the
    difference has an interval.

    Raises:
        InvalidInputError: They have no model and task in common.
    """
    theirs = {(row["model"], row["decoding"], row["task"]): row for row in other.rows}
    shared = [row for row in one.rows if (row["model"], row["decoding"], row["task"]) in theirs]
    if not shared:
        raise InvalidInputError("the two runs have evaluated no model of the same name on the same task")
    lines = []
    for label, row in zip(labels(shared), shared, strict=True):
        that = theirs[row["model"], row["decoding"], row["task"]]
        cells = [
            row["task"],
            label,
            *(figure_cell(each, "accuracy") for each in (row, that)),
            _change(one, other, row, that),
        ]
        lines.append("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in cells) + "</tr>")
    heads = ("task", "model", "this run, %", "the other, %", "difference")
    head = "".join(f"<th scope='col'>{name}</th>" for name in heads)
    table = f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<div class="table-scroll" tabindex="0" role="region" aria-label="Two runs">{table}</div>'


def _change(one: Results, other: Results, row: Mapping[str, Any], that: Mapping[str, Any]) -> str:
    mine, theirs = (each.outputs().get(row["task"], {}).get(row["model"], {}) for each in (one, other))
    same = [name for name in mine if name in theirs and mine[name].prompt == theirs[name].prompt]
    if row not in one.evaluated.rows or len(same) < len(mine) or not same:
        return f"{100 * (that['accuracy'] - row['accuracy']):+.1f}"
    found = compare(*([float(each[name].outcome == "right") for name in same] for each in (mine, theirs)))
    value = {"difference": found.difference.value, "difference_low": found.difference.low,
             "difference_high": found.difference.high}  # fmt: skip
    return f"{figure_cell(value, 'difference')}, p {cell({'p_value': found.p_value}, 'p_value')}"
