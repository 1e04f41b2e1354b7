"""What an evaluation and trainings left in a run: figures, outputs, and which model was trained from which.

Which model is which is told by fingerprints of weights, not by names, so that a page never connects what does not
belong together: what cannot be told is left out. This module only reads; it must not know what a page says.
"""

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InvalidInputError
from ..files import fingerprint
from ..starter.built_in import BUILT_IN, model_path


logger = logging.getLogger(__name__)


WEIGHTS = (".safetensors",)  # by which a training remembers the model that it started from
FIGURES = tuple(f"{name}{end}" for name in ("accuracy", "no_answer_rate") for end in ("", "_low", "_high"))
COMPARED = ("difference", "difference_low", "difference_high", "p_value")  # with the first model
KIND = "no_answer_"  # of metrics: how an output is without an answer
TAGS = {"sft": "SFT", "joint-sft-dpo": "joint"}  # of a model's card, by its trainer


class Steps(NamedTuple):
    """The paper's ladder: a model that grew the trees, SFT from it, the joint objective from there."""

    base: str
    sft: str
    joint: str


class Output(NamedTuple):
    """What a model said to a problem: `"right"`, `"wrong"` or `"no answer"`, and of the last which kind."""

    prompt: str
    text: str
    outcome: str
    failure: str = ""


@dataclass(frozen=True)
class Evaluated:
    """
    The models of a run, side by side.

    Args:
        rows (`list[dict]`): Figures of every model and task, of one way of decoding: greedy if there is such.
        decodings (`int`): In how many ways models were decoded.
        parents (`dict[str, str]`): Of a model that was trained, the one that it was trained from; of those evaluated.
        steps ([`Steps`], *optional*): The ladder, if all of it is known and compared with its base.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    decodings: int = 0
    parents: dict[str, str] = field(default_factory=dict)
    steps: Steps | None = None

    @property
    def models(self) -> list[str]:
        """Their names, in the order of the evaluation."""
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @property
    def tasks(self) -> list[str]:
        """Kinds of problems, in the order of the evaluation."""
        return list(dict.fromkeys(row["task"] for row in self.rows))

    def row(self, model: str, task: str) -> dict[str, Any] | None:
        """The figures of a model on a task."""
        return next((row for row in self.rows if (row["model"], row["task"]) == (model, task)), None)


def read_evaluation(run: Path, settings: Mapping[str, Iterable[str]]) -> Evaluated:
    """
    What is known of a run's models.

    Args:
        run (`Path`): Directory of a run.
        settings (`Mapping`): Every value of every setting in the provenance of its trees: which models grew them.

    Raises:
        InvalidInputError: The figures are not those of an evaluation.
    """
    rows = read_rows(run)
    decodings = list(dict.fromkeys(row["decoding"] for row in rows))
    if not decodings:
        return Evaluated()
    chosen = "greedy" if "greedy" in decodings else decodings[0]
    rows = [row for row in rows if row["decoding"] == chosen]
    revisions = {name: found for name, found in _revisions(run).items() if any(row["model"] == name for row in rows)}
    stages = _stages(run, revisions)
    parents = _parents(run, revisions, stages, settings)
    evaluated = Evaluated(rows, len(decodings), parents)
    growers = {value for role in ("generator", "critic") for value in settings.get(f"{role}_revision", [""])}
    return replace(evaluated, steps=_steps(evaluated, stages, revisions, growers))


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of the last `evaluation.json` of a run, without those that have no figures; none without the file."""
    paths = [path for path in (run / "evaluation.json", run / "evaluation" / "evaluation.json") if path.is_file()]
    if not paths:
        return []
    path = max(paths, key=lambda path: path.stat().st_mtime)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise ValueError("it holds no rows of an evaluation")
        return [row for row in rows if all(math.isfinite(row[name]) for name in FIGURES)]  # a verifier may always fail
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(
            f"run={str(run)!r}: {path.name} cannot be read ({error}): evaluate again with `treecot evaluate`, or "
            "remove it"
        ) from error


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    compared = [name for name in row if name.startswith(COMPARED)]
    return all(isinstance(row.get(name), str) for name in ("model", "decoding", "task")) and all(
        isinstance(row.get(name), int | float) for name in ("count", *FIGURES, *compared)
    )


