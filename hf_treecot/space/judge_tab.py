"""The Judge tab: accept, reject or comment on a chain or a pair, one after the other."""

import secrets
from dataclasses import replace

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
    annotator,
    find,
)
from .rendering import alert_html
from .workspace import PRIVATE, Workspace


HELP = (
    "What the Explore tab lists is judged. Keys: <kbd>a</kbd> accept, <kbd>r</kbd> reject, <kbd>u</kbd> undo, "
    "<kbd>n</kbd> next, <kbd>p</kbd> previous, <kbd>c</kbd> comment. Everything is saved at once."
)
NOTHING_LEFT = "Nothing is left to judge here: filter differently in Explore, or choose the other kind."


def judge_tab(demo: gr.Blocks, workspace: Workspace, explore: Explore, memory: gr.BrowserState) -> None:
    """Lay out the tab and wire it."""
    place = gr.State(None)
    with gr.Column(elem_id="judge-panel"):
        gr.HTML(f'<p class="note">{HELP}</p>')
        with gr.Row():
            name = gr.Textbox(label="Your name", max_length=LONGEST_NAME, elem_id="judge-name", scale=1)
            kind = gr.Radio(list(KINDS), value=KINDS[0], label="What to judge", elem_id="judge-kind", scale=2)
            again = gr.Checkbox(False, label="Also what I have judged already", elem_id="judge-again", scale=1)
        alert = gr.HTML()
        shown = gr.HTML(elem_id="judge-item")
        standing = gr.HTML(elem_id="judge-standing")
        comment = gr.Textbox(label="Comment (c)", max_length=LONGEST_COMMENT, lines=2, elem_id="judge-comment")
        # Which item that is, also while the tab is not in sight: drafts are kept by it.
        identity = gr.Textbox(visible=False)
        with gr.Row():
            accept = gr.Button("Accept (a)", variant="primary", min_width=80, elem_id="judge-accept")
            reject = gr.Button("Reject (r)", variant="stop", min_width=80, elem_id="judge-reject")
            only_comment = gr.Button("Comment only", min_width=80, elem_id="judge-comment-only")
            undo = gr.Button("Undo (u)", min_width=80, elem_id="judge-undo")
            previous = gr.Button("Previous (p)", min_width=80, elem_id="judge-previous")
            following = gr.Button("Next (n)", min_width=80, elem_id="judge-next")

    outputs = [alert, shown, standing, comment, identity, place]
    who = [name, memory]
    where = [explore.opened, kind, again, *explore.query]

    def view(item: Item | None, person: str, message: str = ""):
        standing_now = workspace.log.of(person) if person else {}
        judged = standing_now.get(item.item) if item else None
        verdicts = [judgement.verdict for judgement in standing_now.values()]
        status = f"you accepted {verdicts.count('accept')} and rejected {verdicts.count('reject')}"
        if judged and judged.verdict != "none":
            status += f" · this one: {judged.verdict}ed"
        return (
            alert_html(message or ("" if item else NOTHING_LEFT)),
            item.html if item else "",
            f'<p class="note" role="status">{status}</p>',
            judged.comment if judged else "",
            item.item if item else "",
            replace(item, html="") if item else None,
        )

    def person_of(name_value, memory_value) -> str:
        key = memory_value.get("key", "") if isinstance(memory_value, dict) else ""
        return annotator(name_value or "", str(key), workspace.public)

    def step(direction, start, person, source, kind_value, again_value, *query):
        if not source:
            return view(None, person, "Open a dataset in the Explore tab first.")
        index = workspace.open(source)
        rows = index.find(query_of(*query))["row"].to_pylist()
        judged = workspace.log.of(person) if person and not again_value else {}
        # Going back shows what was judged: that is what one goes back for.
        item = find(index, rows, kind_value, start, direction, lambda i: direction < 0 or i.item not in judged)
        if item is None and start is not None and direction < 0:
            return [gr.skip()] * len(outputs)
        return view(item, person)

    def begin(name_value, memory_value, *where_values):
        return step(1, None, person_of(name_value, memory_value), *where_values)

    def move(direction):
        def handler(start, name_value, memory_value, *where_values):
            return step(direction, start, person_of(name_value, memory_value), *where_values)

        return handler

    def judge(verdict):
        def handler(start, text, name_value, memory_value, *where_values):
            person = person_of(name_value, memory_value)
            stay = [gr.skip()] * (len(outputs) - 1)
            if not person:
                return [alert_html("Say who you are first: your name is kept with what you say."), *stay]
            if start is None:
                return [alert_html(NOTHING_LEFT), *stay]
            try:
                text = str(text or "")[:LONGEST_COMMENT]
                workspace.log.add(Judgement(start.item, verdict, person, text, start.tree_id))
            except (OSError, InvalidInputError) as error:
                return [alert_html(f"This could not be saved ({error}): free some space and judge it again."), *stay]
            return step(1, start, person, *where_values)

        return handler

    def take_back(start, name_value, memory_value, source, kind_value, *rest):
        person = person_of(name_value, memory_value)
        last = workspace.log.undo(person) if person else None
        if last is None:
            return [alert_html("There is nothing to undo."), *[gr.skip()] * (len(outputs) - 1)]
        index = workspace.open(source)
        rows = index.find(query_of(*rest[1:]))["row"].to_pylist()
        item = find(index, rows, kind_value, start, -1, lambda i: i.item == last.item)
        return view(item or find(index, rows, kind_value, None, 1, lambda i: i.item == last.item), person)

    def remember(name_value, memory_value):
        key = memory_value.get("key") if isinstance(memory_value, dict) else ""
        return {"name": name_value, "key": key or secrets.token_hex(16)}

    draft = [comment, identity]
    find_draft = {"fn": None, "inputs": draft, "outputs": comment, "js": "treecotDrafts.find"}
    demo.load(lambda m: m["name"], memory, name, **PRIVATE).then(remember, who, memory, **PRIVATE)
    named = name.change(remember, who, memory, **PRIVATE)
    named.then(begin, [*who, *where], outputs, **PRIVATE).then(**find_draft)
    gr.on(
        [explore.opened.change, kind.change, again.change, *(c.change for c in explore.query)],
        begin, [*who, *where], outputs, **PRIVATE,
    ).then(**find_draft)  # fmt: skip
    comment.input(None, draft, None, js="treecotDrafts.keep")
    for button, verdict in ((accept, "accept"), (reject, "reject"), (only_comment, "none")):
        sent = button.click(None, draft, None, js="treecotDrafts.drop")
        sent.then(judge(verdict), [place, comment, *who, *where], outputs, **PRIVATE).then(**find_draft)
    undo.click(take_back, [place, *who, *where], outputs, **PRIVATE)
    previous.click(move(-1), [place, *who, *where], outputs, **PRIVATE).then(**find_draft)
    following.click(move(1), [place, *who, *where], outputs, **PRIVATE).then(**find_draft)
