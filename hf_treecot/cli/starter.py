"""Train the starter model, or say where it is: a small model that knows all patterns and three kinds of problems.

treecot starter                 # about five minutes on two cores, once
treecot starter --output_dir my-starter --num_steps 8000
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..starter.training import StarterRecipe, starter_model
from .parser import fail, parse, run


@dataclass
class StarterArguments:
    """How it is trained, and where it goes."""

    output_dir: str | None = field(
        default=None, metadata={"help": "Where the model goes. Default: the user's cache directory."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the data, the weights and the order."})
    num_steps: int = field(default=StarterRecipe.num_steps, metadata={"help": "Optimiser steps."})
    num_drill_steps: int = field(
        default=StarterRecipe.num_drill_steps,
        metadata={"help": "How many of them come first and are drills; with no more than these it knows no problem."},
    )


def main(args: list[str] | None = None) -> None:
    """Train it unless it is there."""
    arguments = parse("starter", StarterArguments, __doc__, args)
    if arguments.num_drill_steps >= arguments.num_steps:
        fail(
            f"num_drill_steps={arguments.num_drill_steps} leaves no step of {arguments.num_steps} for problems: "
            "lower it, or raise num_steps"
        )
    settings = run(lambda: StarterRecipe(arguments.seed, arguments.num_steps, arguments.num_drill_steps))
    directory = Path(arguments.output_dir) if arguments.output_dir else None
    path = run(lambda: starter_model(settings, directory), resume="Run it again to go on from the last checkpoint.")
    print(f"The starter model is in {path}")
