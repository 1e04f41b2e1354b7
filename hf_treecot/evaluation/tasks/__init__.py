"""The benchmarks of the paper as lighteval tasks, and two that run without a network.

    lighteval accelerate "model_name=…" "treecot:gsm8k|0" --custom-tasks hf_treecot.evaluation.tasks

A benchmark is one file. Its metrics are those of `evaluation.metrics`.
"""

from lighteval.tasks.lighteval_task import LightevalTaskConfig

from . import (
    aime24,
    aime25,
    arithmetic,
    blocksworld,
    gsm8k,
    ifeval,
    letters,
    math_500,
    multi_if,
)
from .benchmark import Benchmark, TaskOptions


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        gsm8k.BENCHMARK,
        math_500.BENCHMARK,
        aime24.BENCHMARK,
        aime25.BENCHMARK,
        blocksworld.BENCHMARK,
        ifeval.BENCHMARK,
        multi_if.BENCHMARK,
        *multi_if.BY_LANGUAGE,
        letters.BENCHMARK,
        arithmetic.BENCHMARK,
    )
}


def make_tasks(options: TaskOptions) -> list[LightevalTaskConfig]:
    """All tasks, for lighteval."""
    return [benchmark.config(options) for benchmark in BENCHMARKS.values()]


TASKS_TABLE = make_tasks(TaskOptions.from_environment())

__all__ = ["BENCHMARKS", "TASKS_TABLE", "Benchmark", "TaskOptions", "make_tasks"]
