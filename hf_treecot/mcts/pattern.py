"""Transition patterns: which typed thoughts may follow which, as data.

This module finds patterns by name, and loads and validates those of YAML files. It must not know how a search walks
them, nor who writes the thoughts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..files import read_yaml
from .kinds import FREE, KINDS, MOST_CHILDREN, ROLES, OnWrong, Pattern, ThoughtSpec


PATTERN_DIRECTORY = Path(__file__).parent / "patterns"
BEST_OF = re.compile(r"best_of_([1-9]\d?)")


def available_patterns() -> list[str]:
    """Names of the patterns that come with the package."""
    return sorted(path.stem for path in PATTERN_DIRECTORY.glob("*.yaml"))


def best_of(count: int) -> Pattern:
    """
    Whole replies, as the model writes them: one expansion at the root, and no other.

    Args:
        count (`int`): Replies.
    """
    reply = ThoughtSpec("answer", "", terminal=True)
    return Pattern(f"best_of_{count}", {"answer": count}, {"answer": reply}, description="whole replies")


@cache
def free_thoughts() -> Pattern:
    """
    Thoughts whose kinds the model chooses itself, one at a time: its replies, in which a search can branch. A reply
    without thoughts is an answer without a tag.
    """
    specs = {kind: spec for name in available_patterns() for kind, spec in load_pattern(name).thoughts.items()}
    thoughts = {kind: ThoughtSpec(kind, spec.tag, terminal=spec.terminal) for kind, spec in specs.items()}
    return Pattern("free", {FREE: 1}, thoughts, description="thoughts whose kinds the model chooses", free=True)


def load_pattern(name_or_path: str | Path) -> Pattern:
    """
    Load and validate a pattern.

    Args:
        name_or_path (`str` or `Path`): One of [`available_patterns`], `free` ([`free_thoughts`]), `best_of_N`
            ([`best_of`], with a number in place of N), or a YAML file of the same form.

    Returns:
        [`Pattern`]

    Raises:
        InvalidInputError: No such pattern, or a malformed one; the message names the file, the key and the remedy.
    """
    path = Path(name_or_path)
    if (match := BEST_OF.fullmatch(str(name_or_path))) and 1 <= int(match.group(1)) <= MOST_CHILDREN:
        return best_of(int(match.group(1)))
    if str(name_or_path) == "free":
        return free_thoughts()
    if path.suffix not in (".yaml", ".yml"):
        path = PATTERN_DIRECTORY / f"{name_or_path}.yaml"
    if not path.is_file():
        raise InvalidInputError(
            f"pattern {str(name_or_path)!r} does not exist: use one of {', '.join(available_patterns())}, "
            f"free, best_of_N with N up to {MOST_CHILDREN}, or the path of a .yaml file"
        )
    return _parse_pattern(read_yaml(path), path)


def _parse_pattern(data: Any, path: Path) -> Pattern:
    if not isinstance(data, dict):
        raise InvalidInputError(f"{path}: a pattern is a mapping with the keys name, start and thoughts; got {data!r}")
    thoughts = data.get("thoughts")
    if not isinstance(thoughts, dict) or not thoughts:
        raise InvalidInputError(f"{path}: thoughts: list at least one kind of thought with its tag")
    specs = {}
    for kind, value in thoughts.items():
        key = f"thoughts.{kind}"
        if kind not in KINDS:
            raise InvalidInputError(f"{path}: {key}: unknown kind; use one of {', '.join(KINDS)}")
        specs[kind] = _build(ThoughtSpec, {**_mapping(value, path, key), "kind": kind}, path, key)
    on_wrong = data.get("on_wrong")
    if on_wrong is not None:
        on_wrong = _build(OnWrong, _mapping(on_wrong, path, "on_wrong"), path, "on_wrong")
    pattern = _build(Pattern, {**data, "thoughts": specs, "on_wrong": on_wrong}, path, "")
    for key, problem in _problems(pattern):
        raise InvalidInputError(f"{path}: {key}: {problem}")
    return pattern


def _mapping(value: Any, path: Path, key: str) -> dict:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{path}: {key}: expected a mapping, got {value!r}")
    return value


def _build(cls: type, values: dict, path: Path, key: str) -> Any:
    """An instance of `cls` from YAML values; lists become tuples, unknown and missing keys are refused."""
    prefix = f"{key}." if key else ""
    known = {f.name: f for f in fields(cls)}
    for name in values:
        if name not in known:
            raise InvalidInputError(f"{path}: {prefix}{name}: unknown key; use one of {', '.join(known)}")
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise InvalidInputError(f"{path}: {prefix}{name}: missing; add it")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _problems(pattern: Pattern) -> Iterator[tuple[str, str]]:
    """What is wrong with a pattern, as (key, what and remedy)."""
    if not isinstance(pattern.name, str) or not pattern.name:
        yield "name", f"must be a non-empty string, got {pattern.name!r}"
    if pattern.free:
        yield "free", "a file says which kinds may follow; use the pattern free where the model is to choose"
    yield from _transition_problems("start", pattern.start, pattern)
    if not isinstance(pattern.description, str):
        yield "description", f"must be text, got {pattern.description!r}"
    if not isinstance(pattern.system_prompts, Mapping):
        yield "system_prompts", f"must map roles to text, got {pattern.system_prompts!r}"
        return
    for role, text in pattern.system_prompts.items():
        if role not in ROLES:
            yield f"system_prompts.{role}", f"unknown role; use one of {', '.join(ROLES)}"
        if not isinstance(text, str):
            yield f"system_prompts.{role}", f"must be text, got {text!r}"
    tags = [spec.tag for spec in pattern.thoughts.values()]
    for kind, spec in pattern.thoughts.items():
        yield from _thought_problems(f"thoughts.{kind}", spec, pattern, tags)
    if pattern.on_wrong is not None:
        yield from _on_wrong_problems(pattern.on_wrong, pattern)
    yield from _reachability_problems(pattern)


def _thought_problems(key: str, spec: ThoughtSpec, pattern: Pattern, tags: list[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(spec.tag, str) or not spec.tag or not spec.tag.replace("-", "").replace("_", "").isalnum():
        yield f"{key}.tag", f"must be a word of letters, digits, - and _, got {spec.tag!r}"
    elif tags.count(spec.tag) > 1:
        yield f"{key}.tag", f"{spec.tag!r} is used twice; give every kind a tag of its own"
    if spec.role not in ROLES:
        yield f"{key}.role", f"unknown role {spec.role!r}; use one of {', '.join(ROLES)}"
    if not isinstance(spec.prefills, tuple) or not spec.prefills or not all(isinstance(p, str) for p in spec.prefills):
        yield f"{key}.prefills", f'must be a list of at least one string ("" for none), got {spec.prefills!r}'
    for flag in ("terminal", "closed", "continue_unfinished"):
        if not isinstance(getattr(spec, flag), bool):
            yield f"{key}.{flag}", f"must be true or false, got {getattr(spec, flag)!r}"
    for tag in (f"<{slash}{other}>" for other in tags for slash in ("", "/")):
        if any(tag in prefill for prefill in spec.prefills):
            yield f"{key}.prefills", f"{tag} would end the thought; remove it"
    if not isinstance(spec.description, str):
        yield f"{key}.description", f"must be text, got {spec.description!r}"
    if not isinstance(spec.next, Mapping):
        yield f"{key}.next", f"must map kinds to counts, got {spec.next!r}; leave it out where nothing follows"
    if spec.closed and "" in spec.prefills:
        yield f"{key}.prefills", "a closed thought is its prefill, so it needs one that is not empty"
    if spec.terminal and spec.next:
        yield f"{key}.next", "nothing may follow a terminal kind; remove it or set terminal: false"
    if spec.terminal and spec.closed:
        yield f"{key}.closed", "a terminal kind must be generated; set closed: false"
    if not spec.terminal:
        yield from _transition_problems(f"{key}.next", spec.next, pattern)


def _transition_problems(key: str, counts: Any, pattern: Pattern) -> Iterator[tuple[str, str]]:
    if not isinstance(counts, Mapping) or not counts:
        yield key, f"must map at least one kind to a count, got {counts!r}"
        return
    for kind, count in counts.items():
        if kind not in pattern.thoughts:
            yield f"{key}.{kind}", f"unknown kind; add it to thoughts or use one of {', '.join(pattern.thoughts)}"
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_CHILDREN:
            yield f"{key}.{kind}", f"the count must be a whole number from 1 to {MOST_CHILDREN}, got {count!r}"


def _on_wrong_problems(on_wrong: OnWrong, pattern: Pattern) -> Iterator[tuple[str, str]]:
    if not isinstance(on_wrong.add, str) or on_wrong.add not in pattern.thoughts:
        yield "on_wrong.add", f"unknown kind {on_wrong.add!r}; use one of {', '.join(pattern.thoughts)}"
    elif pattern.thoughts[on_wrong.add].terminal:
        yield "on_wrong.add", f"{on_wrong.add!r} is terminal; add a kind that leads to another answer"
    if not isinstance(on_wrong.under, tuple) or not on_wrong.under:
        yield "on_wrong.under", f"must be a list of at least one kind, got {on_wrong.under!r}"
        return
    for kind in on_wrong.under:
        if not isinstance(kind, str) or kind not in pattern.thoughts or pattern.thoughts[kind].terminal:
            yield "on_wrong.under", f"{kind!r} is not a kind of this pattern that others may follow"
    for name in ("count", "max_per_node"):
        value = getattr(on_wrong, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield f"on_wrong.{name}", f"must be a whole number of at least 1, got {value!r}"


def _reachability_problems(pattern: Pattern) -> Iterator[tuple[str, str]]:
    if not any(spec.terminal for spec in pattern.thoughts.values()):
        yield "thoughts", "no kind is terminal, so there is no way to an answer; set terminal: true on one"
        return
    leads_to_answer = {kind for kind, spec in pattern.thoughts.items() if spec.terminal}
    while more := {
        kind
        for kind, spec in pattern.thoughts.items()
        if kind not in leads_to_answer and leads_to_answer & spec.next.keys()
    }:
        leads_to_answer |= more
    for kind in pattern.thoughts:
        if kind not in leads_to_answer:
            yield f"thoughts.{kind}.next", "no way from here to an answer (a cycle with no exit); add one"
    reached = set(pattern.start) | ({pattern.on_wrong.add} if pattern.on_wrong else set())
    while more := {kind for source in reached for kind in pattern.thoughts[source].next} - reached:
        reached |= more
    for kind in pattern.thoughts:
        if kind not in reached:
            yield f"thoughts.{kind}", "nothing leads to this kind; remove it or add it to a next"
