"""Results of lighteval, as the metadata of a model card."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import EvalResult

from ..errors import InvalidInputError


def read_results(paths: Iterable[Path | str]) -> list[EvalResult]:
    """
    Figures of one model from result files of lighteval.

    Args:
        paths (`Iterable[Path]`): Files `results_*.json`, or directories that hold such files; of the files in one
            directory the last, by name, counts.

    Returns:
        `list[EvalResult]`: One for every task and metric, sorted; standard errors and the average are left out.

    Raises:
        InvalidInputError: A file that is not there, or holds no results.
    """
    figures: dict[tuple[str, str], EvalResult] = {}
    for path in map(Path, paths):
        for file in result_files(path):
            for result in _read(file):
                figures[result.task_name, result.metric_type] = result
    return [figures[key] for key in sorted(figures)]


def result_files(path: Path) -> list[Path]:
    """
    The result files that a path stands for; see [`read_results`].

    Raises:
        InvalidInputError: There is none.
    """
    if path.is_dir():
        last = {file.parent: file for file in sorted(path.rglob("results_*.json"))}
        if not last:
            raise InvalidInputError(f"results {str(path)!r}: there is no results_*.json; give lighteval's results")
        return list(last.values())
    if not path.is_file():
        raise InvalidInputError(f"results {str(path)!r}: there is no such file; give lighteval's results_*.json")
    return [path]


def _read(path: Path) -> list[EvalResult]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tasks = {name: dict(metrics) for name, metrics in content["results"].items() if name != "all"}
        configs = content.get("config_tasks") or {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"results {str(path)!r}: it is not a results file of lighteval ({type(error).__name__}: {error})"
        ) from error
    results = []
    for task, metrics in tasks.items():
        name, _, shots = task.rpartition("|") if "|" in task else (task, "", "")
        config = configs.get(task) or configs.get(name) or {}
        splits = config.get("evaluation_splits") or ()
        results += [
            EvalResult(
                task_type="text-generation",
                task_name=name,
                dataset_type=config.get("hf_repo") or name.replace(":", "/"),
                dataset_name=name,
                dataset_config=config.get("hf_subset"),
                dataset_split=splits[0] if splits else None,
                dataset_args={"num_few_shot": int(shots)} if shots.isdigit() else None,
                metric_type=metric,
                metric_name=metric,
                metric_value=value,
            )
            for metric, value in metrics.items()
            if not metric.endswith(("_stderr", "_low", "_high"))  # of a figure: its error and interval
            and isinstance(value, (int, float))
            and math.isfinite(value)
        ]
    if not results:
        raise InvalidInputError(f"results {str(path)!r}: it holds no figures; run the evaluation again")
    return results
