"""What a run's evaluation says, in words: what models answer, how often they are right, what that shows, and what not.

Words follow from figures: a gain is one only beyond its interval, and the paper's ladder is told only of a run that
has it. Texts of models are untrusted: they go through [`~dataset_card.inline`] or [`~dataset_card.fenced`].
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..hub.dataset_card import fenced, inline
from ..problems.generators import GENERATORS
from .evaluated import Evaluated, Output, Steps
from .steps_picture import steps_figure


PAPER = "Marco-o1 v2, [arXiv 2503.01461](https://arxiv.org/abs/2503.01461)"
MOST_MODELS = 4  # whose outputs are shown
LEVEL = 0.05


def lead(evaluated: Evaluated, selection: Mapping[str, Any]) -> list[str]:
    """
    What was done, in a sentence, if it is the paper's ladder.

    Args:
        evaluated ([`Evaluated`]): The models.
        selection (`Mapping`): How the rows of the run were selected.
    """
    if not (steps := evaluated.steps):
        return []
    base, sft, joint = map(inline, steps)
    chosen = str(selection.get("sft", "")).replace("_", " ")
    chosen = f" (of a tree the {inline(chosen)})" if chosen else ""
    return [
        f"The ladder of the paper ({PAPER}) on one model: {base} grew trees of thoughts; {sft} is that model after "
        f"SFT on right chains{chosen}; {joint} is {sft} after the joint objective, SFT and conservative DPO on pairs "
        "of a right and a wrong chain."
    ]


def labels(evaluated: Evaluated) -> dict[str, str]:
    """What models are called, with their part in the ladder."""
    parts = dict(zip(evaluated.steps or (), ("base", "SFT", "joint"), strict=False))
    return {model: f"{model} ({parts[model]})" if model in parts else model for model in evaluated.models}


def what_models_answer(evaluated: Evaluated, outputs: Mapping[str, Mapping[str, Mapping[str, Output]]]) -> list[str]:
    """
    One held-out problem and what every model says to it: of the task that changed most, the first problem that goes as
    most of them go, so that it is typical and not chosen for its looks.

    Args:
        evaluated ([`Evaluated`]): The models.
        outputs (`Mapping`): Task -> model -> id of a problem -> [`Output`].
    """
    models = list(evaluated.steps or evaluated.models[:MOST_MODELS])
    tasks = [task for task in evaluated.tasks if all(outputs.get(task, {}).get(model) for model in models)]
    if not tasks:
        return []
    task = max(tasks, key=lambda task: abs(_change(evaluated, task, models[0], models[-1])))
    found = [outputs[task][model] for model in models]
    outcomes = {name: tuple(of[name].outcome for of in found) for name in found[0] if all(name in of for of in found)}
    if not outcomes:
        return []
    ((commonest, count),) = Counter(outcomes.values()).most_common(1)
    chosen = next(name for name, outcome in outcomes.items() if outcome == commonest)
    names = labels(evaluated)
    title = "What the base does, and what training makes of it" if evaluated.steps else "What the models answer"
    sections = [
        f"## {title}",
        f"A held-out problem of {inline(task)}, the first with the commonest outcome ({count} of {len(outcomes)}: "
        f"{', '.join(commonest)}); {_decoding(evaluated)}.",
        fenced(found[0][chosen].prompt),
    ]
    for model, of in zip(models, found, strict=True):
        sections += [f"{inline(names[model])}: **{of[chosen].outcome}**", fenced(of[chosen].text or "(nothing)")]
    return sections


def before_and_after(evaluated: Evaluated, run: Path) -> list[str]:
    """
    The figures of all models, a line each, and the picture of the way that training took, which is drawn.

    Args:
        evaluated ([`Evaluated`]): The models.
        run (`Path`): Directory of the run; the picture goes to `report/steps.png` in it.
    """
    if not evaluated.rows:
        return []
    names, tasks = labels(evaluated), evaluated.tasks
    lines = [["model", *map(inline, tasks)], ["---"] * (1 + len(tasks))]
    for model in evaluated.models:
        rows = [evaluated.row(model, task) for task in tasks]
        cells = [f"{_share(row, 'accuracy')} / {_share(row, 'no_answer_rate')}" if row else "" for row in rows]
        lines.append([inline(names[model]), *cells])
    sections = [
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        f"Right / without an answer, {_decoding(evaluated)}, with 95 % bootstrap intervals over problems, which a "
        "share of 0 or 100 % does not have.",
    ]
    if evaluated.parents:
        path = run / "report" / "steps.png"
        path.parent.mkdir(exist_ok=True)
        steps_figure(evaluated, names).savefig(path, dpi=110, metadata={"Software": None})
        sections.append("![Accuracy against no-answer rate; arrows go along the training](report/steps.png)")
    return sections


def what_it_shows(evaluated: Evaluated) -> list[str]:
    """
    What the ladder of this run shows, by its figures, and what no such run can show; nothing without a ladder.

    Args:
        evaluated ([`Evaluated`]): The models.
    """
    if not (steps := evaluated.steps):
        return []
    tasks = evaluated.tasks
    changes = {task: _verdict(evaluated.row(steps.joint, task)) for task in tasks}
    gains, losses = ([task for task in tasks if changes[task] == which] for which in ("gain", "loss"))
    shows = [_of_task(evaluated, steps, task, changes[task]) for task in tasks]
    if gains:
        shows.append(
            "Search finds what the model can do but does not do by itself; training makes it a habit: the trees of "
            f"this run were written by {inline(steps.base)} alone, and without search {inline(steps.joint)} is right "
            f"more often than it in {_and(gains)}."
        )
    else:
        shows.append(
            "In no kind of problems is the last model better than the base beyond the interval: no gain is shown."
        )
    if losses:
        shows.append(f"In {_and(losses)} the last model is worse than the base, beyond the interval.")
    shows.append(_failure_and_cure(evaluated, steps))
    nots = [
        "That a student learns a skill it lacks: there is no other teacher than the model itself and a verifier.",
        "Other sizes and seeds: it is one model, with one run of every stage, and intervals are over problems alone.",
    ]
    if set(tasks) <= set(GENERATORS):
        nots.append("Problems that people wrote: these are generated.")
    return [
        "## What this shows, and what not",
        "It shows:\n\n" + "\n".join(f"- {line}" for line in shows),
        "It does not show:\n\n" + "\n".join(f"- {line}" for line in nots),
        "Beyond its interval: the 95 % interval of the difference on the same problems leaves out 0, and p < 0.05. Of "
        "shares without an answer: the two intervals do not touch; where all outputs agree, a share of 0 or 100 % is "
        "taken with the exact interval of Clopper and Pearson, since the bootstrap has none.",
    ]


def _of_task(evaluated: Evaluated, steps: Steps, task: str, change: str) -> str:
    """The figures of a task along the ladder, and whether its end is better than its beginning."""
    rows = [evaluated.row(model, task) for model in steps]
    right, without = (" → ".join(f"{100 * row[name]:.0f}" for row in rows) for name in ("accuracy", "no_answer_rate"))
    low, value, high = (f"{100 * rows[-1][f'difference{end}']:+.0f}" for end in ("_low", "", "_high"))
    words = {"gain": "a gain", "loss": "a loss", "": "no difference beyond the interval"}
    return (
        f"**{inline(task)}**: {right} % right, {without} % without an answer. The last against the base: "
        f"{value} points ({low} to {high}), {words[change]}."
    )


def _failure_and_cure(evaluated: Evaluated, steps: Steps) -> str:
    """Where SFT leaves outputs without an answer, and where the joint objective takes them away again."""
    failing, cured = [], []
    for task in evaluated.tasks:
        base, sft, joint = (_bounds(evaluated.row(model, task)) for model in steps)
        if sft[0] > base[1]:
            failing.append(task)
            if joint[1] < sft[0]:
                cured.append(task)
    if not failing:
        return (
            "The paper's failure, outputs that never answer after SFT, does not show beyond the intervals in this run."
        )
    text = f"The paper's failure: after SFT alone more outputs are without an answer, in {_and(failing)}."
    if cured == failing:
        return f"{text} And its cure: the joint objective takes that back."
    if cured:
        return f"{text} And its cure: the joint objective takes that back in {_and(cured)}, beyond the intervals."
    return f"{text} Its cure does not show: the joint objective does not take that back beyond the intervals."


def _verdict(row: Mapping[str, Any]) -> str:
    """Whether a model's accuracy differs from that of the first beyond its interval."""
    if row["p_value"] < LEVEL and row["difference_low"] > 0:
        return "gain"
    return "loss" if row["p_value"] < LEVEL and row["difference_high"] < 0 else ""


def _bounds(row: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of the share without an answer; the exact one where outputs all agree."""
    value, low, high = (row[f"no_answer_rate{end}"] for end in ("", "_low", "_high"))
    reach = 1 - (LEVEL / 2) ** (1 / max(1, row["count"]))
    return min(low, 1 - reach) if value == 1 else low, max(high, reach) if value == 0 else high


def _change(evaluated: Evaluated, task: str, first: str, last: str) -> float:
    return evaluated.row(last, task)["accuracy"] - evaluated.row(first, task)["accuracy"]


def _decoding(evaluated: Evaluated) -> str:
    return "greedy" if (name := evaluated.rows[0]["decoding"]) == "greedy" else f"decoded by {inline(name)}"


def _share(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def _and(names: list[str]) -> str:
    *most, last = map(inline, names)
    return f"{', '.join(most)} and {last}" if most else last
