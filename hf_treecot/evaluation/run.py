"""One model, some tasks, one way of decoding: run by lighteval, which keeps and pushes results and details.

This module knows lighteval's pipeline. It must not know how models are loaded, nor how runs are compared.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from ..errors import InvalidInputError
from . import lighteval_compat as compat


compat.prepare()  # before anything of lighteval is imported

from lighteval.logging.evaluation_tracker import EvaluationTracker  # noqa: E402
from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters  # noqa: E402
from lighteval.tasks.lighteval_task import LightevalTask  # noqa: E402

from ..base import Problem  # noqa: E402
from ..engines.engine import Engine, Valuer  # noqa: E402
from .budgets import check_budgets  # noqa: E402
from .engine_model import EngineModel, EngineModelConfig  # noqa: E402
from .lighteval_tasks import make_task, make_tasks  # noqa: E402
from .metrics import INSTRUCTIONS, REASONING  # noqa: E402
from .replies import check_gold  # noqa: E402
from .tasks import BENCHMARKS, Benchmark, TaskOptions  # noqa: E402


@dataclass(frozen=True)
class Figures:
    """
    What one run found out about one task.

    Args:
        model (`str`): The model's name.
        decoding (`str`): How it was decoded.
        task (`str`): The benchmark's name.
        values (`dict[str, dict[str, float]]`): Of every metric, the value of every problem, by the problem's id.
        results (`dict[str, float]`): The aggregated figures, as lighteval keeps them: `accuracy`, `accuracy_stderr`,
            `accuracy_low`, `accuracy_high`, and so on.
    """

    model: str
    decoding: str
    task: str
    values: dict[str, dict[str, float]]
    results: dict[str, float]


def choose_benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """
    Benchmarks by name, with or without `treecot:`.

    Raises:
        InvalidInputError: There is no such benchmark.
    """
    short = [name.removeprefix("treecot:").partition("|")[0] for name in names]
    for name in short:
        if name not in BENCHMARKS:
            raise InvalidInputError(f"task {name!r} is unknown: use some of {', '.join(BENCHMARKS)}")
    return [BENCHMARKS[name] for name in dict.fromkeys(short)]


def benchmark_of_problems(source: str, problems: Sequence[Problem], directory: Path) -> Benchmark:
    """
    Problems of one's own as a benchmark.

    Args:
        source (`str`): Where they are from; names the task.
        problems (`Sequence[Problem]`): The problems, of one turn each.
        directory (`Path`): They are written to a directory in it, which lighteval reads.
    """
    rows = "".join(json.dumps(asdict(problem)) + "\n" for problem in problems)
    name = re.sub(r"[^\w.-]+", "_", Path(source).stem if Path(source).exists() else source)
    digest = hashlib.sha256(rows.encode()).hexdigest()[:12]
    target = directory / f"{name}-{digest}"
    target.mkdir(parents=True, exist_ok=True)
    (target / f"test-{digest}.jsonl").write_text(rows, encoding="utf-8")
    kind = INSTRUCTIONS if {problem.verifier for problem in problems} == {"instructions"} else REASONING
    return Benchmark(name, str(target), ("treecot",), kind=kind)


def check_tasks(benchmarks: Sequence[Benchmark], options: TaskOptions, limit: int | None) -> None:
    """
    See that every dataset can be had and every gold answer read, before a model is loaded.

    Raises:
        InvalidInputError: One cannot.
    """
    for benchmark in benchmarks:
        if options.budgets:
            check_budgets(options.budgets, options.generation_size or benchmark.generation_size)
            if benchmark.kind != REASONING:
                raise InvalidInputError(
                    f"task {benchmark.name!r} asks for no single answer that could be forced: leave out budgets"
                )
        task = LightevalTask(make_task(benchmark, options))
        try:
            docs = task.get_docs(limit)
        except InvalidInputError:
            raise
        except Exception as error:  # datasets raises all kinds for a dataset that is not there
            reason = " ".join(str(error).split())[:200]
            raise InvalidInputError(
                f"task {benchmark.name!r}: the dataset {task.dataset_path!r} cannot be loaded ({reason}): give a "
                "directory with its rows as data, or connect to the Hub"
            ) from error
        for doc in docs:
            for problem in doc.specific["problems"]:
                check_gold(Problem(**problem))


def evaluate(
    open_engine: Callable[[], AbstractAsyncContextManager[Engine]],
    config: EngineModelConfig,
    benchmarks: Sequence[Benchmark],
    options: TaskOptions,
    output_dir: Path,
    *,
    value_model: Valuer | None = None,
    limit: int | None = None,
    results_org: str | None = None,
    public: bool = False,
) -> list[Figures]:
    """
    Evaluate a model, and save results and details in lighteval's layout.

    Args:
        open_engine (`Callable`): Opens the model; see [`EngineModel`].
        config ([`EngineModelConfig`]): Its name and decoding.
        benchmarks (`Sequence[Benchmark]`): The tasks.
        options ([`TaskOptions`]): How they are made.
        output_dir (`Path`): Where `results` and `details` go.
        value_model ([`ValueModel`], *optional*): The one that `config` names.
        limit (`int`, *optional*): At most so many problems of each task, always the same ones.
        results_org (`str`, *optional*): Push results and details to this user or organization of the Hub.
        public (`bool`): Push them for everybody to see.

    Returns:
        `list[Figures]`: One for every task.
    """
    tracker = EvaluationTracker(
        output_dir=str(output_dir), save_details=True, push_to_hub=results_org is not None,
        hub_results_org=results_org or "", public=public,
    )  # fmt: skip
    module = ModuleType("hf_treecot_tasks")
    module.TASKS_TABLE = make_tasks(benchmarks, options)
    parameters = PipelineParameters(
        launcher_type=ParallelismManager.CUSTOM, custom_tasks_directory=module, max_samples=limit,
        # Thoughts are what is measured.
        remove_reasoning_tags=False,
    )  # fmt: skip
    pipeline = Pipeline(
        tasks=",".join(f"{benchmark.task_name}|0" for benchmark in benchmarks),
        pipeline_parameters=parameters,
        evaluation_tracker=tracker,
        model=EngineModel(open_engine, config, value_model),
    )
    pipeline.evaluate()
    logger = tracker.metrics_logger
    compat.drop_foreign_metrics(logger.metric_aggregated, logger.metrics_values)
    pipeline.save_and_push_results()
    return [_figures(benchmark, config, tracker) for benchmark in benchmarks]


def _figures(benchmark: Benchmark, config: EngineModelConfig, tracker: EvaluationTracker) -> Figures:
    name = f"{benchmark.task_name}|0"
    ids = [detail.doc.specific["problems"][0]["problem_id"] for detail in tracker.details_logger.details[name]]
    values = {
        metric: dict(zip(ids, column, strict=True))
        for metric, column in tracker.metrics_logger.metrics_values[name].items()
        if len(column) == len(ids)
    }
    results = dict(tracker.metrics_logger.metric_aggregated[name])
    model = config.model_name.rpartition("/")[0]
    return Figures(model, config.decoding, benchmark.name, values, results)
