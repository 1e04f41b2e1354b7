"""Training chains of the starter model: random walks through the patterns, with sensible content for every kind.

Tags, prefills and transitions come from the patterns themselves, so the model knows whatever they say. Wrong thoughts
occur only as something to recover from, and carry no loss: what the model gets wrong later is its own doing.
"""

import random
from dataclasses import dataclass

from ..domains.arithmetic import ArithmeticTask
from ..domains.blocks import BlocksTask, Plan
from ..domains.letters import LettersTask
from ..mcts.pattern import Pattern


Task = LettersTask | ArithmeticTask | BlocksTask
Result = int | Plan
MAX_THOUGHTS = 5
PROBABILITY_OF_SLIP = 0.2
PROBABILITY_OF_ANSWER = 0.9


@dataclass(frozen=True)
class Segment:
    """A piece of a completion; `trained` says whether it carries loss."""

    text: str
    trained: bool


def write_chain(task: Task, pattern: Pattern, rng: random.Random) -> list[Segment]:
    """
    Write one chain that ends in the right answer.

    Args:
        task (`LettersTask`, `ArithmeticTask` or `BlocksTask`): The problem.
        pattern ([`Pattern`]): The transitions to walk.
        rng (`random.Random`): The source of all choices.

    Returns:
        `list[Segment]`: The pieces of the completion, in order.
    """
    segments: list[Segment] = []
    style = rng.choices(*zip(*task.styles, strict=True))[0]
    found: Result | None = None
    slips = 0
    kind = rng.choice(list(pattern.start))
    for length in range(1, 100):
        spec = pattern.thoughts[kind]
        prefill = rng.choice(spec.prefills)
        slip = kind in ("thinking", "double_check") and slips < 2 and rng.random() < PROBABILITY_OF_SLIP
        text, found_here, style = _content(kind, task, style, found, slip, rng)
        slips += slip
        segments.append(Segment(f"{spec.opening}{prefill}{' ' if prefill and text else ''}", True))
        segments.append(Segment(text, not slip))
        segments.append(Segment(spec.closing if spec.terminal else f"{spec.closing}\n", True))
        if spec.terminal:
            return segments
        found = found_here if found_here is not None else found
        kind = _next_kind(
            kind, pattern, found is not None and task.is_right(found), found is None, length >= MAX_THOUGHTS, rng
        )
    raise RuntimeError(f"pattern {pattern.name!r} never came to an answer")


def _content(
    kind: str, task: Task, style: str, found: Result | None, slip: bool, rng: random.Random
) -> tuple[str, Result | None, str]:
    """The text of a thought after its prefill, the result it comes to if any, and the style to go on with."""
    careful = task.styles[0][0]
    if kind in ("sub_task", "hypothesis"):
        style = style if kind == "sub_task" else rng.choices(*zip(*task.styles, strict=True))[0]
        return task.plan(style), None, style
    if kind == "thinking":
        text, result = task.work(style, rng, slip)
        # Whoever thinks again does it another way.
        return text, result, rng.choices(*zip(*task.styles, strict=True))[0]
    if kind == "double_check":
        text, result = task.work(style if rng.random() < 0.3 else careful, rng, slip)
        verdict = "It agrees." if result == found else "It does not agree."
        return f"{text} {verdict}", result, style
    if kind == "reclarify":
        return task.restate(), None, careful
    if kind == "thinking_from_scratch":
        return task.plan(careful), None, careful
    if kind == "reflection":
        return "", None, careful
    return f"\\boxed{{{task.answer(found)}}}", None, style


def _next_kind(kind: str, pattern: Pattern, is_right: bool, is_open: bool, must_end: bool, rng: random.Random) -> str:
    """Where a sensible thinker goes: on if nothing is found, back if it is wrong, to the answer if it is right."""
    allowed = list(pattern.thoughts[kind].next)
    terminal = [k for k in allowed if pattern.thoughts[k].terminal]
    rest = [k for k in allowed if k not in terminal]
    on_wrong = pattern.on_wrong
    if is_open or not is_right:
        if not is_open and on_wrong is not None and kind in on_wrong.under:
            return on_wrong.add
        return rng.choice(rest)
    if terminal and (must_end or not rest or rng.random() < PROBABILITY_OF_ANSWER):
        return terminal[0]
    if must_end:  # the shortest way out
        leads = [k for k in rest if any(pattern.thoughts[n].terminal for n in pattern.thoughts[k].next)]
        return rng.choice(leads or rest)
    return rng.choice(rest)
