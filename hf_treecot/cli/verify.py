"""Verdicts with their reasons, for people who debug rewards.

    treecot verify --file rows.jsonl
    treecot verify --file rows.jsonl --verifier my_package.my_module:function --failures true

A row has a `completion` (a whole output, or the text of its answer thought) and its problem: `prompt`, `answer` and,
optionally, `verifier` and `problem_id`, or all of them in a column `problem`. Exit code 1: a verifier failed; 2: bad
input.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..base import Problem, Verdict, verifier_of_row
from ..errors import InvalidInputError, VerifierError
from ..problems.sources import load_file
from ..verifiers import load_verifier
from ..verifiers.judging import verify_all
from ..verifiers.worker import VerifierPool
from .parser import parse, run


Row = tuple[Problem, str]
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


@dataclass
class VerifyArguments:
    """What is checked, and how."""

    file: str = field(metadata={"help": "Rows of problem and completion: .jsonl, .json, .csv or .parquet."})
    verifier: str | None = field(
        default=None, metadata={"help": "Instead of those that the rows name, of which the default is math."}
    )
    time_limit: float = field(default=10.0, metadata={"help": "Seconds for one check."})
    num_workers: int = field(default=2, metadata={"help": "Checks that run at the same time."})
    failures: bool = field(default=False, metadata={"help": "Leave out the rows that are right."})
    json: bool = field(default=False, metadata={"help": "One JSON object a row instead of a table."})


def read_rows(path: Path, verifier: str | None) -> list[Row]:
    """
    The problems and completions of a file.

    Args:
        path (`Path`): A `.jsonl`, `.json`, `.csv` or `.parquet` file.
        verifier (`str`, *optional*): Instead of those that the rows name.

    Raises:
        InvalidInputError: No such file, or a row that has no problem or no completion.
    """
    import datasets

    if not path.is_file():
        raise InvalidInputError(f"file {str(path)!r} does not exist: give a file of rows with problem and completion")
    datasets.disable_progress_bars()
    try:
        dataset = load_file(path)
    except (datasets.exceptions.DatasetsError, ValueError) as error:
        raise InvalidInputError(f"file {str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    return [_row(row, index, verifier) for index, row in enumerate(dataset)]


def _row(row: Mapping[str, Any], index: int, verifier: str | None) -> Row:
    problem = row.get("problem") if isinstance(row.get("problem"), Mapping) else row
    missing = [name for name in ("prompt", "answer") if not isinstance(problem.get(name), str | int)]
    if not isinstance(row.get("completion"), str):
        missing.append("completion")
    if missing:
        raise InvalidInputError(f"row {index} has no {', '.join(missing)}; it has {', '.join(row)}")
    problem_id = str(problem.get("problem_id") if problem.get("problem_id") is not None else index)
    try:
        name = verifier or verifier_of_row(problem.get("verifier") or "math")
    except InvalidInputError as error:
        raise InvalidInputError(f"row {index}: {error}") from error
    return Problem(problem_id, str(problem["prompt"]), str(problem["answer"]), name), row["completion"]


def shown(text: str | None, width: int = 60) -> str:
    """A text that comes from a model, on one line, without what a terminal would obey."""
    line = UNSEEN.sub(" ", text or "").strip()
    return line if len(line) <= width else f"{line[: width - 1]}…"


def report(rows: Sequence[Row], results: Sequence[Verdict | VerifierError], failures: bool) -> None:
    """Print a line for every row and the counts of every verifier."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("problem", "verifier", "reward", "answer", "gold", "reason", title="Verdicts")
    counts: dict[str, Counter] = {}
    for (problem, _), result in zip(rows, results, strict=True):
        failed = isinstance(result, VerifierError)
        reason = str(result) if failed else result.reason
        counts.setdefault(problem.verifier, Counter())["failed" if failed else reason.partition(":")[0]] += 1
        if failures and not failed and result.reward > 0.5:
            continue
        cells = (
            problem.problem_id, problem.verifier, "failed" if failed else f"{result.reward:g}",
            "" if failed else result.answer, problem.answer,
        )  # fmt: skip
        table.add_row(*(Text(shown(cell)) for cell in cells), Text(shown(reason, 300)))
    console = Console()
    console.print(table)
    for verifier, count in counts.items():
        console.print(
            Text(f"{verifier}: " + ", ".join(f"{number} {reason}" for reason, number in count.most_common()))
        )


def main(args: list[str] | None = None) -> int:
    """Check, then print the verdicts."""
    arguments = parse("verify", VerifyArguments, __doc__, args)
    rows, results = run(lambda: verify(arguments))
    if arguments.json:
        for (problem, _), result in zip(rows, results, strict=True):
            outcome = {"error": str(result)} if isinstance(result, VerifierError) else asdict(result)
            print(json.dumps({"problem_id": problem.problem_id, "verifier": problem.verifier, **outcome}))
    else:
        report(rows, results, arguments.failures)
    return int(any(isinstance(result, VerifierError) for result in results))


def verify(arguments: VerifyArguments) -> tuple[list[Row], list[Verdict | VerifierError]]:
    """The rows of the file, and the verdict on each."""
    rows = read_rows(Path(arguments.file), arguments.verifier)
    for name in {problem.verifier for problem, _ in rows}:
        load_verifier(name)
    pool = VerifierPool(arguments.num_workers, arguments.time_limit)

    async def check_all() -> list[Verdict | VerifierError]:
        async with pool:
            return await verify_all([completion for _, completion in rows], [problem for problem, _ in rows], pool)

    return rows, asyncio.run(check_all())
