"""The Explore tab: find a problem, look inside its tree."""

import dataclasses
from html import escape

import gradio as gr

from ..errors import InvalidInputError
from ..mcts.pattern import KINDS
from ..mcts.tree import Tree
from .rendering import alert_html, node_html, pair_html, text_html, tree_payload
from .tree_index import ORDERS, Query, TreeIndex
from .workspace import PRIVATE, Workspace, tree_view


ROWS_A_PAGE = 15
EVERY = "all"
LEGEND = (
    '<div class="legend">'
    + "".join(f'<span class="kind-{kind}">{kind.replace("_", "-")}</span>' for kind in KINDS)
    + '<span class="plain">✓ right</span><span class="plain">✗ wrong</span><span class="plain">∅ dead end</span>'
    '<span class="plain">◆ written by the critic</span><span class="plain">size and line: visits</span></div>'
)
NO_PAIR = '<p class="note">This tree made no preference pair.</p>'


@dataclasses.dataclass(frozen=True)
class Explore:
    """What other tabs need of this one: the source that is open, and what is asked of it."""

    opened: gr.State
    query: list[gr.components.Component]


def query_of(*values) -> Query:
    """The query of the filters' values; what is out of range finds nothing, and hurts nobody."""
    text, source, pattern, low, high, min_tokens, max_tokens, order = values
    every = {EVERY: ""}
    return Query(
        str(text or "")[:200], every.get(source, source), every.get(pattern, pattern), low / 100, high / 100,
        min_tokens or None, max_tokens or None, order,
    )  # fmt: skip


