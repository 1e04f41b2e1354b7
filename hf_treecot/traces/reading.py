"""Rows of published traces: which columns hold the problem, the gold answer and what models wrote; one problem may
have several traces, in one row or in many.

This module knows columns. It must not know how a trace is cut, nor whether it is right.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..base import Problem, verifier_of_row
from ..errors import InvalidInputError
from ..problems.sources import load_rows
from ..think_blocks import CLOSING, OPENING
from ..verifiers.extraction import boxed


COLUMNS = ("prompt", "answer", "trace", "thinking", "problem_id")


@dataclass(frozen=True)
class TraceFormat:
    """
    How the rows of a dataset of traces are read.

    Args:
        prompt, answer (`str`): Columns of the problem and of its gold answer; of a solution that holds a box, that.
        trace (`str`): Column of what the model wrote: a text, its messages, or a list of texts.
        thinking (`str`): Column of its thoughts, if they are not in the trace.
        problem_id (`str`): Column of the problem's id, if there is one.
        verifier (`str`): Which verifier checks the answers.
        license (`str`): Licence of the dataset.
    """

    prompt: str
    answer: str
    trace: str
    thinking: str = ""
    problem_id: str = ""
    verifier: str = "math"
    license: str = ""

    @property
    def required(self) -> set[str]:
        """The columns without which a row cannot be read."""
        return {name for name in (self.prompt, self.answer, self.trace, self.thinking) if name}


# The first whose columns are all there is taken.
TRACE_FORMATS: Mapping[str, TraceFormat] = {
    "open_r1": TraceFormat("problem", "answer", "generations", problem_id="uuid", license="apache-2.0"),
    "open_thoughts": TraceFormat(
        "problem", "ground_truth_solution", "deepseek_solution", "deepseek_reasoning", license="apache-2.0"
    ),
    "s1k": TraceFormat("question", "solution", "deepseek_attempt", "deepseek_thinking_trajectory", license="mit"),
    "treecot": TraceFormat("prompt", "answer", "completion", problem_id="problem_id"),
    "limo": TraceFormat("question", "answer", "solution", license="apache-2.0"),
}


@dataclass(frozen=True)
class Traces:
    """A problem, and what was written about it."""

    problem: Problem
    texts: tuple[str, ...]


def read_traces(
    source: str,
    *,
    split: str = "train",
    config_name: str | None = None,
    columns: Mapping[str, str] | None = None,
    verifier: str | None = None,
    limit: int | None = None,
    dropped: Counter[str] | None = None,
) -> list[Traces]:
    """
    Problems with their traces.

    Args:
        source (`str`): A `.json`, `.jsonl`, `.csv` or `.parquet` file, a directory of such, or a Hub dataset.
        split (`str`): Split of a directory or Hub dataset.
        config_name (`str`, *optional*): Configuration of a Hub dataset.
        columns (`Mapping[str, str]`, *optional*): Which column holds `prompt`, `answer` and `trace`, and optionally
            `thinking` and `problem_id`. Default: those of the first of [`TRACE_FORMATS`] that fits.
        verifier (`str`, *optional*): Instead of the one that a row names, of which the default is math.
        limit (`int`, *optional*): Read only the first so many rows.
        dropped (`Counter[str]`, *optional*): Counts what is left out, by reason.

    Raises:
        InvalidInputError: No such source, or no such columns; a row that names a verifier it may not.
    """
    dropped = Counter() if dropped is None else dropped
    rows = load_rows(source, split, config_name)
    how = _format(source, columns, rows.column_names)
    name = Path(source).stem if Path(source).exists() else source
    found: dict[tuple[str, str], tuple[Problem, dict[str, None]]] = {}  # by text and verifier
    for index, row in enumerate(rows if limit is None else rows.select(range(min(limit, len(rows))))):
        try:
            checked_by = verifier or verifier_of_row(row.get("verifier") or how.verifier)
        except InvalidInputError as error:
            raise InvalidInputError(f"traces {source!r}: row {index}: {error}") from error
        prompt, gold = _text(row[how.prompt]).strip(), _gold(row[how.answer], checked_by)
        if not prompt or not gold:
            dropped["row without a problem" if not prompt else "row without a gold answer"] += 1
            continue
        number = row.get(how.problem_id) if how.problem_id else None
        problem_id = f"{name}-{index}" if number is None else str(number)
        problem = Problem(problem_id, prompt, gold, checked_by, name, rows.info.license or how.license)
        first, texts = found.setdefault((" ".join(prompt.split()), checked_by), (problem, {}))
        if first.answer != gold:
            dropped["row whose problem has another answer in an earlier row"] += 1
            continue
        for text in _texts(row, how):
            if text in texts:
                dropped["trace that is there already"] += 1
            texts[text] = None
    return [Traces(problem, tuple(texts)) for problem, texts in _with_unique_ids(found.values())]


def _with_unique_ids(found) -> Iterator[tuple[Problem, dict[str, None]]]:
    """Ids are those of the data, which need not be unique: later ones are told apart by a number."""
    seen: Counter[str] = Counter()
    for problem, texts in found:
        seen[problem.problem_id] += 1
        number = seen[problem.problem_id]
        problem_id = problem.problem_id if number == 1 else f"{problem.problem_id}~{number}"
        yield replace(problem, problem_id=problem_id), texts


def _format(source: str, columns: Mapping[str, str] | None, have: Sequence[str]) -> TraceFormat:
    if columns is None:
        fitting = (how for how in TRACE_FORMATS.values() if how.required <= set(have))
        if how := next(fitting, None):
            return how
        raise InvalidInputError(
            f"traces {source!r}: its columns ({', '.join(have)}) fit no known set of traces "
            f"({', '.join(TRACE_FORMATS)}); name them, for example --columns prompt=question answer=final trace=output"
        )
    if {"prompt", "answer", "trace"} - columns.keys() or columns.keys() - set(COLUMNS):
        raise InvalidInputError(
            f"columns={dict(columns)!r}: it must name the columns of prompt, answer and trace, and may name thinking "
            "and problem_id"
        )
    how = TraceFormat(**columns)
    if missing := sorted({*how.required, *filter(None, [how.problem_id])} - set(have)):
        raise InvalidInputError(
            f"traces {source!r}: there is no column {missing[0]!r} (it has {', '.join(have)}); name another"
        )
    return how


def _gold(value: Any, verifier: str) -> str:
    """A gold answer as a verifier reads it: of a whole solution, what stands in its last box."""
    text = _text(value).strip()
    boxes = boxed(text) if verifier == "math" else []
    return boxes[-1] if boxes else text


def _texts(row: Mapping[str, Any], how: TraceFormat) -> list[str]:
    """The traces of a row, each with its think block."""
    traces, thoughts = _several(row[how.trace]), _several(row[how.thinking]) if how.thinking else []
    if not how.thinking:
        return traces
    return [
        f"{OPENING}\n{thought}\n{CLOSING}\n\n{said}" if thought.strip() else said
        for thought, said in zip_longest(thoughts, traces, fillvalue="")
    ]


def _several(value: Any) -> list[str]:
    """A text, messages (of which the assistant's last one counts) or a list of either, as texts."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        said = [turn for turn in value if (turn.get("role") or turn.get("from")) in ("assistant", "gpt")]
        return [_text(said[-1].get("content") or said[-1].get("value"))] if said else [""]
    if isinstance(value, list):
        return [text for item in value for text in _several(item)]
    return [_text(value)]


def _text(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):  # a prompt as messages
        return "\n\n".join(_text(turn.get("content")) for turn in value if turn.get("role") == "user")
    return "" if value is None else str(value)
