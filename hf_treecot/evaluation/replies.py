"""What a model said to a problem, judged: every reply has a verdict, or the reason why it gives no answer.

Verifiers run in killable processes; one that fails gives no verdict, which is not a reward of 0.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from ..base import Problem, Verdict
from ..errors import InvalidInputError, VerifierError
from ..verifiers.judging import Judged, verify_all
from ..verifiers.worker import verifier_pool


@dataclass
class Outputs(ModelResponse):
    """
    What our models answer: outputs, and what lighteval's own response does not say of them.

    Args:
        token_counts (`list[int]`): Generated tokens of every text.
        finish_reasons (`list[str]`): `"length"` for a text that ran into its limit.
        is_search (`bool`): The outputs are those of one search, the one it chose first; else independent samples.
        found_at (`list[int]`): Tokens that had been generated for the problem when an output was there.
        budget (`int`): Tokens that could be spent on the problem.
    """

    token_counts: list[int] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    is_search: bool = False
    found_at: list[int] = field(default_factory=list)
    budget: int = 0


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


def judge(problems: Sequence[Problem], doc: Doc, response: ModelResponse) -> list[list[Judged]]:
    """The outputs of a response, each with a judged reply for every turn."""
    turns = len(problems)
    if not response.text or len(response.text) % turns:
        raise InvalidInputError(
            f"task {doc.task_name!r} is a conversation of {turns} turns, but the model answered only the first: "
            "evaluate it with `treecot evaluate`"
        )
    texts = response.text
    verdicts = verify(texts, list(problems) * (len(texts) // turns))
    counts = getattr(response, "token_counts", None) or [len(_unpadded(t)) for t in response.output_tokens]
    counts = counts or [0] * len(texts)
    reasons = getattr(response, "finish_reasons", None)
    if not reasons:
        reasons = ["length" if doc.generation_size and n >= doc.generation_size else "stop" for n in counts]
    replies = [
        Judged(text, verdict, tokens, reason == "length")
        for text, verdict, tokens, reason in zip(texts, verdicts, counts, reasons, strict=True)
    ]
    return [replies[i : i + turns] for i in range(0, len(replies), turns)]


def _unpadded(tokens: Sequence[int]) -> Sequence[int]:
    """Tokens without padding: lighteval's models fill a batch with one token at the end, and do not say which."""
    tokens = list(tokens)
    while len(tokens) > 1 and tokens[-1] == tokens[-2]:
        tokens.pop()
    return tokens
