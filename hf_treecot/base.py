"""The types that everyone shares: a problem, and what is said of an answer to it."""

from dataclasses import dataclass

from .errors import InvalidInputError


BUILT_IN_VERIFIERS = ("confidence", "instructions", "letters", "math", "planning")


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
class Verdict:
    """
    What a verifier says of an answer.

    Args:
        reward (`float`): In [0, 1]; above one half is right.
        answer (`str`, *optional*): What was taken as the answer; None if there was none.
        reason (`str`): Why: `"right"`, `"wrong"`, `"no_answer"`, `"unparseable"`, `"ambiguous"` (several answers that
            disagree), `"unverified"` (a guess, by no rule); details may follow a colon.
    """

    reward: float
    answer: str | None
    reason: str


def verifier_of_row(name: object) -> str:
    """
    The verifier that a row of data names, if it may: a built-in one. Any other name is code to be run, which the user
    may name, but not data.

    Raises:
        InvalidInputError: It is not a built-in one.
    """
    if name in BUILT_IN_VERIFIERS:
        return name
    raise InvalidInputError(
        f"verifier {str(name)[:100]!r} is named by the data, which may name {', '.join(BUILT_IN_VERIFIERS)} only, "
        "since any other name runs code: give --verifier if you trust it"
    )