def explore_tab(demo: gr.Blocks, workspace: Workspace) -> Explore:
    """Lay out the tab and wire it."""
    opened, page = gr.State(""), gr.State(0)
    with gr.Row(equal_height=True):
        label = "Dataset on the Hub (user/name)" if workspace.public else "Run directory, or dataset on the Hub"
        source = gr.Textbox(workspace.source, label=label, max_length=300, scale=5, elem_id="source")
        open_button = gr.Button("Open", variant="primary", scale=1, min_width=90, elem_id="open")
    alert = gr.HTML()
    with gr.Accordion("Filter and order", open=False, elem_id="filters"):
        with gr.Row():
            text = gr.Textbox(label="Text in the problem or its id", max_length=200, elem_id="filter-text")
            problem_source = gr.Dropdown([EVERY], value=EVERY, label="Source", elem_id="filter-source")
            pattern = gr.Dropdown([EVERY], value=EVERY, label="Pattern", elem_id="filter-pattern")
            order = gr.Dropdown(list(ORDERS), value=next(iter(ORDERS)), label="Order", elem_id="order")
        with gr.Row():
            low = gr.Slider(0, 100, 0, step=1, label="Success rate from, %", elem_id="filter-low")
            high = gr.Slider(0, 100, 100, step=1, label="Success rate to, %")
            min_tokens = gr.Number(0, label="Length from, generated tokens", minimum=0)
            max_tokens = gr.Number(0, label="Length to (0: any)", minimum=0)
    with gr.Row():
        with gr.Column(scale=1, min_width=270):
            listing = gr.Radio([], label="Problems", elem_id="problem-list")
            with gr.Row():
                back = gr.Button("Previous", size="sm", min_width=70, elem_id="page-back")
                forward = gr.Button("Next", size="sm", min_width=70, elem_id="page-forward")
            place = gr.HTML(elem_id="place")
        with gr.Column(scale=3, min_width=320):
            title = gr.HTML(elem_id="problem-title")
            view = tree_view("tree")
            gr.HTML(LEGEND)
            constant = gr.Slider(0, 4, 2.0, step=0.1, label="C of UCB, for the terms shown", elem_id="constant")
            node = gr.HTML(elem_id="node")
    with gr.Accordion("Chosen and rejected", open=True):
        pair = gr.HTML(NO_PAIR, elem_id="pair")

    query = [text, problem_source, pattern, low, high, min_tokens, max_tokens, order]
    shown = [listing, place, page]
    chosen = gr.State({"node": 0, "step": None})

    def list_page(source_name, number, *values):
        index = workspace.open(source_name)
        found = index.find(query_of(*values))
        last = max(0, (len(found) - 1) // ROWS_A_PAGE)
        number = min(max(int(number), 0), last)
        rows = found.slice(number * ROWS_A_PAGE, ROWS_A_PAGE).to_pylist()
        text = f"{len(found):,} of {len(index):,} trees · page {number + 1} of {last + 1}"
        choices = [(_line(row), row["row"]) for row in rows]
        return gr.Radio(choices, value=None), f'<p class="note" role="status">{text}</p>', number

    def open_source(name):
        nothing = [gr.skip()] * 7
        try:
            index = workspace.open(name)
        except InvalidInputError as error:
            return [alert_html(str(error)), *nothing]
        filters = [gr.Dropdown([EVERY, *index.values(column)], value=EVERY) for column in ("source", "pattern")]
        defaults = ["", EVERY, EVERY, 0, 100, 0, 0, next(iter(ORDERS))]
        return ["", name, *filters, *list_page(name, 0, *defaults), ""]

    def turn(source_name, number, *values):
        return list_page(source_name, number, *values) if source_name else [gr.skip()] * 3

    def show(source_name, row, constant_value):
        if row is None:
            return [gr.skip()] * 5
        index = workspace.open(source_name)
        try:
            tree = index.tree(int(row))
        except InvalidInputError as error:
            return [alert_html(str(error)), None, "", NO_PAIR, {"node": 0, "step": None}]
        steps = len(tree.simulations)
        return (
            _title(tree),
            {**tree_payload(tree), "title": f"{source_name} {row}"},
            node_html(tree, 0, steps, constant_value),
            _pairs(index, tree),
            {"node": 0, "step": steps},
        )

    def choose(source_name, row, constant_value, event: gr.EventData):
        selected = {"node": event.node, "step": event.step}
        return describe(source_name, row, constant_value, selected), selected

    def describe(source_name, row, constant_value, selected):
        if row is None:
            return gr.skip()
        tree = workspace.open(source_name).tree(int(row))
        node_id, step = int(selected["node"]), selected["step"]
        if not 0 <= node_id < len(tree.nodes):
            return gr.skip()
        return node_html(tree, node_id, len(tree.simulations) if step is None else int(step), constant_value)

    opening = {"fn": open_source, "inputs": source, **PRIVATE}
    opening["outputs"] = [alert, opened, problem_source, pattern, *shown, text]
    gr.on([open_button.click, source.submit], **opening)
    if workspace.source:
        # Not the text of the filter: someone may have begun to type.
        loading = {"fn": lambda *inputs: open_source(*inputs)[:-1], "outputs": opening["outputs"][:-1]}
        demo.load(**{**opening, **loading})
    # What is typed while the page still answers an earlier change must not be lost.
    gr.on(
        [c.change for c in query], lambda s, *v: turn(s, 0, *v), [opened, *query], shown,
        trigger_mode="always_last", **PRIVATE,
    )  # fmt: skip
    back.click(lambda s, n, *v: turn(s, n - 1, *v), [opened, page, *query], shown, **PRIVATE)
    forward.click(lambda s, n, *v: turn(s, n + 1, *v), [opened, page, *query], shown, **PRIVATE)
    listing.change(show, [opened, listing, constant], [title, view, node, pair, chosen], **PRIVATE)
    view.select(choose, [opened, listing, constant], [node, chosen], **PRIVATE)
    constant.release(describe, [opened, listing, constant, chosen], node, **PRIVATE)
    return Explore(opened, query)


def _line(row: dict) -> str:
    prompt = " ".join(row["prompt"].split())
    answers, name = f"✓{row['right']} ✗{row['wrong']}", row["problem_id"][:60]
    return f"{answers} · {name} · {row['pattern']} · {row['tokens']} tokens · {prompt}"


def _title(tree: Tree) -> str:
    right, wrong = len(tree.answers(True)), len(tree.answers(False))
    facts = (
        f"gold answer {tree.problem.answer} · {tree.pattern} · {len(tree.nodes)} nodes · {right} right, {wrong} wrong"
        f" · {tree.generated_tokens} tokens · {tree.stop_reason or 'unfinished'}"
    )
    return f'<h3 class="text">{text_html(tree.problem.prompt)}</h3><p class="note">{escape(facts)}</p>'


def _pairs(index: TreeIndex, tree: Tree) -> str:
    pairs = index.pairs(tree)
    return "".join(pair_html(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs) or NO_PAIR
