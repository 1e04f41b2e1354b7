"""Problems, and where they come from: a file, a directory, a Hub dataset, or a built-in generator.

This room knows the columns of the usual datasets. It must not know how a problem is solved or checked.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InvalidInputError


FILE_BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
GENERATORS = ("letters", "arithmetic")


@dataclass(frozen=True)
class Problem:
    """
    Something to be solved whose answer can be checked.

    Args:
        problem_id (`str`): Names it among all problems of a run.
        prompt (`str`): What the model is asked.
        answer (`str`): The gold answer, as the verifier reads it.
        verifier (`str`): Which verifier checks it; see [`~verifiers.load_verifier`].
        source (`str`): Where it comes from.
        license (`str`): Licence of the source, if known.
    """

    problem_id: str
    prompt: str
    answer: str
    verifier: str = "math"
    source: str = ""
    license: str = ""


@dataclass(frozen=True)
class ProblemFormat:
    """How the rows of a well-known dataset are read."""

    prompt: str
    answer: str
    problem_id: str = ""
    verifier: str = "math"
    read_answer: Callable[[Any], str] = str


def _gsm8k_answer(answer: Any) -> str:
    _, marker, final = str(answer).rpartition("####")
    if not marker:
        raise ValueError("there is no '#### ' before the final answer")
    return final.strip().replace(",", "")


def _whole_number(answer: Any) -> str:
    return str(int(answer))


FORMATS: Mapping[str, ProblemFormat] = {
    "treecot": ProblemFormat("prompt", "answer", "problem_id"),
    "gsm8k": ProblemFormat("question", "answer", read_answer=_gsm8k_answer),
    "math_500": ProblemFormat("problem", "answer", "unique_id"),
    "aime": ProblemFormat("problem", "expected_answer", "id", read_answer=_whole_number),
    "aime_hub": ProblemFormat("problem", "answer", "id", read_answer=_whole_number),
    "letter_count": ProblemFormat("problem", "solution", "id", "letters", _whole_number),
}


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
) -> list[Problem]:
    """
    Load problems.

    Args:
        source (`str`): A `.json`, `.jsonl`, `.csv` or `.parquet` file, a directory of such files, the name of a Hub
            dataset (`"openai/gsm8k"`), or a generator (`"letters"`, `"arithmetic"`).
        split (`str`): Split of a directory or Hub dataset.
        config_name (`str`, *optional*): Configuration of a Hub dataset (`"main"` for GSM8K).
        format (`str`): One of [`FORMATS`], or `"auto"`: the first whose columns are all there.
        columns (`Mapping[str, str]`, *optional*): Instead of a format: which column holds the `prompt`, the `answer`
            and, optionally, the `problem_id`.
        verifier (`str`, *optional*): Overrides the format's verifier (`"math"` with `columns`).
        limit (`int`, *optional*): Take only the first so many; how many a generator makes (100 if not given).
        seed (`int`): Seed of a generator.

    Returns:
        `list[Problem]`: In the order of the source.

    Raises:
        InvalidInputError: No such source, column or format, or a row that cannot be read.
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
    dataset = _load_dataset(source, split, config_name)
    if len(dataset) == 0:
        raise InvalidInputError(f"problems {source!r}: it holds no rows; give a source with at least one problem")
    how = _format(source, format, columns, dataset)
    name = Path(source).stem if Path(source).exists() else source
    rows = dataset if limit is None else dataset.select(range(min(limit, len(dataset))))
    return [
        _problem(row, index, how, verifier or row.get("verifier") or how.verifier, name, source, dataset.info.license)
        for index, row in enumerate(rows)
    ]


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


def generate_problems(generator: str, count: int, seed: int) -> Iterator[Problem]:
    """
    Make problems of the kinds that the starter model was trained for. They are none of its training problems.

    Args:
        generator (`str`): `"letters"` or `"arithmetic"`.
        count (`int`): How many.
        seed (`int`): The same seed makes the same problems.
    """
    from .starter import arithmetic, letters

    random_task = {"letters": letters, "arithmetic": arithmetic}[generator].random_task
    rng = random.Random(f"{generator} problems {seed}")
    for index in range(count):
        task = random_task(rng)
        yield Problem(
            problem_id=f"{generator}-{seed}-{index}",
            prompt=task.prompt,
            answer=str(task.result),
            verifier=task.verifier,
            source=f"hf_treecot/{generator}",
            license="apache-2.0",
        )


