"""Plans for Blocksworld: every line is an action, every action is possible, and at the end the goal holds."""

import re

from ..base import Problem, Verdict
from ..domains.blocksworld import Action, parse_pddl, simulate
from .extraction import boxed, strip_emphasis


VERSION = "1"
MAX_LENGTH = 200_000  # characters of a plan
PLAN = re.compile(r"\[PLAN\](.*?)(?=\[PLAN\]|\[PLAN END\]|\Z)", re.DOTALL | re.IGNORECASE)
INTRODUCTION = re.compile(
    r"(?:\bhere\s+is\s+)?(?:\b(?:the|my|final)\s+){0,2}\b(?:answer|plan)(?:\s+is)?(?:\s+as\s+follows)?\s*:",
    re.IGNORECASE,
)
BULLET = re.compile(r"(?:(?:step\s*)?\(?\d+\s*[.):]|[-*•+]|step\s+\d+\s)\s*", re.IGNORECASE)
SEPARATOR = re.compile(r"\n|;|\\\\|\\n|\)\s*,?(?=\s*\()|,\s*(?:and\s+)?(?:then\s+)?(?=(?:un)?stack\b|pick\b|put\b)")
BLOCK = r"(?:the\s+)?(?:block\s+)?(?!the\b|block\b)(\w+)(?:\s+block)?"
ACTIONS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("pick-up", rf"pick(?:[\s-]*up)?\s+{BLOCK}(?:\s+from\s+the\s+table)?"),
        ("put-down", rf"put(?:[\s-]*down)?\s+{BLOCK}(?:\s+(?:down|(?:down\s+)?on(?:to)?\s+the\s+table))?"),
        ("unstack", rf"unstack\s+{BLOCK}(?:\s+from)?(?:\s+on)?(?:\s+top)?(?:\s+of)?\s+{BLOCK}"),
        ("stack", rf"stack\s+{BLOCK}(?:\s+on(?:to)?)?(?:\s+top)?(?:\s+of)?\s+{BLOCK}"),
    )
)


class NotAnAction(ValueError):
    """A line of a plan is no action; the message holds its number."""


def parse_plan(text: str) -> list[Action]:
    """
    Read a plan.

    Args:
        text (`str`): One action a line, in PlanBench's words ("unstack the red block from on top of the blue block"),
            numbered, bulleted or neither, or in PDDL ("(unstack red blue)").

    Raises:
        NotAnAction: A line is neither empty nor an action: none is left out.
    """
    lines = [line for line in text.splitlines() if not line.strip().startswith("```")]
    plan: list[Action] = []
    number = 0
    for line in SEPARATOR.split("\n".join(lines)):
        step = strip_emphasis(line).strip(" \t\r.,()")
        if not step:
            continue
        number += 1
        step = strip_emphasis(BULLET.sub("", step, count=1) if BULLET.match(step) else step).strip(" ().,")
        matches = ((name, pattern.fullmatch(step)) for name, pattern in ACTIONS)
        action = next(((name, *(b.lower() for b in match.groups())) for name, match in matches if match), None)
        if action is None:
            raise NotAnAction(f"line {number} is no action: {step[:80]!r}")
        plan.append(action)
    return plan


def stated_plans(completion: str) -> list[str]:
    r"""The plans that a text states: between `[PLAN]` and `[PLAN END]`, else in boxes, else after "answer is:"."""
    plans = PLAN.findall(completion) or [re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", plan) for plan in boxed(completion)]
    if not plans:
        preamble, *plans = INTRODUCTION.split(re.split(r"(?i)\[PLAN END\]", completion)[0])
        plans = plans or [preamble]
    return list(dict.fromkeys(plan.strip() for plan in plans if plan.strip()))


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Follow the stated plan from the initial state to the goal.

    Args:
        completion (`str`): The text of an answer thought. It must state one plan.
        problem ([`Problem`]): Its `answer` is the problem in PDDL.

    Returns:
        [`Verdict`]: 1 if the goal holds at the end, else 0; its `reason` says which line is no action, which step
        cannot be taken, or what is missing at the end.

    Raises:
        ValueError: The problem cannot be parsed.
    """
    world = parse_pddl(problem.answer)
    if len(completion) > MAX_LENGTH:
        return Verdict(0.0, completion[:200], "unparseable: too long")
    plans = stated_plans(completion)
    if not plans:
        return Verdict(0.0, None, "no_answer")
    try:
        actions = [parse_plan(plan) for plan in plans]
    except NotAnAction as error:
        return Verdict(0.0, plans[-1], f"unparseable: {error}")
    if any(other != actions[0] for other in actions):
        return Verdict(0.0, plans[-1], "ambiguous")
    answer = "\n".join(f"({' '.join(action)})" for action in actions[0])
    if not answer:
        return Verdict(0.0, None, "no_answer")
    fault = simulate(world, actions[0])
    return Verdict(float(not fault), answer, f"wrong: {fault}" if fault else "right")
