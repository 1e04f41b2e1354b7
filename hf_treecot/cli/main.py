"""The command `treecot`: finds the subcommand and hands it the rest of the line."""

import difflib
import importlib
import sys
from importlib.metadata import version

from .packaged import packaged_help


COMMANDS = {  # name -> what it does; the module of the same name, or of `MODULES`, has `main(args)`
    "demo": "the whole pipeline in small, offline: trees, training, evaluation, report",
    "build": "problems -> trees -> a dataset of trees, SFT rows and preference rows",
    "scale": "`build` in many processes, on Slurm or on Ray",
    "select": "other rows from trees that are there already, also from the Hub",
    "import": "published traces (<think> …) -> trees",
    "regrow": "trees -> trees with shorter right chains, from every change of mind",
    "sft": "supervised fine-tuning on right chains",
    "cdpo": "conservative DPO on pairs of right and wrong chains",
    "joint": "the paper's joint objective: conservative DPO + SFT",
    "redi": "REDI on pairs, without a reference model",
    "advantage": "all chains of trees, each thought weighed by its advantage",
    "value": "a value model: how likely a chain is to end right, learnt from trees",
    "evaluate": "accuracy, no-answer rate and its kinds; greedy, sampled and by search; models compared",
    "verify": "verdicts on a file of answers, with reasons",
    "draw": "a picture of a tree",
    "report": "a page about a run: trees, training, evaluation",
    "space": "the Gradio app: explore trees, judge them, talk to the models",
    "serve": "an OpenAI-compatible endpoint that answers plainly, by samples, or by search",
    "publish": "a dataset, a model or a Space -> the Hub",
    "starter": "where the built-in models are, or train them again",
    "ablation": "the paper's ladder of objectives on a built-in model, with seeds and intervals",
    "evolve": "rounds of trees and training, each with the model of the round before",
    "configs": "the packaged YAML configurations",
}
MODULES = {"import": "import_traces"}  # a keyword of Python


def module_of(command: str):
    """The module of a command."""
    return importlib.import_module(f".{MODULES.get(command, command)}", __package__)


def usage() -> str:
    """What `treecot --help` prints."""
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: treecot COMMAND [--config FILE_OR_NAME] [--argument value …]",
            "",
            "Reasoning data that small models can learn from: trees of thoughts, selected and trained on.",
            "",
            *lines,
            "",
            "`treecot COMMAND --help` lists its arguments. Training: accelerate launch -m hf_treecot.cli.joint …",
        ]
    )


def main(args: list[str] | None = None) -> int:
    """
    Run a subcommand.

    Args:
        args (`list[str]`, *optional*): Instead of the command line.

    Returns:
        `int`: The exit code: 0 if all went well, 1 if something could not be completed, 2 for bad input, 3 if a model
        or its servers failed, 130 after Ctrl-C.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"treecot {version('hf-treecot')}")
        return 0
    name, *rest = args
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.5) or list(COMMANDS)
        print(f"error: treecot has no command {name!r}: use {' or '.join(near)} (treecot --help)", file=sys.stderr)
        return 2
    if {"-h", "--help"} & set(rest) and (text := packaged_help(name)):  # without imports that take seconds
        print(text, end="")
        return 0
    return module_of(name).main(rest) or 0


if __name__ == "__main__":
    sys.exit(main())
