"""Supervised fine-tuning on the longest right chains of trees (paper, section 4.1), with TRL's SFTTrainer.

`--mask_thoughts 0.2` hides that share of their tokens from the model while it learns (Chen et al., 2024).

    treecot sft --config starter --dataset runs/demo
    accelerate launch recipes/sft.py --config sft/qwen2.5-1.5b --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from .parser import parse, run


def kinds() -> tuple[type, ...]:
    """The classes that the command line is read into."""
    from trl import ModelConfig

    from ..trainers import MaskedThoughtConfig
    from .training import ScriptArguments

    return ScriptArguments, MaskedThoughtConfig, ModelConfig


def train(script, training, model) -> None:
    """Train on the `sft` configuration; the arguments are instances of [`kinds`]."""
    from ..trainers import MaskedThoughtTrainer
    from .training import train_on_chains

    train_on_chains(MaskedThoughtTrainer, script, training, model)


def main(args: list[str] | None = None) -> None:
    """Train, from the last checkpoint if there is one."""
    arguments = parse("sft", kinds(), __doc__, args)
    run(lambda: train(*arguments), resume="Run the same command again to go on from the last checkpoint.")
