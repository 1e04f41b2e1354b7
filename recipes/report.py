"""One page about a run, with pictures: its trees, how training went, what that did to the model.

python recipes/report.py --run runs/demo
"""

from dataclasses import dataclass, field
from pathlib import Path

from hf_treecot import recipe
from hf_treecot.run_report import write_report


@dataclass
class Arguments:
    """Arguments of report.py."""

    run: str = field(default="runs/demo", metadata={"help": "Directory of a run; models and evaluation are in it."})


def main() -> None:
    """Write it."""
    arguments = recipe.parse(Arguments, __doc__)
    page = recipe.run(lambda: write_report(Path(arguments.run)))
    print(f"The report is in {page}")


if __name__ == "__main__":
    main()
