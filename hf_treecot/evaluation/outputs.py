"""Answer problems with an engine, and say how often it is right, and how often it has no answer at all.

This room knows engines and verifiers, nothing of lighteval, searches or training: the ablation asks for outputs here,
as lighteval's tasks would weigh too much for hundreds of small evaluations.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm.asyncio import tqdm_asyncio

from ..base import Problem
from ..engines.engine import Completion, Engine, Request
from ..verifiers.diagnostics import answer_thought, has_answer, repetition
from ..verifiers.worker import rewards_of


@dataclass(frozen=True)
class Answer:
    """
    One output for one problem.

    Args:
        problem_id (`str`): The problem.
        text (`str`): The whole output.
        tokens (`int`): Its length.
        truncated (`bool`): Whether it ran into its limit.
        reward (`float`, *optional*): The verifier's; None if the verifier failed.
    """

    problem_id: str
    text: str
    tokens: int
    truncated: bool
    reward: float | None


def answer_all(
    problems: Sequence[Problem],
    engine: Engine,
    *,
    max_new_tokens: int = 1024,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Answer]:
    """
    One output for every problem.

    Args:
        problems (`Sequence[Problem]`): What to answer.
        engine ([`Engine`]): Who answers.
        max_new_tokens (`int`): Tokens of an output.
        temperature, top_p (`float`): Sampling; temperature 0 is greedy.
        seed (`int`): Of the samples.

    Returns:
        `list[Answer]`: In the order of the problems.
    """

    async def answer(problem: Problem) -> Completion:
        digest = hashlib.blake2b(f"{seed}/{problem.problem_id}".encode(), digest_size=4).digest()
        prompt = engine.render_chat([{"role": "user", "content": problem.prompt}])
        return await engine.generate(Request(prompt, (), max_new_tokens, temperature, top_p, int.from_bytes(digest)))

    async def run() -> tuple[list[Completion], list[float | None]]:
        completions = await tqdm_asyncio.gather(*map(answer, problems), desc="Answers", unit="problem")
        return completions, await rewards_of([answer_thought(c.text) for c in completions], problems)

    return [
        Answer(problem.problem_id, completion.text, completion.tokens, completion.finish_reason == "length", reward)
        for problem, completion, reward in zip(problems, *asyncio.run(run()), strict=True)
    ]


def summarize(answers: Sequence[Answer]) -> dict[str, float]:
    """
    Accuracy and how outputs fail, as shares of all outputs; `length` in tokens.

    Args:
        answers (`Sequence[Answer]`): At least one.
    """
    count = len(answers)
    rewards = [answer.reward for answer in answers if answer.reward is not None]
    return {
        "accuracy": sum(reward > 0.5 for reward in rewards) / max(len(rewards), 1),
        "no_answer_rate": sum(not has_answer(answer.text) for answer in answers) / count,
        "truncated": sum(answer.truncated for answer in answers) / count,
        "repetition": sum(repetition(answer.text) for answer in answers) / count,
        "length": sum(answer.tokens for answer in answers) / count,
        "verifier_failures": (count - len(rewards)) / count,
    }
