"""The benchmarks of the paper, and two that run without a network; a benchmark is one file.

    lighteval accelerate "model_name=…" "treecot:gsm8k|0" --custom-tasks hf_treecot.evaluation.tasks
    inspect eval hf_treecot/gsm8k --model …

Their figures are those of `evaluation.metrics`, whoever runs them.
"""

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


def __getattr__(name: str):
    """`TASKS_TABLE`, which lighteval looks for, made when it does: Inspect needs no lighteval."""
    if name == "TASKS_TABLE":
        from ..lighteval_tasks import make_tasks

        return make_tasks(BENCHMARKS.values(), TaskOptions.from_environment())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["BENCHMARKS", "Benchmark", "TaskOptions"]
