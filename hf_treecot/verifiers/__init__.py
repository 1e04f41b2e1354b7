"""Verifiers: rules that turn an answer into a reward. One plain function a file.

A verifier is `verify(completion, problem) -> Verdict`. It reads the answer from the text of an answer thought, and
raises on its own failure: a crash is never a reward. Model output is untrusted, so verifiers run in the killable
processes of [`~verifiers.worker.VerifierPool`].
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InvalidInputError
from ..problems import Problem


BUILT_IN = ("letters", "math")


@dataclass(frozen=True)
class Verdict:
    """
    What a verifier says of an answer.

    Args:
        reward (`float`): In [0, 1]; above one half is right.
        answer (`str`, *optional*): What was taken as the answer; None if there was none.
        reason (`str`): Why: `"right"`, `"wrong"`, `"no_answer"`, `"unparseable"`.
    """

    reward: float
    answer: str | None
    reason: str


def load_verifier(name: str) -> Callable[[str, Problem], Verdict]:
    """
    The verifier of a name.

    Args:
        name (`str`): A built-in one (`"letters"`, `"math"`), or one of your own as `"package.module:function"`.

    Raises:
        InvalidInputError: No such verifier.
    """
    if name in BUILT_IN:
        return importlib.import_module(f".{name}", __package__).verify
    module_name, _, function_name = name.partition(":")
    try:
        if not function_name:
            raise ImportError("it is not built in and names no function")
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(
            f"verifier {name!r} cannot be loaded ({error}): use one of {', '.join(BUILT_IN)}, "
            "or your own as package.module:function"
        ) from error


def verifier_version(name: str) -> str:
    """The version of a verifier, recorded with every tree: the `VERSION` of its module, if it has one."""
    return str(getattr(importlib.import_module(load_verifier(name).__module__), "VERSION", "unversioned"))
