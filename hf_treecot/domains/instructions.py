"""Instructions that can be checked: which there are, and whether a text follows them.

IFEval's 25 kinds by lm-eval's checkers, and Multi-IF's rules for other languages. It must not know problems or
rewards.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def checkers_version() -> str:
    """
    Name and version of the library that checks.

    Raises:
        ImportError: It is not installed; the message says what to run.
    """
    try:
        return f"lm-eval {version('lm_eval')}"
    except PackageNotFoundError as error:
        raise ImportError("its checkers are not installed: pip install 'hf-treecot[instructions]'") from error


@functools.lru_cache(maxsize=2)
def checkers(multilingual: bool = False) -> Mapping[str, type]:
    """
    The checker of every instruction id.

    Args:
        multilingual (`bool`): By Multi-IF's rules, which know words and sentences of more languages.

    Raises:
        ImportError: They, or the data that they need, are not installed; the message says what to run.
    """
    checkers_version()
    from .nltk_data import install_punkt

    install_punkt()  # before the checkers are imported: they would download it
    import langdetect
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    langdetect.DetectorFactory.seed = 0  # it draws random numbers otherwise
    # It logs a whole answer whose language it cannot tell.
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)
    from . import instruction_checkers

    return {**INSTRUCTION_DICT, **(instruction_checkers.MULTI_IF if multilingual else instruction_checkers.IFEVAL)}


def load_checker(instruction: Mapping[str, Any], multilingual: bool = False):
    """
    The checker of one instruction, with its arguments.

    Args:
        instruction (`Mapping`): Its `id` and its `arguments`; arguments that are None are not given.
        multilingual (`bool`): By Multi-IF's rules.

    Raises:
        ValueError: No such instruction, or arguments that it would have to guess.
    """
    name = instruction["id"]
    given = {key: value for key, value in instruction.get("arguments", {}).items() if value is not None}
    if name not in checkers(multilingual):
        raise ValueError(f"instruction id {name!r} is unknown: use one of {', '.join(sorted(checkers()))}")
    checker = checkers(multilingual)[name](name)
    wanted = checker.get_instruction_args_keys()
    if set(given) != set(wanted):  # the checkers draw at random what is missing
        raise ValueError(f"instruction {name!r} takes {', '.join(wanted) or 'no arguments'}; got {given}")
    checker.build_description(**given)
    used = checker.get_instruction_args() or {}
    for key, value in given.items():
        if _comparable(used[key]) != _comparable(value):
            raise ValueError(f"instruction {name!r}: {key}={value!r} is nothing that its checker can check")
    return checker


def _comparable(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().lower()
    return sorted(set(value)) if isinstance(value, list | tuple) else value


def follow(
    text: str, instructions: Sequence[Mapping[str, Any]], *, loose: bool = False, multilingual: bool = False
) -> list[bool]:
    """
    Which instructions a text follows (IFEval, section 2.2).

    Args:
        text (`str`): An answer.
        instructions (`Sequence[Mapping]`): Each with its `id` and its `arguments`.
        loose (`bool`): Be content if it does so without its first line, its last line, or its asterisks.
        multilingual (`bool`): By Multi-IF's rules.

    Returns:
        `list[bool]`: One for every instruction.

    Raises:
        ValueError: An instruction is unknown, or its arguments are none of its own.
    """
    texts = [text]
    if loose:
        lines = text.split("\n")
        texts += ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
        texts += [variant.replace("*", "") for variant in texts]
    loaded = [load_checker(instruction, multilingual) for instruction in instructions]
    return [any(bool(t.strip()) and _follows(checker, t) for t in texts) for checker in loaded]


def _follows(checker, text: str) -> bool:
    try:
        return bool(checker.check_following(text))
    except RecursionError:  # of JSON: nested deeper than what any reader takes
        return False
