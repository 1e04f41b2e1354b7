"""The problems of a round: new ones, if asked of a difficulty for the model that is going to learn from them.

It must not know what is made of them.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from ..base import Problem
from ..errors import InvalidInputError
from ..files import write_atomically
from ..problems.generators import generate_problems
from .stages import load_engine, tree_settings


DRAW_FACTOR = 4  # problems that are drawn for each that is wanted, where some will be left out
MOST_REPEATED = 1_000  # problems in a row that were all seen: the generator makes no others


@dataclass(frozen=True)
class PassRates:
    """
    Which problems are taken: those that a model solves neither too rarely nor too often.

    Args:
        low, high (`float`): The smallest and the largest share of right answers.
        k (`int`): Answers of which it is the share.
        max_new_tokens (`int`): Tokens of an answer.
    """

    low: float
    high: float
    k: int
    max_new_tokens: int


def new_problems(kind: str, seed: int, seen: set[str]) -> Iterator[Problem]:
    """
    Problems of a generator, as many as are asked for, without those whose text was seen; each is seen from then on.

    Raises:
        InvalidInputError: It makes no others.
    """
    repeated = 0
    for problem in generate_problems(kind, 10**9, seed):
        if problem.prompt not in seen:
            seen.add(problem.prompt)
            repeated = 0
            yield problem
        elif (repeated := repeated + 1) > MOST_REPEATED:
            raise InvalidInputError(f"problems={kind!r}: it has no new ones left: lower num_problems, or rounds")


def choose_problems(
    path: Path,
    kinds: Sequence[str],
    num_problems: int,
    seed: int,
    seen: set[str],
    model: str,
    between: PassRates | None = None,
) -> tuple[list[Problem], dict[str, int]]:
    """
    The problems of a round, which are chosen once.

    Args:
        path (`Path`): Where they are kept.
        kinds (`Sequence[str]`): Their generators.
        num_problems (`int`): How many of each kind.
        seed (`int`): Of the generators.
        seen (`set[str]`): Texts of held-out problems and of earlier rounds; those of this one are added.
        model (`str`): Whose pass rate counts.
        between ([`PassRates`], *optional*): Which are taken; default: all.

    Returns:
        `tuple[list[Problem], dict[str, int]]`: The problems, and how many others were left out, by reason.

    Raises:
        InvalidInputError: There are none.
    """
    if not path.is_file():
        count = num_problems * (DRAW_FACTOR if between else 1)
        # What is drawn and left out was not trained on: a later round may take it.
        drawn = {kind: list(islice(new_problems(kind, seed, set(seen)), count)) for kind in kinds}
        left_out: Counter[str] = Counter()
        if between:
            rates = pass_rates([problem for of_kind in drawn.values() for problem in of_kind], model, between)
            drawn, left_out = by_difficulty(drawn, rates, between, num_problems)
        problems = [asdict(problem) for of_kind in drawn.values() for problem in of_kind]
        if not problems:
            reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            raise InvalidInputError(
                f"{path.parent.name}: no problem has a pass rate from {between.low:g} to {between.high:g} "
                f"({reasons}): widen min_pass_rate and max_pass_rate, or raise num_problems, in another output_dir"
            )
        write_atomically(path, json.dumps({"left_out": left_out, "problems": problems}, indent=2) + "\n")
    found = json.loads(path.read_text(encoding="utf-8"))
    problems = [Problem(**row) for row in found["problems"]]
    seen.update(problem.prompt for problem in problems)
    return problems, found["left_out"]


def pass_rates(problems: Sequence[Problem], model: str, between: PassRates) -> dict[str, float]:
    """The share of right answers among those to a problem, sampled as trees are; NaN if none could be verified."""
    from ..evaluation.outputs import answer_all

    search = tree_settings(Path("trees")).search
    engine = load_engine(model)
    samples = [
        answer_all(
            problems, engine, max_new_tokens=between.max_new_tokens, temperature=search.temperature,
            top_p=search.top_p, seed=seed,
        )
        for seed in range(between.k)
    ]  # fmt: skip
    engine.close()
    rates = {}
    for problem, *outputs in zip(problems, *samples, strict=True):
        known = [output.reward for output in outputs if output.verdict]
        rates[problem.problem_id] = fmean(known) if known else math.nan
    return rates


def by_difficulty(
    drawn: Mapping[str, Sequence[Problem]], rates: Mapping[str, float], between: PassRates, num_problems: int
) -> tuple[dict[str, list[Problem]], Counter[str]]:
    """The first so many problems of each kind with such a pass rate, and how many others came before, by reason."""
    kept: dict[str, list[Problem]] = {kind: [] for kind in drawn}
    left_out: Counter[str] = Counter()
    for kind, of_kind in drawn.items():
        for problem in of_kind:
            rate = rates[problem.problem_id]
            if len(kept[kind]) == num_problems:
                break
            if between.low <= rate <= between.high:
                kept[kind].append(problem)
            else:
                left_out[
                    "too easy" if rate > between.high else "too hard" if rate < between.low else "unverified"
                ] += 1
    return kept, left_out
