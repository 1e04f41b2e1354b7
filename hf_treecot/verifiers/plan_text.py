"""Plans in the words of language models: which actions a text lists, and whether it lists one plan.

A plan is a run of actions: numbered steps that count on, or lines one below the other. What stands around it
(headings, remarks, reasons below a step) is not part of it; a step that cannot be read is never left out.
"""

import re
from dataclasses import dataclass, field

from ..domains.blocksworld import Action
from .extraction import boxed


MAX_LENGTH = 200_000  # characters of a text
TAGGED = re.compile(r"\[PLAN\](.*?)(?=\[PLAN\]|\[\s*PLAN[ _]END\s*\]|\Z)", re.DOTALL | re.IGNORECASE)
NUMBER = re.compile(r"(?:step|action)?\s*\(?#?(\d{1,4})\s*(?:[.):\]-]|\s-)\s*|step\s+(\d{1,4})\s+", re.IGNORECASE)
BULLET = re.compile(r"^[-•+>→–—]\s*")
LABEL = re.compile(
    r"(?:action|plan|answer|the (?:answer|plan) is|then|next|finally|first(?:ly)?|now)\s*[:,]?\s+", re.I
)
SUBJECT = re.compile(r"(?:and\s+)?(?:then\s+)?(?:(?:you|we|i)\s+)?(?:should\s+|can\s+|will\s+)?", re.IGNORECASE)
BLOCK = r"(?:the\s+)?(?:block\s+)?(?!the\b|block\b|it\b|from\b|on\b|onto\b|down\b|up\b)(\w+)(?:\s+block)?"
FROM = r"(?:\s+(?:from|off)(?:\s+of)?)?(?:\s+on)?(?:\s+top)?(?:\s+of)?"
ONTO = r"(?:\s+on(?:to)?)?(?:\s+top)?(?:\s+of)?"
WORDS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("pick-up", rf"pick(?:ed|s)?(?:[\s-]*up)?\s+{BLOCK}(?:\s+up)?(?:\s+(?:from|off)\s+(?:the\s+)?table)?"),
        (
            "put-down",
            rf"put(?:s|ted)?(?:[\s-]*down)?\s+{BLOCK}(?:\s+(?:down|(?:down\s+)?on(?:to)?\s+(?:the\s+)?table))?",
        ),
        ("unstack", rf"(?:unstack|un-stack)(?:ed|s)?\s+{BLOCK}{FROM}\s+{BLOCK}"),
        ("stack", rf"stack(?:ed|s)?\s+{BLOCK}{ONTO}\s+{BLOCK}"),
    )
)
CALLS = tuple(
    (name, re.compile(rf"\(?\s*{verb}\s*[\s(]\s*{arguments}(?:\s*\))*", re.IGNORECASE))
    for name, verb, arguments in (
        ("pick-up", r"pick[\s_-]*up", BLOCK),
        ("put-down", r"put[\s_-]*down", BLOCK),
        ("unstack", r"unstack", rf"{BLOCK}[\s,]+{BLOCK}"),
        ("stack", r"stack", rf"{BLOCK}[\s,]+{BLOCK}"),
    )
)
ACTIONS = (*CALLS, *WORDS)
# What may follow an action in its line: a remark. An action may follow too, and is then read.
END = re.compile(
    r"\s*(?:$|[.,;:!()\[\]]|[-–—]+(?=\s)|->|→|=>|\bso\b|\bsince\b|\bbecause\b|\bas\b|\bto\b|\bwhich\b|\bthen\b|\band\b)",
    re.I,
)
SENTENCE = re.compile(
    r"[.;,:]\s+|\s[-–—]+\s|\)\s*,?\s*(?=\()|\s+(?:and\s+)?then\s+|\s+and\s+|\\\\|\s*(?:->|→|=>)\s*", re.IGNORECASE
)
PRONOUN = re.compile(r"^((?:un-?stack|stack|pick|put)\w*(?:\s+(?:up|down))?)\s+it\b", re.IGNORECASE)
NEW_LINE = re.compile(r"\\\\(?![a-zA-Z])|\\n")
REMARK = re.compile(r"(?<!\w)\((?!\s*(?:un-?stack|stack|pick|put)\b)[^()]*\)", re.IGNORECASE)  # in brackets
# A step with one of these verbs tells what to do, in words that are not read.
TELLS = re.compile(
    r"^(?:(?:you|we|i)\s+)?(?:then\s+|now\s+|next,?\s+)?(?:un-?stack|stack|pick|put|place|move|lift|grab|take|drop|set|lower|remove|release|return)\w*\b",
    re.IGNORECASE,
)


