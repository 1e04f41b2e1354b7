"""Verifiers: rules that turn an answer into a reward. One plain function a file.

A verifier is `verify(completion, problem) -> Verdict`. It reads the answer from the text of an answer thought, and
raises on its own failure: a crash is never a reward. Model output is untrusted, so verifiers run in the killable
processes of [`~verifiers.worker.VerifierPool`].
"""

import importlib
from collections.abc import Callable

from ..base import BUILT_IN_VERIFIERS, Problem, Verdict
from ..errors import InvalidInputError


def load_verifier(name: str) -> Callable[[str, Problem], Verdict]:
    """
    The verifier of a name.

    Args:
        name (`str`): A built-in one (`"math"`, `"planning"`, `"instructions"`, `"letters"`, `"confidence"`), or one of
            your own as `"package.module:function"`.

    Raises:
        InvalidInputError: No such verifier.
    """
    module_name, _, function_name = (f"{__package__}.{name}:verify" if name in BUILT_IN_VERIFIERS else name).partition(
        ":"
    )
    try:
        if not function_name:
            raise ImportError("it is not built in and names no function")
        function = getattr(importlib.import_module(module_name), function_name)
        if not callable(function):
            raise TypeError(f"it is of type {type(function).__name__}, not a function")
    except Exception as error:  # an import runs any code
        raise InvalidInputError(
            f"verifier {name!r} cannot be loaded ({' '.join(str(error).split())}): "
            f"use one of {', '.join(BUILT_IN_VERIFIERS)}, or your own as package.module:function"
        ) from error
    return function


def prepare_verifier(name: str) -> None:
    """Call the `prepare` of the module of a verifier, if there is one: what takes long and is done once."""
    getattr(_module(name), "prepare", lambda: None)()


def verifier_version(name: str) -> str:
    """The version of a verifier, recorded with every tree: the `VERSION` of the module it names, if there is one."""
    load_verifier(name)
    return str(getattr(_module(name), "VERSION", "unversioned"))


def _module(name: str):
    return importlib.import_module(f"{__package__}.{name}" if name in BUILT_IN_VERIFIERS else name.partition(":")[0])
