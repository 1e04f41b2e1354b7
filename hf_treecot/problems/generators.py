"""Problems that are made up, as many as you like, from a seed.

Letters, arithmetic and blocks are of the kinds that the starter model was trained for, but hardly one is among its
training problems.
"""

import json
import random
from collections.abc import Iterator

from ..base import Problem
from ..domains import arithmetic, blocks, blocksworld, letters


# Parts of a kind of problems: questions that need no thought, and those that do.
EASY, HARD = "easy", "hard"
PARTS = {
    "letters": {
        EASY: lambda task: len(task.word) <= 7 and task.result <= 2,
        HARD: lambda task: len(task.word) >= 11 and task.result >= 4,
    },
    "arithmetic": {
        EASY: lambda task: len(task.steps) == 2 and all(operator != "*" for operator, _ in task.steps),
        HARD: lambda task: len(task.steps) == 3 and any(operator == "*" for operator, _ in task.steps),
    },
    "blocks": {
        EASY: lambda task: len(blocksworld.solve(task.world)) == 2,
        HARD: lambda task: len(blocksworld.solve(task.world)) >= 6,
    },
}
KINDS = ("letters", "arithmetic", "blocks", "blocksworld", "instructions")
GENERATORS = (*KINDS, *(f"{kind}-{part}" for kind, parts in PARTS.items() for part in parts))


def generate_problems(generator: str, count: int, seed: int) -> Iterator[Problem]:
    """
    Make problems.

    Args:
        generator (`str`): `"letters"`, `"arithmetic"`, `"blocks"` (Blocksworld with 3 blocks, in few words),
            `"blocksworld"` (3 to 6 blocks, in PlanBench's words) or `"instructions"` (1 to 3 instructions); of the
            first three also `"letters-easy"`, `"letters-hard"` and so on.
        count (`int`): How many.
        seed (`int`): The same seed makes the same problems.
    """
    rng = random.Random(f"{generator} problems {seed}")
    for index in range(count):
        prompt, answer, verifier = _random_task(generator, rng)
        yield Problem(
            f"{generator}-{seed}-{index}",
            prompt,
            answer,
            verifier,
            f"hf_treecot/{generator.partition('-')[0]}",
            "apache-2.0",
        )


def _random_task(generator: str, rng: random.Random) -> tuple[str, str, str]:
    """Prompt, answer and verifier of a made-up problem."""
    if generator == "blocksworld":
        world = blocksworld.random_problem(rng.randint(3, 6), rng)
        return blocksworld.to_query(world), blocksworld.to_pddl(world), "planning"
    if generator == "instructions":
        from .instructions import random_instructions

        prompt, instructions = random_instructions(rng)
        return prompt, json.dumps({"instructions": instructions}), "instructions"
    kind, _, part = generator.partition("-")
    module = {"letters": letters, "arithmetic": arithmetic, "blocks": blocks}[kind]
    task = module.random_task(rng)
    while part and not PARTS[kind][part](task):
        task = module.random_task(rng)
    return task.prompt, task.gold, task.verifier