def _load_dataset(source: str, split: str, config_name: str | None):
    import datasets

    path = Path(source)
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        if path.is_dir():
            return datasets.load_dataset(str(path), config_name, split=split)
        if path.is_file():
            return _load_file(path)
        if path.suffix in FILE_BUILDERS or source.startswith((".", "/", "~")) or source.count("/") != 1:
            raise InvalidInputError(
                f"problems {source!r}: no such file, directory or generator; give the path of a "
                f"{', '.join(FILE_BUILDERS)} file, a Hub dataset as user/name, or one of {', '.join(GENERATORS)}"
            )
        return datasets.load_dataset(source, config_name, split=split)
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError, ConnectionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        reason = " ".join(str(error).split())
        raise InvalidInputError(f"problems {source!r}: it cannot be loaded with split={split!r} ({reason})") from error
    finally:
        if not bars:
            datasets.enable_progress_bars()


def _load_file(path: Path):
    import datasets

    if path.suffix not in FILE_BUILDERS:
        raise InvalidInputError(f"problems {str(path)!r}: unknown file type; use one of {', '.join(FILE_BUILDERS)}")
    if path.stat().st_size == 0 or (path.suffix != ".parquet" and not path.read_text(encoding="utf-8").strip(" \n[]")):
        raise InvalidInputError(f"problems {str(path)!r}: the file is empty; give a file with at least one problem")
    return datasets.load_dataset(FILE_BUILDERS[path.suffix], data_files=str(path), split="train")


def _format(source: str, name: str, columns: Mapping[str, str] | None, dataset) -> ProblemFormat:
    have = ", ".join(dataset.column_names)
    if columns is not None:
        missing = {"prompt", "answer"} - columns.keys()
        unknown = columns.keys() - {"prompt", "answer", "problem_id"}
        if missing or unknown:
            raise InvalidInputError(
                f"columns={dict(columns)!r}: it must name the columns of prompt and answer, and may name problem_id"
            )
        how = ProblemFormat(**columns)
        if how.problem_id and how.problem_id not in dataset.column_names:
            raise InvalidInputError(
                f"problems {source!r}: there is no column {how.problem_id!r} for problem_id (it has {have}); "
                "leave problem_id out to have the rows numbered"
            )
    elif name == "auto":
        return _detect_format(source, dataset)
    elif name in FORMATS:
        how = FORMATS[name]
    else:
        raise InvalidInputError(f"format={name!r} is unknown: use auto or one of {', '.join(FORMATS)}")
    for column in (how.prompt, how.answer):
        if column not in dataset.column_names:
            raise InvalidInputError(
                f"problems {source!r}: there is no column {column!r} (it has {have}); map the right ones with columns"
            )
    return how


def _detect_format(source: str, dataset) -> ProblemFormat:
    row = dataset[0]
    for how in FORMATS.values():
        # The id column may be absent from a hand-made file; the number-only formats must fit the first row.
        if how.prompt in row and how.answer in row and (not how.problem_id or how.problem_id in row):
            try:
                how.read_answer(row[how.answer])
            except (ValueError, TypeError):
                continue
            return how
    if {"prompt", "answer"} <= row.keys():
        return ProblemFormat("prompt", "answer")
    raise InvalidInputError(
        f"problems {source!r}: its columns ({', '.join(dataset.column_names)}) fit no known format "
        f"({', '.join(FORMATS)}); name them with columns, for example --columns prompt=question answer=final"
    )


def _problem(
    row: Mapping[str, Any], index: int, how: ProblemFormat, verifier: str, name: str, source: str, license: str | None
) -> Problem:
    try:
        answer = how.read_answer(row[how.answer])
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"problems {source!r}: row {index}: column {how.answer!r} holds {row[how.answer]!r}, which is not an "
            f"answer of this format ({error}); correct the row or choose another format"
        ) from error
    prompt = row[how.prompt]
    if not isinstance(prompt, str) or not prompt.strip() or row[how.answer] is None:
        raise InvalidInputError(
            f"problems {source!r}: row {index}: column {how.prompt!r} holds {prompt!r} and {how.answer!r} holds "
            f"{row[how.answer]!r}; every problem needs a text and an answer"
        )
    row_id = row.get(how.problem_id) if how.problem_id else None
    return Problem(
        problem_id=str(row_id) if row_id is not None else f"{name}-{index}",
        prompt=prompt,
        answer=answer,
        verifier=verifier,
        source=name,
        license=license or "",
    )
