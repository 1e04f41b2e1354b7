"""The whole pipeline, as short as it gets, offline: a small model that can think, but answers at once, grows trees on
new problems, is trained on them, and is compared with what it was; then a report.

    treecot demo                    # minutes on two cores; in runs/demo
    treecot demo --quick            # fewer problems: shows that everything works, not what it is worth

Every stage resumes: run it again after any interruption.
"""

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidInputError
from ..starter.built_in import HASTY
from .parser import parse, run


@dataclass
class DemoArguments:
    """How large it is, and where it goes."""

    quick: bool = field(default=False, metadata={"help": "Take fewer problems."})
    output_dir: str | None = field(
        default=None, metadata={"help": "The run's directory. Default: runs/demo, with quick runs/quick."}
    )
    num_problems: int | None = field(
        default=None, metadata={"help": "Problems of each kind whose trees are grown. Default: 40, with quick 12."}
    )
    num_evaluated: int | None = field(
        default=None, metadata={"help": "Problems of each kind to compare models on. Default: 50, with quick 12."}
    )


def stages(arguments: DemoArguments, directory: Path) -> dict[str, list[str]]:
    """What is done, in order: for every title the command that does it."""
    problems = arguments.num_problems or (12 if arguments.quick else 40)
    evaluated = arguments.num_evaluated or (12 if arguments.quick else 50)
    names = ("dataset", "sft", "joint_sft_dpo", "evaluation")
    dataset, sft, joint, evaluation = (directory / name for name in names)
    commands = {
        "Trees, SFT rows and preference rows": (
            "build", "--config", "demo", "--model", HASTY, "--num_problems", problems, "--output_dir", directory,
        ),
        "A picture of a tree": ("draw", "--run", directory),
        "SFT on the longest right chains": (
            "sft", "--config", "starter", "--model_name_or_path", HASTY, "--dataset", dataset, "--output_dir", sft,
        ),
        "Conservative DPO + SFT on the pairs": (
            "joint", "--config", "starter", "--model_name_or_path", sft, "--dataset", dataset, "--output_dir", joint,
        ),
        "Before and after, on other problems": (
            "evaluate", "--models", HASTY, sft, joint, "--tasks", "letters", "arithmetic", "--problems", "blocks",
            "--num_problems", evaluated, "--output_dir", evaluation, "--output", f"{evaluation}.json",
        ),
        "The report": ("report", "--run", directory),
    }  # fmt: skip
    return {title: [str(word) for word in command] for title, command in commands.items()}


def run_stage(command: list[str]) -> int:
    """Run a command in a process of its own; its exit code."""
    return subprocess.run([sys.executable, "-P", "-m", "hf_treecot.cli.main", *command], check=False).returncode  # noqa: S603


def main(args: list[str] | None = None) -> int:
    """Run what is not done yet, each stage in a process of its own; say what there is."""
    arguments = parse("demo", DemoArguments, __doc__, args)
    directory = Path(arguments.output_dir or ("runs/quick" if arguments.quick else "runs/demo"))
    commands = stages(arguments, directory)
    for number, (title, command) in enumerate(commands.items(), start=1):
        print(f"{number}/{len(commands)}  {title}", flush=True)
        if command[0] == "evaluate":
            from ..evaluation.lighteval_compat import require_lighteval  # not for --help: it takes seconds

            try:
                require_lighteval()
            except InvalidInputError as error:
                print(f"Left out: {error}", flush=True)
                continue
        if code := run(lambda command=command: run_stage(command), "Run the same command again to go on."):
            print(f"error: stage {number} failed: treecot {shlex.join(command)}", file=sys.stderr)
            return code
    models = [HASTY, str(directory / "sft"), str(directory / "joint_sft_dpo")]
    print(
        f"""
The report:       {directory}/report.md
The dataset:      {directory}/dataset
The models:       {directory}/sft, {directory}/joint_sft_dpo
The Space on it:  treecot space --source {shlex.quote(str(directory))} --models {shlex.join(models)}
Next, your own:   treecot build --help"""
    )
    return 0
