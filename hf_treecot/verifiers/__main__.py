"""Verdicts with their reasons, for people who debug rewards.

    python -m hf_treecot.verifiers check rows.jsonl
    python -m hf_treecot.verifiers check rows.jsonl --verifier my_package.my_module:function --failures

A row has a `completion` (a whole output, or the text of its answer thought) and its problem: `prompt`, `answer` and,
optionally, `verifier` and `problem_id`, or all of them in a column `problem`. Exit code 1: a verifier failed; 2: bad
input.
"""

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..diagnostics import answer_thought
from ..errors import InvalidInputError, VerifierError
from ..problem_sources import load_file
from ..problems import Problem
from . import Verdict, load_verifier
from .worker import VerifierPool


Row = tuple[Problem, str]
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


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
    name = verifier or problem.get("verifier") or "math"
    return Problem(problem_id, str(problem["prompt"]), str(problem["answer"]), name), row["completion"]


async def check(rows: Sequence[Row], pool: VerifierPool) -> list[Verdict | VerifierError]:
    """The verdict of every row, or why its verifier failed."""

    async def one(problem: Problem, completion: str) -> Verdict | VerifierError:
        try:
            return await pool.verify(answer_thought(completion), problem)
        except VerifierError as error:
            return error

    return await asyncio.gather(*(one(*row) for row in rows))


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m hf_treecot.verifiers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command = parser.add_subparsers(dest="command", required=True).add_parser("check", help="verdicts of a file")
    command.add_argument("file", type=Path, help="rows of problem and completion: .jsonl, .json, .csv or .parquet")
    command.add_argument("--verifier", help="instead of those that the rows name; the default is math")
    command.add_argument("--time_limit", type=float, default=10.0, help="seconds for one check")
    command.add_argument("--num_workers", type=int, default=2, help="checks that run at the same time")
    command.add_argument("--failures", action="store_true", help="leave out the rows that are right")
    command.add_argument("--json", action="store_true", help="one JSON object a row instead of a table")
    options = parser.parse_args(arguments)
    try:
        rows = read_rows(options.file, options.verifier)
        for name in {problem.verifier for problem, _ in rows}:
            load_verifier(name)
        pool = VerifierPool(options.num_workers, options.time_limit)
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    async def run() -> list[Verdict | VerifierError]:
        async with pool:
            return await check(rows, pool)

    results = asyncio.run(run())
    if options.json:
        for (problem, _), result in zip(rows, results, strict=True):
            outcome = {"error": str(result)} if isinstance(result, VerifierError) else asdict(result)
            print(json.dumps({"problem_id": problem.problem_id, "verifier": problem.verifier, **outcome}))
    else:
        report(rows, results, options.failures)
    return int(any(isinstance(result, VerifierError) for result in results))


if __name__ == "__main__":
    sys.exit(main())