def read_outputs(run: Path, evaluated: Evaluated) -> dict[str, dict[str, dict[str, Output]]]:
    """
    The outputs that the last evaluation kept, of those rows: task -> model -> id of a problem -> output.

    Args:
        run (`Path`): Directory of a run.
        evaluated ([`Evaluated`]): Its models. What cannot be read is left out, with a warning.
    """
    import pyarrow
    import pyarrow.parquet

    outputs: dict[str, dict[str, dict[str, Output]]] = {task: {} for task in evaluated.tasks}
    wanted = {(row["model"], row["decoding"]) for row in evaluated.rows}
    details = run / "evaluation" / "details"
    for path in sorted(details.rglob("details_treecot:*.parquet")):  # the last of a model and task is what stays
        *model, decoding, _, name = path.relative_to(details).parts
        task = re.sub(r"^details_treecot:|\|.*$", "", name)
        if ("/".join(model), decoding) not in wanted or task not in outputs or not path.is_file():
            continue
        try:
            rows = pyarrow.parquet.read_table(path, columns=["doc", "metric", "model_response"]).to_pylist()
            outputs[task]["/".join(model)] = dict(map(_output, rows))
        except (OSError, ValueError, TypeError, LookupError, pyarrow.ArrowException) as error:
            logger.warning("%s: no outputs are shown of it (%s)", path.name, error)
    return outputs


def _output(row: dict[str, Any]) -> tuple[str, Output]:
    """The id of a problem, and what was said to it; of a conversation the first turn."""
    problem, metric = row["doc"]["specific"]["problems"][0], row["metric"]
    outcome = "right" if metric["accuracy"] == 1 else "no answer" if metric["no_answer_rate"] == 1 else "wrong"
    kinds = [name.removeprefix(KIND) for name, value in metric.items() if name.startswith(KIND) and value == 1]
    kind = next((kind for kind in kinds if kind != "rate"), "")
    prompt, text = str(row["doc"]["query"]), str(row["model_response"]["text"][0])
    return problem["problem_id"], Output(prompt, text, outcome, kind)


def _revisions(run: Path) -> dict[str, str]:
    """What the last results of every model say of its revision: of a directory, the fingerprint."""
    found = {}
    results = run / "evaluation" / "results"
    for path in sorted(results.rglob("results_*.json")):
        *model, _, _ = path.relative_to(results).parts if len(path.relative_to(results).parts) > 2 else ("", "", "")
        revision = _of_json(path, "config_general", "model_config", "revision")
        if isinstance(revision, str) and revision:
            found["/".join(model)] = revision
    return found


def _of_json(path: Path, *keys: str) -> Any:
    """What stands at that place of a file; None if there is no such place."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _stages(run: Path, revisions: Mapping[str, str]) -> dict[str, Path]:
    """The directories of those models that were trained in this run, and are still what was evaluated."""
    directories = {fingerprint(state.parent): state.parent for state in sorted(run.glob("*/trainer_state.json"))}
    return {model: directories[found] for model, found in revisions.items() if found in directories}


def _parents(
    run: Path, revisions: Mapping[str, str], stages: Mapping[str, Path], settings: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    def names(model: str) -> set[str]:
        """What a training may have remembered a model by: its name on the Hub, or its weights in a directory."""
        if model in stages:
            directories = [stages[model], stages[model] / "merged"]
        else:
            known = [model_path(model) if model in BUILT_IN else model, *settings.get("generator_model", [])]
            directories = [
                path for path in map(Path, known) if path.is_dir() and fingerprint(path) == revisions[model]
            ]
        return {model, *(fingerprint(path, WEIGHTS) for path in directories if any(path.glob("*.safetensors")))}

    by_name = {name: model for model in revisions for name in names(model)}
    started = {model: _of_json(path / "trained_from.json", "model") for model, path in stages.items()}
    return {
        model: by_name[start]
        for model, start in started.items()
        if isinstance(start, str) and start in by_name and by_name[start] != model
    }


def _objective(stage: Path) -> str | None:
    """What a stage was trained by, as its card says."""
    try:
        text = (stage / "README.md").read_text(encoding="utf-8")[:5_000]
    except (OSError, ValueError):
        return None
    tags = re.findall(r"^- ([\w-]+)$", text.partition("\n---")[0], re.MULTILINE)
    return next((name for tag, name in TAGS.items() if tag in tags), None)


def _steps(
    evaluated: Evaluated, stages: Mapping[str, Path], revisions: Mapping[str, str], growers: set[str]
) -> Steps | None:
    """The ladder: its base alone wrote the trees, and is what all others are compared with, on every task."""
    for joint, sft in evaluated.parents.items():
        base = evaluated.parents.get(sft)
        if base is None or base in stages or growers != {revisions[base]}:
            continue
        if (_objective(stages[sft]), _objective(stages[joint])) != ("SFT", "joint"):
            continue
        rows = {model: [evaluated.row(model, task) for task in evaluated.tasks] for model in (base, sft, joint)}
        compared = all("difference" not in (row or {}) for row in rows[base]) and all(
            row and all(math.isfinite(row.get(name, math.nan)) for name in COMPARED)
            for row in (*rows[sft], *rows[joint])
        )
        if compared and all(rows[base]):
            return Steps(base, sft, joint)
    return None
