"""TRL's GRPO on our rewards, of the starter model, with its sampled accuracy before and after on held-out problems.

    python benchmarks/grpo.py [--problems letters]

Some six minutes on two cores. At the end: the time of a batch of rewards, by processes kept between batches, and
by new ones.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from hf_treecot import LocalEngine, Problem, letters_reward, math_reward, planning_reward, starter_model
from hf_treecot.evaluation.outputs import answer_all
from hf_treecot.evaluation.statistics import Estimate, compare, estimate
from hf_treecot.problems.generators import generate_problems
from hf_treecot.verifiers.judging import judge_all
from hf_treecot.verifiers.worker import VerifierPool, verifier_pool


REWARDS = {"letters": letters_reward, "arithmetic": math_reward, "blocks": planning_reward}
MAX_NEW_TOKENS = 256
HELD_OUT_SEED = 2_000_000


def samples(model: Path, problems: Sequence[Problem], temperature: float, count: int) -> dict[str, list[float]]:
    """Figures of a model's outputs, each the mean over the samples of a problem."""
    engine = LocalEngine.from_pretrained(str(model))
    rounds = [
        answer_all(problems, engine, max_new_tokens=MAX_NEW_TOKENS, temperature=temperature, seed=seed)
        for seed in range(count)
    ]
    by_problem = list(zip(*rounds, strict=True))
    return {
        "right": [sum(output.reward for output in outputs) / count for outputs in by_problem],
        "no answer": [sum(bool(output.no_answer) for output in outputs) / count for outputs in by_problem],
        "tokens": [sum(output.tokens for output in outputs) / count for outputs in by_problem],
    }


def train(kind: str, problems: Sequence[Problem], arguments: argparse.Namespace) -> Path:
    """Train the starter model as the guide says; where it is."""
    rows = [{**asdict(problem), "prompt": [{"role": "user", "content": problem.prompt}]} for problem in problems]
    trainer = GRPOTrainer(
        str(starter_model()),
        reward_funcs=[partial(REWARDS[kind], no_answer_penalty=arguments.no_answer_penalty)],
        args=GRPOConfig(
            str(arguments.output_dir), max_steps=arguments.steps, learning_rate=arguments.learning_rate,
            per_device_train_batch_size=arguments.batch_size, num_generations=arguments.num_generations,
            max_completion_length=MAX_NEW_TOKENS, lr_scheduler_type="constant_with_warmup", warmup_steps=5,
            gradient_checkpointing=False, use_cpu=True, bf16=False, report_to="none", save_strategy="no",
            seed=arguments.seed, logging_steps=10,
        ),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    return arguments.output_dir


def seconds_of_a_batch(problems: Sequence[Problem], pool: VerifierPool | None) -> float:
    """The median time to judge a batch of outputs, by processes that are kept or by new ones."""
    texts = [rf"<answer>The answer is: \boxed{{{number % 12}}}</answer>" for number in range(len(problems))]
    times = []
    for _ in range(8):
        start = time.perf_counter()
        asyncio.run(judge_all(texts, problems, [0] * len(texts), [False] * len(texts), pool))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])  # the first starts what is kept


def percent(figure: Estimate) -> str:
    """A share, with its interval."""
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", choices=REWARDS, default="arithmetic", help="The kind of problems.")
    parser.add_argument("--steps", type=int, default=80, help="Optimiser steps.")
    parser.add_argument("--batch_size", type=int, default=64, help="Completions a step.")
    parser.add_argument("--num_generations", type=int, default=8, help="Completions of one problem.")
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--no_answer_penalty", type=float, default=0.5)
    parser.add_argument("--held_out", type=int, default=200, help="Held-out problems.")
    parser.add_argument("--samples", type=int, default=4, help="Sampled outputs of each of them, at temperature 1.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/grpo"), help="Where the model goes.")
    arguments = parser.parse_args()
    held_out = list(generate_problems(arguments.problems, arguments.held_out, HELD_OUT_SEED))
    known = {problem.prompt for problem in held_out}
    count = arguments.steps * arguments.batch_size // arguments.num_generations
    problems = [p for p in generate_problems(arguments.problems, 2 * count, arguments.seed) if p.prompt not in known]
    start = time.perf_counter()
    models = {"starter": starter_model(), "after GRPO": train(arguments.problems, problems[:count], arguments)}
    seconds = time.perf_counter() - start
    decodings = {"sampled": (1.0, arguments.samples), "greedy": (0.0, 1)}
    figures = {
        name: {d: samples(path, held_out, *how) for d, how in decodings.items()} for name, path in models.items()
    }
    print("| model | decoding | right | no answer | tokens |\n| --- | --- | --- | --- | --- |")
    for decoding in decodings:
        for name in models:
            right, silent, tokens = (estimate(values) for values in figures[name][decoding].values())
            print(f"| {name} | {decoding} | {percent(right)} | {percent(silent)} | {tokens.value:.0f} |")
    for decoding in decodings:
        gain = compare(*(figures[name][decoding]["right"] for name in models))
        print(f"{decoding}, after - before: {percent(gain.difference)}, p = {gain.p_value:.4f}")
    print(f"{arguments.steps} steps in {seconds:.0f} s")
    batch = held_out[: arguments.batch_size]
    kept, new = (seconds_of_a_batch(batch, pool) for pool in (verifier_pool(), None))
    print(f"{len(batch)} rewards: {kept:.3f} s by processes that are kept, {new:.3f} s by new ones")


if __name__ == "__main__":
    main()
