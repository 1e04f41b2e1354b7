"""The Judge tab: accept, reject or comment on a chain or a pair, one after the other."""

import secrets
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from ..errors import InvalidInputError
from ..selection.judgements import Judgement
from .explore import query_of
from .explore_tab import Explore
from .judging import (
    KINDS,
    LONGEST_COMMENT,
    LONGEST_NAME,
    Item,
    agreement_html,
    annotator,
    find,
    progress_html,
)
from .rendering import alert_html
from .tree_index import TreeIndex
from .workspace import PRIVATE, Workspace


HELP = (
    "What the Explore tab lists is judged, and everything is saved at once. Keys: <kbd>a</kbd> accept, <kbd>r</kbd> "
    "reject, <kbd>u</kbd> undo, <kbd>n</kbd> next, <kbd>p</kbd> previous, <kbd>c</kbd> comment."
)
NOTHING_LEFT = "Nothing is left to judge here: filter differently in Explore, or choose the other kind."
NO_NAME = "Say who you are first: your name is kept with what you say."
VERDICTS = {"accept": "accept", "reject": "reject", "comment": "none"}  # of the buttons


@dataclass(frozen=True)
class Judge:
    """The tab's components: who judges and what, what is shown, the buttons by name, and where one is."""

    who: list[gr.components.Component]
    where: list[gr.components.Component]
    outputs: list[gr.components.Component]
    comment: gr.Textbox
    identity: gr.Textbox
    place: gr.State
    buttons: dict[str, gr.Button]


def judge_tab(demo: gr.Blocks, workspace: Workspace, explore: Explore, memory: gr.BrowserState) -> None:
    """Lay out the tab and wire it."""
    judge = _layout(explore, memory)
    _wire(demo, judge, Handlers(workspace, len(judge.outputs)))


def _layout(explore: Explore, memory: gr.BrowserState) -> Judge:
    place = gr.State(None)
    with gr.Column(elem_id="judge-panel"):
        gr.HTML(f'<p class="note">{HELP}</p>')
        with gr.Row():
            name = gr.Textbox(label="Your name", max_length=LONGEST_NAME, elem_id="judge-name", min_width=160)
            kind = gr.Radio(list(KINDS), value=KINDS[0], label="What to judge", elem_id="judge-kind", scale=2)
            again = gr.Checkbox(False, label="Also what I have judged already", elem_id="judge-again", min_width=160)
        standing = gr.HTML(elem_id="judge-standing")
        alert = gr.HTML(elem_id="judge-alert")
        shown = gr.HTML(elem_id="judge-item")
        with gr.Row(elem_id="judge-buttons"):
            names = {
                "accept": ("Accept (a)", "primary"), "reject": ("Reject (r)", "stop"),
                "comment": ("Comment only", "secondary"), "undo": ("Undo (u)", "secondary"),
                "previous": ("Previous (p)", "secondary"), "next": ("Next (n)", "secondary"),
            }  # fmt: skip
            ids = {"comment": "judge-comment-only"}
            buttons = {
                name: gr.Button(text, variant=variant, min_width=90, elem_id=ids.get(name, f"judge-{name}"))
                for name, (text, variant) in names.items()
            }
        comment = gr.Textbox(label="Comment (c)", max_length=LONGEST_COMMENT, lines=2, elem_id="judge-comment")
        # Which item that is, also while the tab is not in sight: drafts are kept by it.
        identity = gr.Textbox(visible=False)
    outputs = [alert, shown, standing, comment, identity, place]
    where = [explore.opened, kind, again, *explore.query]
    return Judge([name, memory], where, outputs, comment, identity, place, buttons)


