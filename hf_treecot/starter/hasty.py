"""The hasty model: the starter after some more steps on direct answers. It can think, and answers at once.

It is the miniature of the student that the paper is about: a model that has the skill and does not use it. A search
puts the tags of thoughts before it, and it thinks; trained on what it then wrote, it thinks by itself.
"""

import hashlib
import json
import random
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from ..errors import InvalidInputError
from ..mcts.pattern import available_patterns, load_pattern
from .chains import Segment, write_chain
from .training import (
    SHARES_OF_TASKS,
    StarterRecipe,
    find_or_train,
    fit,
    recipe_hash,
    starter_model,
)


@dataclass(frozen=True)
class HastyRecipe:
    """
    Everything that the hasty model's weights depend on.

    Args:
        starter ([`StarterRecipe`]): What it starts from.
        seed (`int`): Seed of the data and of the order of the examples.
        num_steps (`int`): Optimiser steps.
        learning_rate (`float`): Peak learning rate, with the starter's schedule.
        direct_share (`float`): Share of examples that are answered without a thought; the rest are chains like the
            starter's, so that it does not forget how to think.

    Raises:
        InvalidInputError: A number is out of range.
    """

    starter: StarterRecipe = field(default_factory=StarterRecipe)
    seed: int = 77
    num_steps: int = 150
    learning_rate: float = 5e-4
    direct_share: float = 0.85

    def __post_init__(self):
        if self.num_steps < 1:
            raise InvalidInputError(f"num_steps={self.num_steps} is out of range: it must be at least 1")
        if not 0 <= self.direct_share <= 1:
            raise InvalidInputError(f"direct_share={self.direct_share} is out of range: it must be from 0 to 1")


def hasty_examples(recipe: HastyRecipe, count: int) -> list[tuple[str, list[Segment]]]:
    """The first `count` examples of a recipe, as (prompt, segments of the completion)."""
    rng = random.Random(f"hasty data {recipe.seed}")
    patterns = [load_pattern(name) for name in available_patterns()]
    examples = []
    for _ in range(count):
        task = rng.choices(list(SHARES_OF_TASKS), list(SHARES_OF_TASKS.values()))[0].random_task(rng)
        if rng.random() < recipe.direct_share:
            _, result = task.work(task.styles[-1][0], rng)
            segments = [Segment(f"\\boxed{{{task.answer(result)}}}", True)]
        else:
            segments = write_chain(task, rng.choice(patterns), rng)
        examples.append((task.prompt, segments))
    return examples


def hasty_hash(recipe: HastyRecipe) -> str:
    """A hash of the recipe, of its starter's and of the data that it makes."""
    sample = [(prompt, [asdict(segment) for segment in segments]) for prompt, segments in hasty_examples(recipe, 200)]
    own = {name: value for name, value in asdict(recipe).items() if name != "starter"}
    content = json.dumps([recipe_hash(recipe.starter), own, sample])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def hasty_model(recipe: HastyRecipe | None = None, directory: Path | None = None) -> Path:
    """
    The directory of the hasty model; trains it first if its weights neither come with the package nor are there.

    Args:
        recipe ([`HastyRecipe`], *optional*): Defaults to the recipe that the project is tested with.
        directory (`Path`, *optional*): Where to train it, if not there yet. Defaults to the weights of the package,
            if they are of this recipe, and to [`cache_directory`] otherwise.

    Returns:
        `Path`: A directory that `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` take.
    """
    recipe = recipe or HastyRecipe()
    return find_or_train(f"hasty-{hasty_hash(recipe)}", directory, partial(_train, recipe))


def _train(recipe: HastyRecipe, output_dir: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    start = starter_model(recipe.starter)
    how = replace(recipe.starter, seed=recipe.seed, num_steps=recipe.num_steps, learning_rate=recipe.learning_rate)
    fit(
        lambda: AutoModelForCausalLM.from_pretrained(start),
        AutoTokenizer.from_pretrained(start),
        hasty_examples(recipe, recipe.num_steps * how.batch_size),
        how,
        output_dir,
        asdict(recipe),
    )
