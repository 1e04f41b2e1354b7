"""Blocksworld: plan generation of PlanBench, with one example (Valmeekam et al. 2023, arXiv 2206.10498; MIT).

A plan is followed step by step; any that reaches the goal is right, not only the gold one.
"""

from .benchmark import Benchmark


BENCHMARK = Benchmark(
    "blocksworld", "tasksource/planbench", ("planbench", "pddl"), subset="task_1_plan_generation", split="train"
)
