"""Results on benchmarks that the Hub knows: files of `.eval_results/`, which model pages and leaderboards show.

A dataset is a benchmark if it holds an `eval.yaml`, which names its tasks. Only whole runs are results of a benchmark;
all others stay in the card's metadata, where [`~hub.evaluation_results`] puts every figure.
"""

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, HfApi, eval_result_entries_to_yaml
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from .evaluation_results import result_files
from .repository import HUB_NAME, with_retries


logger = logging.getLogger(__name__)
FOLDER, PREFIX = ".eval_results", "treecot_"
METRIC = "accuracy"
DECODINGS = ("greedy", "sample", "mcts")  # the first that was run is what is shown
DATE = re.compile(r"results_(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d)")


@dataclass(frozen=True)
class BenchmarkRun:
    """
    One model on one dataset of the Hub.

    Args:
        dataset, config, split (`str`): What was answered.
        value (`float`): Accuracy, from 0 to 1.
        decoding (`str`): How; empty where that is not known.
        date (`str`, *optional*): When, as ISO 8601.
        notes (`str`): What else there is to know of it.
    """

    dataset: str
    config: str
    split: str
    value: float
    decoding: str
    date: str | None
    notes: str


def read_runs(paths: Iterable[Path | str]) -> list[BenchmarkRun]:
    """
    The whole runs in result files of lighteval, on datasets of the Hub; others are left out, with a word why.

    Args:
        paths (`Iterable[Path]`): As of [`~hub.evaluation_results.read_results`].
    """
    return [run for path in map(Path, paths) for file in result_files(path) for run in _runs(file)]


def _runs(file: Path) -> list[BenchmarkRun]:
    content = json.loads(file.read_text(encoding="utf-8"))
    model = (content.get("config_general") or {}).get("model_config") or {}
    decoding, date = model.get("decoding", ""), DATE.match(file.name)
    runs = []
    for task, metrics in content["results"].items():
        config = (content.get("config_tasks") or {}).get(task) or {}
        dataset, splits = str(config.get("hf_repo") or ""), config.get("evaluation_splits") or ()
        if METRIC not in metrics or not HUB_NAME.fullmatch(dataset) or Path(dataset).is_dir() or not splits:
            continue
        asked, all_problems = config.get("effective_num_docs") or 0, config.get("original_num_docs") or 0
        if asked < all_problems:
            logger.warning("%s: %d of %d problems are no result of a benchmark", task, asked, all_problems)
            continue
        notes = [decoding, f"{config.get('num_fewshots') or 0} shots"]
        if "no_answer_rate" in metrics:
            notes.append(f"no answer {100 * metrics['no_answer_rate']:.1f} %")
        runs.append(
            BenchmarkRun(
                dataset, str(config.get("hf_subset") or "default"), str(splits[0]), float(metrics[METRIC]), decoding,
                f"{date[1]}:{date[2]}:{date[3]}Z" if date else None, ", ".join(filter(None, notes)),
            )
        )  # fmt: skip
    return runs


def find_entries(runs: Sequence[BenchmarkRun], api: HfApi, source_url: str | None = None) -> list[EvalResultEntry]:
    """
    The runs whose dataset is a benchmark of the Hub, as it shows them: accuracy in percent.

    Args:
        runs (`Sequence[BenchmarkRun]`): As of [`read_runs`].
        api ([`~huggingface_hub.HfApi`]): Asks the Hub which datasets are benchmarks.
        source_url (`str`, *optional*): Where everybody can look at the outputs.

    Raises:
        HubError: The Hub kept failing.
    """
    order = {name: place for place, name in enumerate(DECODINGS)}
    entries: dict[tuple[str, str], EvalResultEntry] = {}
    for run in sorted(runs, key=lambda run: order.get(run.decoding, len(order))):
        task = _task_of(run, _benchmark_tasks(api, run.dataset))
        if task is not None and (run.dataset, task) not in entries:
            entries[run.dataset, task] = EvalResultEntry(
                run.dataset, task, round(100 * run.value, 2), date=run.date, notes=run.notes, source_url=source_url,
                source_name="outputs" if source_url else None,
            )  # fmt: skip
    return list(entries.values())


def _benchmark_tasks(api: HfApi, dataset: str) -> list[dict]:
    """The tasks in a dataset's `eval.yaml`; none if it is no benchmark."""
    try:
        path = with_retries(lambda: api.hf_hub_download(dataset, "eval.yaml", repo_type="dataset"))
    except (EntryNotFoundError, RepositoryNotFoundError):
        return []
    tasks = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("tasks")
    return [task for task in tasks or () if isinstance(task, dict) and task.get("id")]


def _task_of(run: BenchmarkRun, tasks: Sequence[dict]) -> str | None:
    """The task that a run did: that of its configuration and split, which a task may leave open."""
    fitting = [
        task["id"]
        for task in tasks
        if task.get("config", run.config) == run.config and task.get("split", run.split) == run.split
    ]
    return str(fitting[0]) if len(fitting) == 1 else None


def write_entries(entries: Sequence[EvalResultEntry], directory: Path) -> dict[str, Path]:
    """
    Write a file for every dataset.

    Args:
        entries (`Sequence[EvalResultEntry]`): As of [`find_entries`].
        directory (`Path`): Where they are written.

    Returns:
        `dict[str, Path]`: The files by their paths in a model's repository.
    """
    files = {}
    for dataset in dict.fromkeys(entry.dataset_id for entry in entries):
        name = f"{PREFIX}{dataset.replace('/', '_')}.yaml"
        content = eval_result_entries_to_yaml([entry for entry in entries if entry.dataset_id == dataset])
        path = directory / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        files[f"{FOLDER}/{name}"] = path
    return files
