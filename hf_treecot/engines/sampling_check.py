"""Whether a server samples at all when it is asked to: some do not, and say nothing."""

import logging
import math

from ..errors import ContextLengthError, InvalidInputError
from .engine import Completion, Engine, Request


logger = logging.getLogger(__name__)
# Nothing that follows is likely. One after the other, until two answers to one of them differ.
PROMPTS = ("Write thirty random words.", "Write a long story.", "Random letters: q7x")
NUM_SEEDS = 4
NUM_TOKENS = 32
CHANCE = 1e-6  # that a server which samples is taken for one that does not
LONG = 48  # tokens that cannot be alike by chance, where a server does not tell its log-probabilities


async def check_sampling(url: str, engine: Engine) -> None:
    """
    Ask a server with some seeds, at temperature 1: where all answers are alike, it does not sample.

    A model may be sure of what it says, and a short answer proves nothing. So answers must differ by their
    log-probabilities, where the server tells them, or by their length; else there is a warning.

    Args:
        url (`str`): The server.
        engine ([`Engine`]): Asks it.

    Raises:
        InvalidInputError: It does not sample.
        TransientEngineError, EngineError: It failed.
    """
    alike = []
    for text in PROMPTS:
        prompt = engine.render_chat([{"role": "user", "content": text}])
        completions = []
        for seed in range(1, NUM_SEEDS + 1):
            try:
                completions.append(await engine.generate(Request(prompt, (), NUM_TOKENS, 1.0, 1.0, seed)))
            except ContextLengthError:
                return  # a context too short for one sentence
            if completions[-1].text != completions[0].text:
                return
        alike.append(completions[0])
    if _must_differ(alike):
        raise InvalidInputError(
            f"server {url} answers every seed alike at temperature 1: it does not sample, and all thoughts of a node "
            "would be one. Start it with sampling on (transformers serve samples only if the model's "
            "generation_config.json has do_sample, and with continuous batching keeps the settings of the first "
            "request that it ever got), or set temperature to 0"
        )
    logger.warning("server %s answers some seeds alike at temperature 1: see whether it samples", url)


def _must_differ(alike: list[Completion]) -> bool:
    """Whether answers that are alike for all seeds cannot come of sampling."""
    told = [completion.log_probability for completion in alike]
    if None in told:
        return sum(completion.tokens for completion in alike) >= LONG
    return (NUM_SEEDS - 1) * math.fsum(told) < math.log(CHANCE)
