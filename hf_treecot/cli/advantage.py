"""Training on all verified chains of trees at once, each thought weighed by its advantage in the search.

    treecot advantage --config starter --dataset runs/demo
    accelerate launch recipes/advantage.py --config advantage/qwen2.5-1.5b --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from .parser import parse, run


def kinds() -> tuple[type, ...]:
    """The classes that the command line is read into."""
    from trl import ModelConfig

    from ..trainers import TreeAdvantageConfig
    from .training import TreeArguments

    return TreeArguments, TreeAdvantageConfig, ModelConfig


def train(script, training, model) -> None:
    """Train on the `trees` configuration; the arguments are instances of [`kinds`]."""
    from ..trainers import TreeAdvantageTrainer
    from .training import train_on_trees

    train_on_trees(TreeAdvantageTrainer, script, training, model)


def main(args: list[str] | None = None) -> None:
    """Train, from the last checkpoint if there is one."""
    arguments = parse("advantage", kinds(), __doc__, args)
    run(lambda: train(*arguments), resume="Run the same command again to go on from the last checkpoint.")
