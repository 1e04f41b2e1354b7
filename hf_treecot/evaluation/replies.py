"""What a model said to a problem, judged: every reply has a verdict, or the reason why it gives no answer.

Verifiers run in killable processes; one that fails gives no verdict, which is not a reward of 0.
"""

import asyncio
from collections.abc import Sequence

from ..base import Problem, Verdict
from ..errors import InvalidInputError, VerifierError
from ..verifiers.judging import Judged, verify_all
from ..verifiers.worker import verifier_pool


def verify(texts: Sequence[str], problems: Sequence[Problem]) -> list[Verdict | None]:
    """Verdicts; None where the verifier failed, which is counted by `verifier_failures`."""
    verdicts = asyncio.run(verify_all(texts, problems, verifier_pool()))
    return [verdict if isinstance(verdict, Verdict) else None for verdict in verdicts]


def check_gold(problem: Problem) -> None:
    """
    See that a verifier can read a gold answer.

    Raises:
        InvalidInputError: It cannot.
    """
    try:
        verifier_pool().verify_blocking("\\boxed{0}", problem)
    except VerifierError as error:
        raise InvalidInputError(
            f"problem {problem.problem_id!r}: its gold answer {problem.answer[:100]!r} cannot be checked "
            f"({str(error).rpartition(': ')[2]}): correct the row"
        ) from error


def judge(
    problems: Sequence[Problem], texts: Sequence[str], tokens: Sequence[int], truncated: Sequence[bool]
) -> list[list[Judged]]:
    """
    The outputs to one row of a benchmark, each with a judged reply for every turn.

    Args:
        problems (`Sequence[Problem]`): Of every turn.
        texts (`Sequence[str]`): The replies, output by output.
        tokens (`Sequence[int]`): Their lengths.
        truncated (`Sequence[bool]`): Whether they ran into their limits.
    """
    turns = len(problems)
    verdicts = verify(texts, list(problems) * (len(texts) // turns))
    replies = [Judged(*row) for row in zip(texts, verdicts, tokens, truncated, strict=True)]
    return [replies[start : start + turns] for start in range(0, len(replies), turns)]
