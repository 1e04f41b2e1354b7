"""What a benchmark is: rows of a dataset, read as problems.

A benchmark names a dataset and a format of `problem_formats`; prompts, gold answers and verifiers are then those of
the data that trees are built from. It must not know who asks: [`~evaluation.lighteval_tasks`] and
[`~evaluation.inspect_tasks`] give it to lighteval and to Inspect. Three variables say the rest to the `lighteval`
command; recipes and Inspect's command pass it as arguments.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...base import Problem, verifier_of_row
from ...errors import InvalidInputError
from ...problems.formats import FORMATS
from ..metrics import CONVERSATION, INSTRUCTIONS, REASONING


DATA_VARIABLE = "TREECOT_EVALUATION_DATA"
PROMPT_VARIABLE = "TREECOT_EVALUATION_PROMPT"
SAMPLES_VARIABLE = "TREECOT_EVALUATION_SAMPLES"
PROMPTS = ("benchmark", "training")
MAX_SAMPLES = 32
PACKAGED = Path(__file__).parent / "data"
MATH_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}.\n\n"


@dataclass(frozen=True)
class TaskOptions:
    """
    How tasks are made.

    Args:
        data (`str`, *optional*): A directory that has, for every benchmark, a directory of its name with parquet or
            JSON Lines files, such as a copy of its Hub dataset. `$TREECOT_EVALUATION_DATA`; default: the Hub.
        prompt (`str`): `"benchmark"`, or `"training"`: the problem alone, as in the data that trees give.
            `$TREECOT_EVALUATION_PROMPT`.
        num_samples (`int`): Outputs for each problem, 1 to 32. `$TREECOT_EVALUATION_SAMPLES`.
        generation_size (`int`, *optional*): Tokens of an output; default: the benchmark's own.
        budgets (`tuple[int]`): Tokens of thinking after which an answer is forced; see [`~evaluation.budgets`].

    Raises:
        InvalidInputError: A value is out of its range.
    """

    data: str | None = None
    prompt: str = "benchmark"
    num_samples: int = 1
    generation_size: int | None = None
    budgets: tuple[int, ...] = ()

    def __post_init__(self):
        if self.prompt not in PROMPTS:
            raise InvalidInputError(f"prompt={self.prompt!r} is unknown: use one of {', '.join(PROMPTS)}")
        if not 1 <= self.num_samples <= MAX_SAMPLES:
            raise InvalidInputError(f"k={self.num_samples} is out of range: it must be from 1 to {MAX_SAMPLES}")
        if self.generation_size is not None and self.generation_size < 1:
            raise InvalidInputError(f"max_new_tokens={self.generation_size} is out of range: it must be at least 1")

    @classmethod
    def from_environment(cls) -> "TaskOptions":
        """What the variables say."""
        samples = os.environ.get(SAMPLES_VARIABLE, "1")
        if not samples.isdigit():
            raise InvalidInputError(f"{SAMPLES_VARIABLE}={samples!r}: it must be a number from 1 to {MAX_SAMPLES}")
        prompt = os.environ.get(PROMPT_VARIABLE, "benchmark")
        return cls(os.environ.get(DATA_VARIABLE) or None, prompt, int(samples))


@dataclass(frozen=True)
class Benchmark:
    """
    One benchmark.

    Args:
        name (`str`): Its task is `treecot:name`.
        dataset (`str`): Hub dataset, or a directory.
        formats (`tuple[str]`): Names of `problem_formats`; the first whose columns a row has is taken.
        version (`int`): Rises when prompt, data or scoring change.
        subset, split (`str`): Configuration and split of the dataset.
        instruction (`str`): Stands before every problem, unless prompts are those of the training data.
        generation_size (`int`): Tokens of an output.
        kind (`str`): Which figures are given besides those that all benchmarks have.
        keep (`Callable`, *optional*): Which rows are taken.
        directory (`str`): Its directory in the user's own data, if not its name.
    """

    name: str
    dataset: str
    formats: tuple[str, ...]
    version: int = 2
    subset: str = "default"
    split: str = "test"
    instruction: str = ""
    generation_size: int = 4096
    kind: str = REASONING
    keep: Callable[[dict], bool] | None = None
    directory: str = ""

    @property
    def task_name(self) -> str:
        """As lighteval knows it."""
        return f"treecot:{self.name}"

    def source(self, options: TaskOptions) -> tuple[str, str]:
        """Dataset or directory, and configuration, of its rows."""
        if options.data is None or Path(self.dataset).is_dir():
            return self.dataset, self.subset
        return str(Path(options.data, self.directory or self.name)), "default"

    def turns(self, prompt: str, problems: Sequence[Problem]) -> list[str]:
        """
        What a model is asked, turn by turn.

        Args:
            prompt (`str`): `"benchmark"` or `"training"`.
            problems (`Sequence[Problem]`): Of a row; see [`read_problems`].
        """
        if self.kind == CONVERSATION:
            return [json.loads(problem.answer)["turns"][-1] for problem in problems]
        return [(self.instruction if prompt == "benchmark" else "") + problem.prompt for problem in problems]


def read_problems(benchmark: Benchmark, row: dict) -> list[Problem]:
    """
    The problems of a row, one for every turn; none of a row that no verifier can check.

    Args:
        benchmark ([`Benchmark`]): Whose row it is.
        row (`dict`): The row, with its number as `__index`.

    Raises:
        InvalidInputError: The row cannot be read.
    """
    index = row.get("__index", "?")
    formats = [FORMATS[name] for name in benchmark.formats]
    how = next((how for how in formats if row.keys() >= set(how.required)), None)
    if how is None:
        raise InvalidInputError(
            f"task {benchmark.task_name!r}: row {index} of {benchmark.dataset!r} has the columns "
            f"{', '.join(key for key in row if not key.startswith('__'))}; it needs {', '.join(formats[0].required)}"
        )
    try:
        pairs = how.read(row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInputError(
            f"task {benchmark.task_name!r}: the gold answer of row {index} cannot be read ({error}): correct the row"
        ) from error
    verifier = verifier_of_row(row.get("verifier") or how.verifier)
    number = row.get(how.problem_id) if how.problem_id else None
    name = str(number) if number is not None else f"{benchmark.name}-{index}"
    return [
        Problem(name if len(pairs) == 1 else f"{name}/turn_{turn}", prompt, answer, verifier, benchmark.name)
        for turn, (prompt, answer) in enumerate(pairs, start=1)
    ]


__all__ = ["CONVERSATION", "INSTRUCTIONS", "MATH_INSTRUCTION", "PACKAGED", "REASONING", "Benchmark", "TaskOptions"]
