"""The YAML configurations that come with the package: their names, or what is in one.

    treecot configs
    treecot configs --show joint/qwen2.5-7b > mine.yaml      # a copy to change
    accelerate launch --config_file $(treecot configs --path accelerate/fsdp) recipes/sft.py …

`--config NAME` of a command takes these names; of its own ones, the part after the slash is enough.
"""

from dataclasses import dataclass, field

from .packaged import config_names, packaged_config
from .parser import parse, run


@dataclass
class ConfigsArguments:
    """What is printed, if not the names of all."""

    show: str | None = field(default=None, metadata={"help": "Print what is in this one."})
    path: str | None = field(default=None, metadata={"help": "Print where this one is."})


def main(args: list[str] | None = None) -> None:
    """Print it."""
    arguments = parse("configs", ConfigsArguments, __doc__, args)
    if arguments.show is not None:
        print(run(lambda: packaged_config(arguments.show)).read_text(encoding="utf-8"), end="")
    elif arguments.path is not None:
        print(run(lambda: packaged_config(arguments.path)))
    else:
        print("\n".join(config_names()))
