"""What `treecot evaluate` does with budgets of thinking: the easy and hard parts of problems, and what it writes."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import InvalidInputError
from ..problems.generators import PARTS


def check_parts(easy_and_hard: bool, budgets: Sequence[int], tasks: Sequence[str], problems: Sequence[str]) -> None:
    """
    See that all problems have an easy and a hard part, if these are asked for.

    Raises:
        InvalidInputError: Some have not; or there are no budgets to measure against.
    """
    if not easy_and_hard:
        return
    if not budgets:
        raise InvalidInputError("easy_and_hard=true measures against budgets: give budgets, such as 32 64 128 256")
    remedy = f"give some of {', '.join(PARTS)} as problems, and no tasks"
    if others := [name for name in (*tasks, *problems) if name not in PARTS]:
        raise InvalidInputError(f"{others[0]!r} has no easy and hard parts: {remedy}")
    if tasks or not problems:
        raise InvalidInputError(f"easy_and_hard=true is for problems that are made for it: {remedy}")


def with_parts(problems: Sequence[str]) -> list[str]:
    """The names of both parts of every kind of problems."""
    return [f"{kind}-{part}" for kind in problems for part in PARTS[kind]]


def report_budgets(rows: Sequence[dict], budgets: Sequence[int], directory: Path) -> None:
    """Say what thinking was worth, in `budgets.md` and `budgets.png`."""
    from ..evaluation.budget_report import plot_budgets, write_budgets

    (directory / "budgets.md").write_text(write_budgets(rows, budgets), encoding="utf-8")
    plot_budgets(rows, budgets, directory / "budgets.png")
