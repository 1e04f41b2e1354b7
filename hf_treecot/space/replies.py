"""A conversation as what a browser shows: thoughts folded, answers large, what they cost under them; votes as bars."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ..serving.thoughts import split_thoughts
from .rendering import alert_html, chain_html
from .talk import Found, Output
from .text import plain_text, text_html


MOST_VOTES = 5
NOTHING_SAID = "It has not answered"


@dataclass
class Turn:
    """
    A question and what was said to it.

    Args:
        question (`str`): What was asked.
        replies (`list[tuple[str, Output]]`): Models and their answers, side by side.
        found ([`Found`], *optional*): Of a search, by the only model then.
    """

    question: str
    replies: list[tuple[str, Output]] = field(default_factory=list)
    found: Found | None = None


def model_label(name: str) -> str:
    """What a model is called: a directory by its last part, a server without its protocol."""
    return Path(name).name if Path(name).is_dir() else name.partition("#")[0]


def messages_of(turns: Sequence[Turn], side: int) -> list[dict[str, str]]:
    """What was said before on one side, as a conversation: answers without their thoughts."""
    said: list[dict[str, str]] = []
    for turn in turns:
        if side < len(turn.replies) and turn.replies[side][1].is_done:
            answer = split_thoughts(turn.replies[side][1].text)[1]
            said += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": answer}]
    return said


def labels_of(names: Sequence[str]) -> dict[str, str]:
    """Models by what they are called, each by a label of its own: visitors need not know where directories are."""
    found: dict[str, str] = {}
    for name in names:
        label, number = model_label(name), 2
        while label in found:
            label, number = f"{model_label(name)} ({number})", number + 1
        found[label] = name
    return found


def conversation_html(turns: Sequence[Turn]) -> str:
    """All turns, the last one below."""
    return f'<div class="conversation">{"".join(map(_turn_html, turns))}</div>' if turns else ""


def _turn_html(turn: Turn) -> str:
    if turn.found is not None:
        sides = found_html(turn.replies[0][0], turn.found)
    else:
        sides = "".join(reply_html(name, output) for name, output in turn.replies)
    asked = f'<div class="asked text" role="heading" aria-level="2">{escape(turn.question)}</div>'
    return f'<div class="turn">{asked}<div class="sides">{sides}</div></div>'


def reply_html(name: str, output: Output) -> str:
    """One answer: while it thinks, its thoughts are open; when it answers, they are folded."""
    thoughts, answer = split_thoughts(output.text, is_whole=output.is_done)
    if output.is_done and not answer.strip() and not output.error:
        said = f'<p class="said unsaid">{escape(NOTHING_SAID)}: {escape(output.note)}.</p>'
    else:
        said = f'<div class="said text">{text_html(answer)}</div>' if answer else ""
    body = (
        alert_html(_without_path(output.error, name)) + _thinking_html(thoughts, bool(answer) or output.is_done) + said
    )
    return _frame(name, body, output.note, output.tokens, output.seconds)


def found_html(name: str, found: Found) -> str:
    """What a search has come to: the answer that has most votes, the votes, and the chain that says it."""
    thoughts, answer = split_thoughts(found.best_chain())
    said = f'<div class="said text">{text_html(answer)}</div>' if answer else ""
    body = (
        alert_html(_without_path(found.error, name)) + said + votes_html(found.votes) + _thinking_html(thoughts, True)
    )
    return _frame(name, body, found.note, found.tree.generated_tokens if found.tree else 0, found.seconds)


def _thinking_html(thoughts: str, is_folded: bool) -> str:
    if not thoughts:
        return ""
    count = max(1, thoughts.count("</"))
    opened = "" if is_folded else " open"
    words = f"thinking · {count} thought{'s' if count > 1 else ''}"
    return f'<details class="thinking"{opened}><summary>{words}</summary>{chain_html(thoughts)}</details>'


def _without_path(error: str, name: str) -> str:
    return error.replace(name, model_label(name)) if name else error


def _frame(name: str, body: str, note: str, tokens: int, seconds: float) -> str:
    cost = escape(f"{tokens:,} tokens · {seconds:.1f} s · {note}" if tokens else note)
    label = escape(model_label(name))
    return f'<section class="reply"><h3>{label}</h3>{body}<p class="note" role="status">{cost}</p></section>'


def votes_html(votes: Counter[str]) -> str:
    """How many ways came to which answer, as bars; nothing before the first one."""
    most, total = votes.most_common(MOST_VOTES), sum(votes.values())
    if not total:
        return ""
    rows = "".join(
        f'<div class="bar-row"><span class="bar-label">{escape(plain_text(answer)[:60])}</span>'
        f'<span class="bar-track" aria-hidden="true"><i class="bar" style="width:{100 * count / total:.1f}%"></i>'
        f'</span><span class="bar-value">{count} of {total}</span></div>'
        for answer, count in most
    )
    return f'<div class="votes series-2"><p class="note">votes</p>{rows}</div>'