class NotAnAction(ValueError):
    """A step of a plan is not an action; the message says which."""


@dataclass
class Run:
    """Steps that belong together."""

    actions: list[Action] = field(default_factory=list)
    number: int | None = None  # of the last step, if steps are numbered
    unread: str = ""  # the first step that tells what to do and is not an action
    is_pddl: bool = False  # its last step stands in parentheses, as do all that follow
    is_closed: bool = False  # a line of prose has followed: only the next number goes on with it


def read_plans(text: str) -> list[list[Action]]:
    r"""
    The different plans that a text states: between `[PLAN]` and `[PLAN END]`, else in boxes, else anywhere.

    Args:
        text (`str`): The text of an answer thought.

    Returns:
        `list[list[Action]]`: Each once, in order; empty if no action is named.

    Raises:
        NotAnAction: A step is not an action: none is left out.
    """
    text = text[:MAX_LENGTH]
    parts = TAGGED.findall(text) or [re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", part) for part in boxed(text)]
    runs = [run for part in parts or [text] for run in _runs(re.sub(r"[*`]|_{2,}", "", part))]
    if tagged := [run for run in runs if run.actions]:
        runs = tagged
    for run in runs:
        if run.unread and (run.actions or parts):
            raise NotAnAction(f"{run.unread[:80]!r} is not an action")
    plans = [run.actions for run in runs if run.actions]
    return [plan for place, plan in enumerate(plans) if plan not in plans[:place]]


def _runs(text: str) -> list[Run]:
    """The runs of actions in a text, in order; the first may be empty."""
    runs = [Run()]
    for raw in NEW_LINE.sub("\n", text).splitlines():
        line = raw.strip().rstrip("\\").strip()
        if not line or re.fullmatch(r"[#=\-\s]+|```\w*|\w*```", line):
            continue
        number, line = _number(BULLET.sub("", line, count=1))
        is_below = raw[:1] in " \t" or BULLET.match(raw.strip()) is not None
        actions, unread = _actions(line)
        run = runs[-1]
        if not actions and run.is_pddl and line[0] == "(":
            run.unread = run.unread or line
        if number is None and not actions and not is_below:
            if unread and run.actions and run.number is None and not run.is_closed:
                run.unread = run.unread or unread
            run.is_closed = run.is_closed or not _is_remark(line)
            continue
        if _begins_anew(run, number, actions):
            run = Run()
            runs.append(run)
        run.is_closed = run.is_closed and number is None and not actions
        if number is not None:
            run.number = number
            run.unread = run.unread or unread
        run.is_pddl = line[0] == "(" if actions else run.is_pddl
        is_repeated = number is None and run.number is not None  # below a numbered step: its action in other words
        run.actions += [a for a in actions if not (is_repeated and run.actions and run.actions[-1] == a)]
    return runs


def _begins_anew(run: Run, number: int | None, actions: list[Action]) -> bool:
    """Whether a step is the first of another run."""
    if number is not None:
        return bool(run.actions) and (run.number is None or number <= run.number)
    return bool(actions and run.actions) and run.is_closed


def _number(line: str) -> tuple[int | None, str]:
    match = NUMBER.match(line)
    return (int(match[1] or match[2]), line[match.end() :].strip()) if match else (None, line)


def _is_remark(line: str) -> bool:
    return line[0] in "([" or bool(re.match(r"\w+(?: \w+)?:\s*\S", line))


def _actions(step: str) -> tuple[list[Action], str]:
    """The actions that a step begins with and goes on with; the step itself if it tells to do anything else."""
    rest, found = REMARK.sub(" ", step).strip(), []
    while label := LABEL.match(rest):
        rest = rest[label.end() :]
    told = rest
    while rest:
        rest = SUBJECT.sub("", rest.lstrip(), count=1)
        if found:
            rest = PRONOUN.sub(rf"\1 {found[-1][1]}", rest, count=1)
        action, length = _action(rest)
        if action is not None and (not found or found[-1] != action):  # a title, and the same in a sentence
            found.append(action)
        if not found:
            return [], told if TELLS.match(told) else ""
        following = rest[length:].lstrip(" \t,;.")
        if action is not None and _action(following)[0] is not None:  # (one) (after) (the other)
            rest = following
        else:
            separator = SENTENCE.search(rest, length)
            rest = rest[separator.end() :] if separator else ""
    return found, ""


def _action(text: str) -> tuple[Action | None, int]:
    """The action that a text begins with, and where it ends."""
    for name, pattern in ACTIONS:
        match = pattern.match(text)
        if match and END.match(text, match.end()):
            return (name, *(block.lower() for block in match.groups())), match.end()
    return None, 0
