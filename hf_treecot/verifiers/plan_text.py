"""Plans in the words of language models: which actions a text lists, and whether it lists one plan.

A plan is a run of actions: numbered steps that count on, or lines one below the other. What stands around it
(headings, remarks, reasons below a step) is not part of it; a step that cannot be read is never left out.
"""

import re
from dataclasses import dataclass, field

from ..domains.blocksworld import Action
from .extraction import boxed
from .plan_words import (
    ACTIONS,
    ARGUMENTS,
    ASIDE,
    BULLET,
    CELL,
    DOES,
    END,
    GERUND,
    INLINE_NUMBER,
    LEAD,
    NEW_LINE,
    NUMBER,
    PRONOUN,
    QUOTED,
    REMARK,
    SENTENCE,
    TAGGED,
    TAKEN_BACK,
    VERB,
)


MAX_LENGTH = 200_000  # characters of a text


class NotAnAction(ValueError):
    """A step of a plan is not an action, or the plan is taken back; the message says which."""


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
        NotAnAction: A step is not an action: none is left out. Or the text takes its plan back.
    """
    text = _laid_out(text[:MAX_LENGTH])
    parts = TAGGED.findall(text) or [re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", part) for part in boxed(text)]
    runs = [run for part in parts or [text] for run in _runs(re.sub(r"[*`]|_{2,}", "", part))]
    if tagged := [run for run in runs if run.actions]:
        runs = tagged
    for run in runs:
        if run.unread and (run.actions or parts):
            raise NotAnAction(f"{run.unread[:80]!r} is not an action")
    if tagged and (back := TAKEN_BACK.search(" ".join(text.split()))):
        raise NotAnAction(f"the plan is taken back: {back.group()!r}")
    plans = [run.actions for run in runs if run.actions]
    return [plan for place, plan in enumerate(plans) if plan not in plans[:place]]


def _laid_out(text: str) -> str:
    """A text whose steps stand one below the other, if it is a list of a program, of HTML, or numbers in a line."""
    text = ARGUMENTS.sub(lambda match: f"({match[2]} {match[3] or ''})", text)
    if len(QUOTED.findall(text)) > 1:
        text = QUOTED.sub(r"\n\1\n", text)
    return INLINE_NUMBER.sub("\n", NEW_LINE.sub("\n", text))


def _runs(text: str) -> list[Run]:
    """The runs of actions in a text, in order; the first may be empty."""
    runs = [Run()]
    for raw in text.splitlines():
        line = raw.strip().rstrip("\\").strip()
        if not line or re.fullmatch(r"[#=\-\s]+|```\w*|\w*```", line):
            continue
        line = CELL.sub(lambda cell: f"{cell[1]}. " if cell[1] else "", BULLET.sub("", line, count=1)).strip(' |"“”')
        number, line = _number(line)
        if not line:
            continue
        is_below = raw[:1] in " \t" or BULLET.match(raw.strip()) is not None
        run = runs[-1]
        actions, unread = _actions(line, run.actions, is_step=number is not None)
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
        if number is not None or actions:
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
    if match is None:
        return None, line
    number = match[1] or match[2]
    return int(number) if number.isdigit() else ord(number.lower()) - ord("a") + 1, line[match.end() :].strip()


def _is_remark(line: str) -> bool:
    return line[0] in "([" or bool(re.match(r"\w+(?: \w+)?:\s*\S", line))


def _actions(step: str, before: list[Action], is_step: bool) -> tuple[list[Action], str]:
    """
    The actions that a step begins with and goes on with, after those `before` it; the step itself if it tells to do
    anything else. What has a number (`is_step`) need not begin with a verb that is known to tell.
    """
    rest, found = " ".join(REMARK.sub(" ", step).split()), []
    rest = told = GERUND.sub(r"\1", rest, count=1)
    while rest:
        rest = rest[LEAD.match(rest).end() :]
        if found:
            rest = PRONOUN.sub(rf"\1 {found[-1][1]}", rest, count=1)
        action, length = _action(rest)
        if action is not None and (not found or found[-1] != action):  # a title, and the same in a sentence
            found.append(action)
        if not found:
            tells = VERB.match(told, LEAD.match(told).end()) or (is_step and _tells(told, before))
            return [], told if tells else ""
        following = rest[length:].lstrip(" \t,;.")
        if action is not None and _action(following)[0] is not None:  # (one) (after) (the other)
            rest = following
            continue
        separator = SENTENCE.search(rest, length)
        clause, rest = (
            rest[length : separator.start() if separator else None],
            rest[separator.end() :] if separator else "",
        )
        if _tells(clause.strip(" ()"), [*before, *found]):
            return found, told
    for remark in REMARK.findall(step):  # it may say the action again
        remark = remark[LEAD.match(remark).end() :]
        if VERB.match(remark) and _action(remark)[0] not in found:
            return found, told
    return found, ""


def _tells(clause: str, found: list[Action]) -> bool:
    """Whether a clause that is no action tells to do something, rather than why, or how the world is then."""
    if not clause or ASIDE.match(clause):
        return False
    words = {word.lower() for word in re.findall(r"\w+", clause)}
    blocks = {block for action in found for block in action[1:]}
    if found:  # in other words, in part: `unstack red`
        verb, *own = found[-1]
        again = {"the", "block", "on", "onto", "top", "of", "from", "it", "up", "down", verb.partition("-")[0], *own}
        if verb.partition("-")[0] in words and words <= again:
            return False
    return bool(words & (blocks | DOES)) or VERB.search(clause) is not None


def _action(text: str) -> tuple[Action | None, int]:
    """The action that a text begins with, and where it ends."""
    for name, pattern in ACTIONS:
        match = pattern.match(text)
        if match and END.match(text, match.end()):
            return (name, *(block.lower() for block in match.groups())), match.end()
    return None, 0
