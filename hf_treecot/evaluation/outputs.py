"""Ask a model for outputs: the one way from a conversation to a completion, and answers to many problems, judged.

It knows engines and verifiers, nothing of lighteval, searches or training.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tqdm.asyncio import tqdm_asyncio

from ..base import Problem
from ..engines.engine import Completion, Engine, Request, seed_of
from ..errors import ContextLengthError
from ..think_blocks import opened_by
from ..verifiers.judging import Judged, judge_all


async def reply(
    engine: Engine, messages: list[dict[str, str]], max_new_tokens: int, temperature: float, top_p: float, seed: int
) -> Completion:
    """
    A model's reply in a conversation; an empty one that was cut off if there is no room for it in its context. If the
    chat template opens a think block for the model, the reply begins with it, so that it says where thinking ends.

    Args:
        engine ([`Engine`]): Who replies.
        messages (`list[dict[str, str]]`): The conversation, with `role` and `content`.
        max_new_tokens (`int`): Tokens of the reply.
        temperature, top_p (`float`): Sampling; temperature 0 is greedy.
        seed (`int`): Of the sample.
    """
    request = Request(engine.render_chat(messages), (), max_new_tokens, temperature, top_p, seed)
    try:
        completion = await engine.generate(request)
    except ContextLengthError:
        completion = Completion("", "length", 0, 0)
    return replace(completion, text=opened_by(request.prompt) + completion.text)


def answer_all(
    problems: Sequence[Problem],
    engine: Engine,
    *,
    max_new_tokens: int = 1024,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Judged]:
    """
    One judged output for every problem, in their order.

    Args:
        problems (`Sequence[Problem]`): What to answer.
        engine ([`Engine`]): Who answers.
        max_new_tokens (`int`): Tokens of an output.
        temperature, top_p (`float`): Sampling; temperature 0 is greedy.
        seed (`int`): Of the samples.
    """

    def ask(problem: Problem):
        messages = [{"role": "user", "content": problem.prompt}]
        return reply(engine, messages, max_new_tokens, temperature, top_p, seed_of(seed, problem.problem_id))

    async def run() -> list[Judged]:
        completions = await tqdm_asyncio.gather(*map(ask, problems), desc="Answers", unit="problem")
        texts, tokens = [c.text for c in completions], [c.tokens for c in completions]
        return await judge_all(texts, problems, tokens, [c.finish_reason == "length" for c in completions])

    return asyncio.run(run())
