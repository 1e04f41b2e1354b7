"""One page about a run, `report.md`: what models answer, a tree, a pair, what training did, and all figures.

This module only shows what recipes have left in the run's directory; it must not compute anything that others need.
Texts of models are untrusted: they go through [`~dataset_card.inline`] or [`~dataset_card.fenced`].
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from ..building.builder import BuildReport
from ..errors import InvalidInputError
from ..hub.dataset import load_trees
from ..hub.dataset_card import TreeStatistics, draw_lengths, inline, listed
from . import story
from .build_summary import summary
from .evaluated import Evaluated, read_evaluation, read_outputs
from .pair import pair_sections


logger = logging.getLogger(__name__)


OF_THE_LAST_RUN = ("thoughts asked / from the journal", "time")  # a build that was resumed took longer
CURVES = {  # of a trainer's log: panel -> names
    "loss": ("loss", "sft_loss"),
    "rewards": ("rewards/accuracies", "rewards/margins"),
    "held-out answers": ("answers/accuracy", "answers/no_answer_rate", "answers/repetition"),
}


def write_report(run: Path) -> Path:
    """
    Write the page and its pictures.

    Args:
        run (`Path`): Directory of a run. Stages that were not run (training, evaluation, a drawn tree) are left out.

    Returns:
        `Path`: The page, `report.md` in the run.

    Raises:
        InvalidInputError: There is no run.
    """
    report = _report(run / "report.json")
    statistics = TreeStatistics.of(load_trees(run, on_malformed=logger.warning))
    evaluated = read_evaluation(run, statistics.settings)
    states = sorted(run.glob("*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    histories = {path.parent.name: read_history(path) for path in states}
    sections = [
        f"# {inline(run.name)}: from problems to a model",
        *story.lead(evaluated, report.selection),
        *story.what_models_answer(evaluated, read_outputs(run, evaluated)),
        *_tree(run),
        *pair_sections(run, statistics),
        *_evaluation(run, evaluated),
        *story.what_it_shows(evaluated),
        *_trees(run, report, statistics),
        *_training(run, histories),
        *_all_figures(run, evaluated),
        *_next(run, list(histories)),
    ]
    page = run / "report.md"
    page.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return page


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object" if path.is_file() else "there is no such file")
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"run={str(path.parent)!r}: {path.name} cannot be read ({error}): give the directory of a finished build"
        ) from error
    return content


def read_history(path: Path) -> list[dict[str, Any]]:
    """
    What a trainer logged: of its figures those that are numbers.

    Args:
        path (`Path`): `trainer_state.json` of a stage.

    Raises:
        InvalidInputError: It is not that of a training.
    """
    history = _read(path).get("log_history")
    if not isinstance(history, list) or not all(isinstance(log, dict) for log in history):
        raise InvalidInputError(
            f"run={str(path.parents[1])!r}: {path.parent.name}/{path.name} has no log_history of a training: remove it"
        )
    return [{k: v for k, v in log.items() if isinstance(v, int | float)} for log in history]


def _report(path: Path) -> BuildReport:
    """What a build reported."""
    record = _read(path)
    known = vars(BuildReport())
    for name in known.keys() & record.keys():
        if not isinstance(record[name], (int, float) if isinstance(known[name], int | float) else type(known[name])):
            raise InvalidInputError(
                f"run={str(path.parent)!r}: {path.name} is not that of a build ({name} is {record[name]!r:.50}): "
                "build it again"
            )
    return BuildReport(**{name: value for name, value in record.items() if name in known})


def _tree(run: Path) -> list[str]:
    if not (run / "tree.png").is_file():
        return []
    return [
        "## A tree",
        "![One of the trees: right answers in green, wrong ones in red](tree.png)",
        "Every thought with its kind, visits N and mean reward v/N; the wider a line, the more often it was taken.",
    ]


def _trees(run: Path, report: BuildReport, statistics: TreeStatistics) -> list[str]:
    lines = [f"| {name.strip()} | {value} |" for name, value in summary(report) if name not in OF_THE_LAST_RUN]
    lines += [f"| thoughts: {inline(kind)} | {count} |" for kind, count in statistics.kinds.most_common()]
    lines += [f"| left out: {inline(reason)} | {count} |" for reason, count in sorted(report.rejections.items())]
    settings = [f"| {inline(name)} | {listed(values)} |" for name, values in sorted(statistics.settings.items())]
    sections = ["## All trees", _table(("", ""), lines), _table(("setting", "value"), settings)]
    path = run / "report" / "chains.png"
    if name := draw_lengths(statistics.lengths, "generated tokens of a chain", path):
        sections.append(f"![How long right and wrong chains are]({name})")
    return sections


def _training(run: Path, histories: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    if not histories:
        return []
    lines = []
    for stage, history in histories.items():
        for name in (name for names in CURVES.values() for name in names):
            values = [log[name] for log in history if name in log]
            if values:
                lines.append(f"| {inline(stage)} | {inline(name)} | {values[0]:.3f} | {values[-1]:.3f} |")
    _draw_training(histories, run / "report" / "training.png")
    picture = "![Losses, rewards, and answers to held-out problems while training](report/training.png)"
    return ["## Training", _table(("stage", "figure", "first", "last"), lines), picture]


def _draw_training(histories: Mapping[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.9 * len(histories)), layout="constrained")
    grid = figure.subplots(len(histories), len(CURVES), squeeze=False)
    for row, (stage, history) in zip(grid, histories.items(), strict=True):
        for axes, (title, names) in zip(row, CURVES.items(), strict=True):
            for name in names:
                points = [(log["step"], log[name]) for log in history if name in log]
                if points:
                    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
            axes.set(title=f"{stage}: {title}", xlabel="step")
            axes.spines[["top", "right"]].set_visible(False)
            if axes.has_data():
                axes.legend(fontsize="small", frameon=False)
            else:
                axes.set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _evaluation(run: Path, evaluated: Evaluated) -> list[str]:
    sections = story.before_and_after(evaluated, run) or _table_of_evaluation(run)
    if not sections:
        return []
    # Without steps, or where sampling and search are compared too, there is more to see than in the picture of steps.
    if (run / "evaluation" / "plot.png").is_file() and (not evaluated.parents or evaluated.decodings > 1):
        sections.append("![Accuracy against no-answer rate](evaluation/plot.png)")
    return ["## Before and after, on held-out problems", *sections]


def _all_figures(run: Path, evaluated: Evaluated) -> list[str]:
    table = _table_of_evaluation(run) if evaluated.rows else []  # else it stands above
    return ["## All figures of the evaluation", *table] if table else []


def _table_of_evaluation(run: Path) -> list[str]:
    table = run / "evaluation" / "table.md"
    if not table.is_file():
        return []
    return [
        table.read_text(encoding="utf-8").strip(),
        "Percent, with 95 % bootstrap intervals over problems; difference and p value: against the first model.",
    ]


def _next(run: Path, stages: list[str]) -> list[str]:
    models = [quote(str(run / stage)) for stage in stages]
    talk = f" --models {' '.join(models)}" if models else ""
    tokenizer = f"--tokenizer {models[0]} " if models else ""
    return [
        "## Next",
        "```bash\n"
        f'make space SPACE="--source {quote(str(run))}{talk}"\n'
        f"treecot select --trees {quote(str(run))} {tokenizer}--preference all "
        f"--output_dir {quote(f'{run}-all')}\n"
        f"treecot publish --dataset {quote(str(run))} --repo_id my-trees\n"
        "```",
    ]


def _table(heads: tuple[str, ...], lines: list[str]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines])
