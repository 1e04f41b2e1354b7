"""The paper's joint objective, conservative DPO plus SFT, on pairs of right and wrong chains (section 4.3).

    treecot joint --config starter --dataset runs/demo
    accelerate launch recipes/joint_sft_dpo.py --config joint/qwen2.5-1.5b --dataset user/name

Run the same command again after any interruption: it goes on from the last checkpoint.
"""

from .parser import parse, run


def kinds() -> tuple[type, ...]:
    """The classes that the command line is read into."""
    from trl import ModelConfig

    from ..trainers import JointSFTDPOConfig
    from .training import ScriptArguments

    return ScriptArguments, JointSFTDPOConfig, ModelConfig


def train(script, training, model) -> None:
    """Train on the `preference` configuration; the arguments are instances of [`kinds`]."""
    from ..trainers import JointSFTDPOTrainer
    from .training import train_on_pairs

    train_on_pairs(JointSFTDPOTrainer, script, training, model)


def main(args: list[str] | None = None) -> None:
    """Train, from the last checkpoint if there is one."""
    arguments = parse("joint", kinds(), __doc__, args)
    run(lambda: train(*arguments), resume="Run the same command again to go on from the last checkpoint.")
