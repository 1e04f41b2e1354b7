"""One page about a run, with pictures: its trees, how training went, what that did to the model.

treecot report --run runs/demo
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..reports.page import write_report
from .parser import parse, run


@dataclass
class ReportArguments:
    """Which run."""

    run: str = field(default="runs/demo", metadata={"help": "Directory of a run; models and evaluation are in it."})


def main(args: list[str] | None = None) -> None:
    """Write it."""
    arguments = parse("report", ReportArguments, __doc__, args)
    page = run(lambda: write_report(Path(arguments.run)))
    print(f"The report is in {page}")
