"""REDI (Xu et al., 2025) on pairs of right and wrong chains: no reference model.

    treecot redi --config starter --dataset runs/demo
    accelerate launch recipes/redi.py --config redi/qwen2.5-1.5b --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from .parser import parse, run


def kinds() -> tuple[type, ...]:
    """The classes that the command line is read into."""
    from trl import ModelConfig

    from ..trainers import REDIConfig
    from .training import ScriptArguments

    return ScriptArguments, REDIConfig, ModelConfig


def train(script, training, model) -> None:
    """Train on the `preference` configuration; the arguments are instances of [`kinds`]."""
    from ..trainers import REDITrainer
    from .training import train_on_pairs

    train_on_pairs(REDITrainer, script, training, model)


def main(args: list[str] | None = None) -> None:
    """Train, from the last checkpoint if there is one."""
    arguments = parse("redi", kinds(), __doc__, args)
    run(lambda: train(*arguments), resume="Run the same command again to go on from the last checkpoint.")
