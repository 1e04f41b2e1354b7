"""Training of a value model on trees: how likely a chain of thoughts is to end in a right answer.

    treecot value --config starter --dataset runs/demo
    accelerate launch recipes/value.py --config value/qwen2.5-1.5b --dataset user/name

Its target is the Monte Carlo value v/N of every thought. The trees of some problems are held out; eval_results.json
and the model's card say how well it ranks their thoughts and answers, beside log-probabilities and depth. Run the same
command again after any interruption: it goes on from the last checkpoint.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import InvalidInputError
from ..mcts.tree import Tree
from ..selection.formats import FORMATS
from .parser import parse, run


@dataclass
class ValueArguments:
    """Which trees are learnt from, and which are held out."""

    dataset: str = field(metadata={"help": "Hub name of a dataset of trees, or the directory of a run."})
    format: str = field(default="tags", metadata={"help": f"How chains are written: {', '.join(FORMATS)}."})
    without_corrections: bool = field(
        default=False, metadata={"help": "Leave out chains with a thought that was added since an answer was wrong."}
    )
    critic: str | None = field(
        default=None,
        metadata={
            "help": "Hub name or directory of a value model that was trained on other trees: where it and a search "
            "disagree about a thought, nothing is learnt of it."
        },
    )
    held_out_share: float = field(
        default=0.1,
        metadata={"help": "Share of the problems whose trees are not learnt from; the model is judged by."},
    )

    def __post_init__(self):
        if self.format not in FORMATS:
            raise InvalidInputError(f"format={self.format!r} is unknown: use one of {', '.join(FORMATS)}")
        if not 0 < self.held_out_share < 1:
            raise InvalidInputError(
                f"held_out_share={self.held_out_share} is out of range: it must be above 0 and below 1"
            )


def kinds() -> tuple[type, ...]:
    """The classes that the command line is read into."""
    from trl import ModelConfig

    from ..trainers import ValueConfig

    return ValueArguments, ValueConfig, ModelConfig


def _agreed(rows: list[dict], critic) -> list[dict]:
    """The rows without the values that a critic contradicts; says how many these are."""
    from ..selection.values import agreed

    scores = critic.score_thoughts([(row["prompt"][0]["content"], row["thoughts"]) for row in rows])
    kept, count = agreed(rows, scores)
    known = sum(value is not None for row in rows for value in row["values"][:-1])
    print(f"The critic contradicts {count} of {known} values of thoughts, which are left out.")
    if count and count == known:
        raise InvalidInputError("critic: it contradicts all values; train it on trees of the same kind")
    return kept


def load_value_model(name: str | None, dtype: str | None, trust_remote_code: bool):
    """
    The value model that a command names, or None if it names none.

    Args:
        name (`str`, *optional*): Hub name or directory.
        dtype, trust_remote_code: As of [`~engines.value_model.ValueModel.from_pretrained`].

    Raises:
        InvalidInputError: There is none of that name, or it is a model of another kind.
    """
    if name is None:
        return None
    from ..engines.value_model import ValueModel

    return ValueModel.from_pretrained(name, dtype=dtype, trust_remote_code=trust_remote_code)


def split_by_problem(trees: Sequence[Tree], share: float, seed: int) -> tuple[list[Tree], list[Tree]]:
    """
    Trees to learn from, and held-out ones; all trees of one problem are on one side.

    Args:
        trees (`Sequence[Tree]`): All of them.
        share (`float`): Of the problems that is held out, at least one.
        seed (`int`): Of the choice.

    Raises:
        InvalidInputError: Nothing would be left to learn from.
    """
    problems = sorted({tree.problem.prompt for tree in trees})
    count = max(1, round(share * len(problems)))
    if count >= len(problems):
        raise InvalidInputError(
            f"held_out_share={share} of {len(problems)} problems leaves none to learn from: give more trees"
        )
    held_out = set(random.Random(seed).sample(problems, count))
    sides = [[tree for tree in trees if (tree.problem.prompt in held_out) is side] for side in (False, True)]
    return sides[0], sides[1]


def train(script: ValueArguments, training, model) -> None:
    """Train on the `trees` configuration, and judge by held-out trees; the arguments are instances of [`kinds`]."""
    from datasets import Dataset

    from ..evaluation.value_figures import figures_table, value_figures
    from ..selection.values import value_rows
    from ..trainers import ValueTrainer
    from .training import check_training_numbers, claim_output, fit, publish, read_trees, set_up_model

    if model.use_peft:
        raise InvalidInputError("use_peft=True: a value model is trained with all of its weights; leave it out")
    check_training_numbers(training)
    sides = split_by_problem(list(read_trees(script.dataset)), script.held_out_share, training.seed)
    learnt, held_out = (
        [row for tree in trees for row in value_rows(tree, script.format, not script.without_corrections)]
        for trees in sides
    )
    if not learnt or not held_out:
        raise InvalidInputError(f"dataset {script.dataset!r}: its trees have no verified answer: grow others")
    name = set_up_model(model, training)
    if script.critic is not None:
        learnt = _agreed(learnt, load_value_model(script.critic, None, training.trust_remote_code))
    rows = Dataset.from_list(learnt)
    claim_output(training, name, rows)
    trainer = ValueTrainer(name, training, rows, Dataset.from_list(held_out))

    fit(trainer)
    figures = value_figures(held_out, trainer.values(Dataset.from_list(held_out)))
    trainer.save_metrics("eval", {**trainer.evaluate(), **figures}, combined=False)
    trainer.report = (
        f"Of {len(learnt)} chains learnt from and {len(held_out)} of other problems; a thought is right if more than "
        f"half of the simulations through it were.\n\n{figures_table(figures)}"
    )
    publish(trainer, script.dataset)
    trainer.accelerator.print(figures_table(figures))


def main(args: list[str] | None = None) -> None:
    """Train, from the last checkpoint if there is one, and judge."""
    arguments = parse("value", kinds(), __doc__, args)
    run(lambda: train(*arguments), resume="Run the same command again to go on from the last checkpoint.")
