"""Say where the built-in models are, or train them: small ones that know all patterns and three kinds of problems.

treecot starter                 # its weights come with the package
treecot starter --train         # the same recipe again: a quarter of an hour on a core, in the user's cache directory
treecot starter --output_dir my-starter --num_steps 8000
treecot starter --hasty         # where the hasty model is: the starter, after half a minute of direct answers
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..files import cache_directory
from ..starter.hasty import HastyRecipe, hasty_model
from ..starter.training import StarterRecipe, starter_model
from .parser import fail, parse, run


@dataclass
class StarterArguments:
    """How it is trained, and where it goes."""

    train: bool = field(default=False, metadata={"help": "Train it even though its weights come with the package."})
    hasty: bool = field(default=False, metadata={"help": "The hasty model, which starts from the starter."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where a trained model goes. Default: the user's cache directory."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the data, the weights and the order."})
    num_steps: int = field(default=StarterRecipe.num_steps, metadata={"help": "Optimiser steps."})
    num_drill_steps: int = field(
        default=StarterRecipe.num_drill_steps,
        metadata={"help": "How many of them come first and are drills; with no more than these it knows no problem."},
    )


def main(args: list[str] | None = None) -> None:
    """Say where it is; train it first if it is not there."""
    arguments = parse("starter", StarterArguments, __doc__, args)
    if arguments.num_drill_steps >= arguments.num_steps:
        fail(
            f"num_drill_steps={arguments.num_drill_steps} leaves no step of {arguments.num_steps} for problems: "
            "lower it, or raise num_steps"
        )
    settings = run(lambda: StarterRecipe(arguments.seed, arguments.num_steps, arguments.num_drill_steps))
    directory = Path(arguments.output_dir) if arguments.output_dir else cache_directory() if arguments.train else None
    resume = "Run it again to go on from the last checkpoint."
    if arguments.hasty:
        path = run(lambda: hasty_model(HastyRecipe(settings), directory), resume)
    else:
        path = run(lambda: starter_model(settings, directory), resume)
    print(f"The {'hasty' if arguments.hasty else 'starter'} model is in {path}")