@dataclass(frozen=True)
class Handlers:
    """
    What happens; every handler gives the values of all outputs.

    Args:
        workspace ([`Workspace`]): Where judgements go.
        count (`int`): Outputs.
    """

    workspace: Workspace
    count: int

    def only(self, message: str) -> list[Any]:
        """A message, and all else as it is."""
        return [alert_html(message), *[gr.skip()] * (self.count - 1)]

    def person(self, name: str | None, memory: dict | None) -> str:
        """Who judges."""
        key = memory.get("key", "") if isinstance(memory, dict) else ""
        return annotator(name or "", str(key), self.workspace.public)

    def listed(self, source: str, query: tuple) -> tuple[TreeIndex, list[int]]:
        """A dataset, and the rows that Explore lists."""
        index = self.workspace.open(source)
        return index, index.find(query_of(*query))["row"].to_pylist()

    def view(self, item: Item | None, person: str, source: str, kind: str, query: tuple, message: str = "") -> tuple:
        """An item, or a message that there is none, and how far one is."""
        log = self.workspace.log
        standing = log.of(person) if person else {}
        judged = standing.get(item.item) if item else None
        status = progress_html(*self.listed(source, query), kind, standing, item) if source else ""
        others = "" if self.workspace.public else agreement_html(log)
        return (
            alert_html(message or ("" if item else NOTHING_LEFT)),
            item.html if item else "",
            status + others,
            judged.comment if judged else "",
            item.item if item else "",
            replace(item, html="") if item else None,
        )

    def step(self, by: int, start: Item | None, person: str, source: str, kind: str, again: bool, *query) -> Any:
        """The next item (`by=1`) or the one before (`by=-1`)."""
        if not source:
            return self.view(None, person, source, kind, query, "Open a dataset in the Explore tab first.")
        judged = self.workspace.log.of(person) if person and not again else {}
        # Going back shows what was judged: that is what one goes back for.
        found = find(*self.listed(source, query), kind, start, by, lambda i: by < 0 or i.item not in judged)
        if found is None and start is not None and by < 0:
            return [gr.skip()] * self.count
        return self.view(found, person, source, kind, query)

    def say(self, verdict: str, start: Item | None, text: str, person: str, *where) -> Any:
        """Keep a verdict, and go on."""
        if not person or start is None:
            return self.only(NOTHING_LEFT if person else NO_NAME)
        judgement = Judgement(start.item, verdict, person, str(text or "")[:LONGEST_COMMENT], start.tree_id)
        try:
            self.workspace.log.add(judgement)
        except (OSError, InvalidInputError) as error:
            return self.only(f"This could not be saved ({error}): free some space and judge it again.")
        return self.step(1, start, person, *where)

    def undo(self, start: Item | None, person: str, source: str, kind: str, _again: bool, *query) -> Any:
        """Take the last verdict back, and show what it was about."""
        last = self.workspace.log.undo(person) if person else None
        if last is None:
            return self.only("There is nothing to undo.")
        found = self.listed(source, query)
        item = find(*found, kind, start, -1, lambda i: i.item == last.item)
        item = item or find(*found, kind, None, 1, lambda i: i.item == last.item)
        return self.view(item, person, source, kind, query)


def _wire(demo: gr.Blocks, judge: Judge, act: Handlers) -> None:
    draft = [judge.comment, judge.identity]
    find_draft = {"fn": None, "inputs": draft, "outputs": judge.comment, "js": "treecotDrafts.find"}

    def remember(name: str | None, memory: dict | None):
        key = memory.get("key") if isinstance(memory, dict) else ""
        return {"name": name, "key": key or secrets.token_hex(16)}

    def begin(name, memory, *where):
        return act.step(1, None, act.person(name, memory), *where)

    def moved(direction: int):
        return lambda start, name, memory, *where: act.step(direction, start, act.person(name, memory), *where)

    def said(verdict: str):
        return lambda start, text, *who: act.say(verdict, start, text, act.person(*who[:2]), *who[2:])

    def undone(start, name, memory, *where):
        return act.undo(start, act.person(name, memory), *where)

    name, memory = judge.who
    everything, outputs = [*judge.who, *judge.where], judge.outputs
    demo.load(lambda m: m["name"], memory, name, **PRIVATE).then(remember, judge.who, memory, **PRIVATE)
    named = name.change(remember, judge.who, memory, **PRIVATE)
    named.then(begin, everything, outputs, **PRIVATE).then(**find_draft)
    changes = [component.change for component in judge.where]
    gr.on(changes, begin, everything, outputs, trigger_mode="always_last", **PRIVATE).then(**find_draft)
    judge.comment.input(None, draft, None, js="treecotDrafts.keep")
    for button, verdict in VERDICTS.items():
        sent = judge.buttons[button].click(None, draft, None, js="treecotDrafts.drop")
        inputs = [judge.place, judge.comment, *everything]
        sent.then(said(verdict), inputs, outputs, **PRIVATE).then(**find_draft)
    inputs = [judge.place, *everything]
    judge.buttons["undo"].click(undone, inputs, outputs, **PRIVATE)
    for button, direction in (("previous", -1), ("next", 1)):
        judge.buttons[button].click(moved(direction), inputs, outputs, **PRIVATE).then(**find_draft)
