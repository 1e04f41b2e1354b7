"""Problems, and where they come from: a file, a directory, a Hub dataset, or a built-in generator.

Where rows come from is the business of `sources`, how they are read that of `formats`. This module must not know how
a problem is solved or checked.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base import Problem, verifier_of_row
from ..errors import InvalidInputError
from .formats import FORMATS, ProblemFormat
from .generators import GENERATORS, generate_problems
from .sources import load_rows


logger = logging.getLogger(__name__)
LONGEST = {"prompt": 1_000_000, "answer": 200_000}  # characters: more than any model reads, and any verifier needs


def load_problems(
    source: str,
    *,
    split: str = "train",
    config_name: str | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    verifier: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    allow_evaluation_only: bool = False,
    merge_repeated: bool = False,
) -> list[Problem]:
    """
    Load problems.

    Args:
        source (`str`): A `.json`, `.jsonl`, `.csv`, `.parquet` or `.pddl` file, a directory of such files, the name of
            a Hub dataset (`"openai/gsm8k"`), or a generator (`"letters"`, `"arithmetic"`, `"blocks"`,
            `"blocksworld"`, `"instructions"`).
        split (`str`): Split of a directory or Hub dataset.
        config_name (`str`, *optional*): Configuration of a Hub dataset; that of GSM8K and PlanBench is known.
        format (`str`): One of [`FORMATS`], or `"auto"`: the first that fits.
        columns (`Mapping[str, str]`, *optional*): Instead of a format: which column holds the `prompt`, the `answer`
            (the confidence verifier needs none) and, optionally, the `problem_id`.
        verifier (`str`, *optional*): Overrides the format's verifier (`"math"` with `columns`).
        limit (`int`, *optional*): Take only the first so many; how many a generator makes (100 if not given).
        seed (`int`): Seed of a generator.
        allow_evaluation_only (`bool`): Load a dataset that nothing may be trained on, such as Multi-IF.
        merge_repeated (`bool`): Take a problem that comes again only once, and leave it out where its answers differ;
            both are said, with a warning. For trees; an evaluation takes a set as it is.

    Returns:
        `list[Problem]`: In the order of the source. Rows that no verifier can check are left out, with a warning.

    Raises:
        InvalidInputError: No such source, column or format, a row that cannot be read, or a dataset for evaluation
            only that was not allowed.
    """
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit={limit} is out of range: ask for at least 1 problem")
    if source in GENERATORS:
        for name, value in (("columns", columns), ("verifier", verifier), ("format", format != "auto" and format)):
            if value:
                raise InvalidInputError(
                    f"{name}={value!r} says how the rows of a file or a Hub dataset are read, but {source!r} is a "
                    "generator: leave it out, or build from the generator in a run of its own"
                )
        return list(generate_problems(source, 100 if limit is None else limit, seed))
    dataset = load_rows(source, split, config_name)
    how = _format(source, format, columns, dataset, verifier)
    if how.evaluation_only and not allow_evaluation_only:
        raise InvalidInputError(
            f"problems {source!r}: this dataset ({how.license}) is for evaluation only; training data is not made "
            "from it unless allow_evaluation_only is set"
        )
    return _read_rows(dataset, how, source, verifier, limit, merge_repeated)


def _read_rows(
    dataset, how: ProblemFormat, source: str, verifier: str | None, limit: int | None, merge_repeated: bool
) -> list[Problem]:
    name = Path(source).stem if Path(source).exists() else source
    terms = dataset.info.license or how.license
    groups: dict[Any, list[Problem]] = {}  # of the same text, where those are merged
    left_out = 0
    for index, row in enumerate(dataset):
        if limit is not None and len(groups) >= limit:
            break
        try:
            checked_by = verifier or verifier_of_row(row.get("verifier") or how.verifier)
        except InvalidInputError as error:
            raise InvalidInputError(f"problems {source!r}: row {index}: {error}") from error
        found = _problems(row, index, how, checked_by, name, source, terms)
        left_out += not found
        for problem in found:
            text = " ".join(problem.prompt.split()), problem.verifier
            # Without an answer column, equal prompts may ask for different things.
            groups.setdefault(text if merge_repeated and how.answer else len(groups), []).append(problem)
    if left_out:
        logger.warning("problems %r: %d rows that no verifier can check are left out", source, left_out)
    problems = _merge(groups.values(), source)
    if not problems:
        raise InvalidInputError(f"problems {source!r}: no verifier can check any of its rows; choose another source")
    return problems[:limit]


def _merge(groups: Iterable[list[Problem]], source: str) -> list[Problem]:
    """The first problem of every group of the same text; none of one whose answers differ. What goes is said."""
    agreed, contradicted = [], []
    for group in groups:
        (agreed if len({problem.answer for problem in group}) == 1 else contradicted).append(group)
    if repeated := sum(len(group) - 1 for group in agreed):
        logger.warning("problems %r: %d rows that repeat an earlier one are left out", source, repeated)
    if contradicted:
        examples = [
            problem
            for group in contradicted[:3]
            for problem in (group[0], next(other for other in group if other.answer != group[0].answer))
        ]
        shown = (f"{problem.problem_id}: {problem.answer[:40]!r}" for problem in examples)
        logger.warning(
            "problems %r: %d problems are left out, since the same text has different answers (%s)",
            source, len(contradicted), ", ".join(shown),
        )  # fmt: skip
    return [group[0] for group in agreed]


def check_unique(problems: Iterable[Problem]) -> None:
    """
    Raises:
        InvalidInputError: Two problems have the same id.
    """
    seen: dict[str, Problem] = {}
    for problem in problems:
        if other := seen.get(problem.problem_id):
            raise InvalidInputError(
                f"problem_id={problem.problem_id!r} is used twice (in {other.source!r} and {problem.source!r}): "
                "make the ids unique; rows without one are numbered under the name of their file or dataset"
            )
        seen[problem.problem_id] = problem


def _format(source: str, name: str, columns: Mapping[str, str] | None, dataset, verifier: str | None) -> ProblemFormat:
    have = ", ".join(dataset.column_names)
    if columns is not None:
        needed = {"prompt"} if verifier == "confidence" else {"prompt", "answer"}
        if needed - columns.keys() or columns.keys() - {"prompt", "answer", "problem_id"}:
            raise InvalidInputError(
                f"columns={dict(columns)!r}: it must name the columns of prompt and answer, and may name problem_id"
            )
        how = ProblemFormat(**columns)
        if how.problem_id and how.problem_id not in dataset.column_names:
            raise InvalidInputError(
                f"problems {source!r}: there is no column {how.problem_id!r} for problem_id (it has {have}); "
                "leave problem_id out to have the rows numbered"
            )
        if not how.answer:
            prompt = how.prompt
            how = replace(how, columns=(prompt,), read_row=lambda row: [(row[prompt], "")])
    elif name == "auto":
        return _detect_format(source, dataset)
    elif name in FORMATS:
        how = FORMATS[name]
    else:
        raise InvalidInputError(f"format={name!r} is unknown: use auto or one of {', '.join(FORMATS)}")
    for column in how.required:
        if column not in dataset.column_names:
            raise InvalidInputError(
                f"problems {source!r}: there is no column {column!r} (it has {have}); map the right ones with columns"
            )
    return how


def _detect_format(source: str, dataset) -> ProblemFormat:
    have = set(dataset.column_names)

    def reads(how: ProblemFormat, answers: Iterable[Any]) -> bool:
        try:
            for answer in answers:
                how.read_answer(answer)
        except (ValueError, TypeError):
            return False
        return True

    # The id column may be absent from a hand-made file; answers that are numbers only tell the formats apart.
    fitting = [
        how
        for how in FORMATS.values()
        if have.issuperset(how.required)
        and (not how.problem_id or how.problem_id in have)
        and (how.read_row or reads(how, [dataset[0][how.answer]]))
    ]
    if fitting:
        return next((how for how in fitting if how.read_row or reads(how, dataset[how.answer])), fitting[0])
    if have >= {"prompt", "answer"}:
        return ProblemFormat("prompt", "answer")
    raise InvalidInputError(
        f"problems {source!r}: its columns ({', '.join(dataset.column_names)}) fit no known format "
        f"({', '.join(FORMATS)}); name them with columns, for example --columns prompt=question answer=final"
    )


def _problems(
    row: Mapping[str, Any], index: int, how: ProblemFormat, verifier: str, name: str, source: str, license: str
) -> list[Problem]:
    try:
        pairs = how.read(row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if how.answer:
            what = f"column {how.answer!r} holds {row[how.answer]!r}, which is not an answer of this format ({error})"
        else:
            what = f"its {', '.join(how.columns)} are not a problem of this format ({error})"
        raise InvalidInputError(
            f"problems {source!r}: row {index}: {what}; correct the row or choose another format"
        ) from error
    for prompt, answer in pairs:
        if not isinstance(prompt, str) or not prompt.strip() or (how.answer and not answer.strip()):
            raise InvalidInputError(
                f"problems {source!r}: row {index}: column {how.prompt!r} holds {prompt!r} and {how.answer!r} holds "
                f"{row.get(how.answer)!r}; every problem needs a text and an answer"
            )
        for what, text in (("prompt", prompt), ("answer", answer)):
            if len(text) > LONGEST[what]:
                raise InvalidInputError(
                    f"problems {source!r}: row {index}: its {what} has {len(text)} characters; shorten it to "
                    f"{LONGEST[what]}"
                )
    row_id = row.get(how.problem_id) if how.problem_id else None
    problem_id = str(row_id) if row_id is not None else f"{name}-{index}"
    ids = [problem_id] if len(pairs) == 1 else [f"{problem_id}/turn_{turn}" for turn in range(1, len(pairs) + 1)]
    return [
        Problem(problem_id, prompt, answer, verifier, name, license)
        for problem_id, (prompt, answer) in zip(ids, pairs, strict=True)
    ]
