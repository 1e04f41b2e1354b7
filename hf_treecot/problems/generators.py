"""Problems that are made up, as many as you like, from a seed.

Letters, arithmetic and blocks are of the kinds that the starter model was trained for, but hardly one is among its
training problems.
"""

import json
import random
from collections.abc import Iterator

from ..base import Problem
from ..domains import arithmetic, blocks, blocksworld, letters


GENERATORS = ("letters", "arithmetic", "blocks", "blocksworld", "instructions")


def generate_problems(generator: str, count: int, seed: int) -> Iterator[Problem]:
    """
    Make problems.

    Args:
        generator (`str`): `"letters"`, `"arithmetic"`, `"blocks"` (Blocksworld with 3 blocks, in few words),
            `"blocksworld"` (3 to 6 blocks, in PlanBench's words) or `"instructions"` (1 to 3 instructions).
        count (`int`): How many.
        seed (`int`): The same seed makes the same problems.
    """
    rng = random.Random(f"{generator} problems {seed}")
    for index in range(count):
        prompt, answer, verifier = _random_task(generator, rng)
        yield Problem(f"{generator}-{seed}-{index}", prompt, answer, verifier, f"hf_treecot/{generator}", "apache-2.0")


def _random_task(generator: str, rng: random.Random) -> tuple[str, str, str]:
    """Prompt, answer and verifier of a made-up problem."""
    if generator == "blocksworld":
        world = blocksworld.random_problem(rng.randint(3, 6), rng)
        return blocksworld.to_query(world), blocksworld.to_pddl(world), "planning"
    if generator == "instructions":
        from .instructions import random_instructions

        prompt, instructions = random_instructions(rng)
        return prompt, json.dumps({"instructions": instructions}), "instructions"
    task = {"letters": letters, "arithmetic": arithmetic, "blocks": blocks}[generator].random_task(rng)
    return task.prompt, task.gold, task.verifier
