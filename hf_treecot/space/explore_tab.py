"""The Explore tab: find a problem, look inside its tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..errors import InvalidInputError
from ..mcts.pattern import KINDS
from .explore import EVERY, NO_PAIR, Page, drawn, page_of, page_with, pairs_html, query_of, thought_at, title_html
from .rendering import alert_html
from .tree_index import EXAMPLES, ORDERS, TreeIndex
from .workspace import PRIVATE, Workspace, tree_view


LEGEND = (
    '<div class="legend">'
    + "".join(f'<span class="kind-{kind}"><i class="shape"></i>{kind.replace("_", "-")}</span>' for kind in KINDS)
    + "<span>✓ right</span><span>✗ wrong</span><span>∅ dead end</span><span>×3: visits</span>"
    "<span>bar: mean reward</span></div>"
)
DEFAULTS = ["", EVERY, EVERY, 0, 100, 0, 0, next(iter(ORDERS))]  # of the filters


@dataclass(frozen=True)
class Explore:
    """
    The tab's components, which other tabs need too.

    Args:
        opened: The source that is open.
        row: The row of the tree that is shown.
        chosen: The thought that is chosen, and at which step.
        query: The filters.
        parts: All that shows something, by name.
    """

    opened: gr.State
    row: gr.State
    chosen: gr.State
    page: gr.State
    query: list[gr.components.Component]
    parts: Mapping[str, gr.components.Component]

    @property
    def all(self) -> list:
        """What a handler may change."""
        return [self.opened, self.row, self.chosen, self.page, *self.query, *self.parts.values()]


def explore_tab(workspace: Workspace) -> Explore:
    """Lay out the tab and wire it."""
    explore = _layout(workspace)
    _wire_list(workspace, explore)
    _wire_tree(workspace, explore)
    return explore


def _layout(workspace: Workspace) -> Explore:
    states = (gr.State(""), gr.State(None), gr.State({"node": 0, "step": None}), gr.State(0))
    parts = {"alert": gr.HTML(elem_id="explore-alert")}
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=310, elem_id="explore-list"):
            query = _filters(workspace, parts)
            parts["list"] = gr.HTML(elem_id="problem-list", js_on_load="treecotList.mount(element, trigger);")
            with gr.Row():
                parts["back"] = gr.Button("← Previous", size="sm", min_width=70, elem_id="page-back")
                parts["forward"] = gr.Button("Next →", size="sm", min_width=70, elem_id="page-forward")
            parts["place"] = gr.HTML(elem_id="place")
        with gr.Column(scale=4, min_width=320, elem_id="explore-tree"):
            parts["title"] = gr.HTML(elem_id="problem-title")
            parts["view"] = tree_view("tree")
            gr.HTML(LEGEND)
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=280):
                    parts["node"] = gr.HTML(elem_id="node")
                    parts["constant"] = gr.Slider(
                        0, 4, 2.0, step=0.1, label="C of UCB, for the terms shown", elem_id="constant"
                    )
                with gr.Column(scale=3, min_width=300):
                    parts["pair"] = gr.HTML(NO_PAIR, elem_id="pair")
    return Explore(*states, query, parts)


def _filters(workspace: Workspace, parts: dict[str, gr.components.Component]) -> list[gr.components.Component]:
    text = gr.Textbox(
        label="Search", placeholder="part of a problem, or its id", max_length=200, elem_id="filter-text"
    )
    with gr.Accordion("Source, filters, order", open=False, elem_id="filters"):
        label = "Dataset on the Hub (user/name)" if workspace.public else "Run directory, or dataset on the Hub"
        parts["source"] = gr.Textbox(workspace.shown, label=label, max_length=300, elem_id="source")
        parts["open"] = gr.Button("Open", variant="primary", size="sm", elem_id="open")
        source = gr.Dropdown([EVERY], value=EVERY, label="Kind of problems", elem_id="filter-source")
        pattern = gr.Dropdown([EVERY], value=EVERY, label="Pattern", elem_id="filter-pattern")
        low = gr.Slider(0, 100, 0, step=1, label="Success rate from, %", elem_id="filter-low")
        high = gr.Slider(0, 100, 100, step=1, label="Success rate to, %")
        min_tokens = gr.Number(0, label="Length from, generated tokens", minimum=0)
        max_tokens = gr.Number(0, label="Length to (0: any)", minimum=0)
        order = gr.Dropdown(list(ORDERS), value=next(iter(ORDERS)), label="Order", elem_id="order")
    return [text, source, pattern, low, high, min_tokens, max_tokens, order]


def _wire_list(workspace: Workspace, explore: Explore) -> None:
    """Opening a source, filtering, turning pages."""
    parts = explore.parts

    def turn(by: int | None):
        def handler(source: str, row: int | None, number: int, *values):
            if not source:
                return {parts["place"]: gr.skip()}
            page = page_of(workspace.open(source), 0 if by is None else number + by, query_of(*values), row)
            return shown_page(explore, page)

        return handler

    opening = {"fn": lambda name: visit(workspace, explore, name), "inputs": parts["source"], **PRIVATE}
    gr.on([parts["open"].click, parts["source"].submit], outputs=explore.all, **opening)
    inputs = [explore.opened, explore.row, explore.page, *explore.query]
    outputs = [parts["list"], parts["place"], explore.page]
    # What is typed while the page still answers an earlier change must not be lost.
    changes = [component.change for component in explore.query]
    gr.on(changes, turn(None), inputs, outputs, trigger_mode="always_last", **PRIVATE)
    parts["back"].click(turn(-1), inputs, outputs, **PRIVATE)
    parts["forward"].click(turn(1), inputs, outputs, **PRIVATE)


def _wire_tree(workspace: Workspace, explore: Explore) -> None:
    """Choosing a problem, and a thought of its tree."""
    parts = explore.parts

    def show(source: str, constant: float, event: gr.EventData):
        return shown_tree(workspace, explore, source, int(event.row), constant=constant)

    def choose(source: str, row: int | None, constant: float, event: gr.EventData):
        chosen = {"node": int(event.node), "step": int(event.step)}
        return {explore.chosen: chosen, **describe(source, row, constant, chosen)}

    def describe(source: str, row: int | None, constant: float, chosen: dict):
        if row is None:
            return {parts["node"]: gr.skip()}
        tree = workspace.open(source).tree(row)
        return {parts["node"]: thought_at(tree, chosen["node"], chosen["step"], constant)}

    where = [explore.opened, explore.row, parts["constant"]]
    last = {"trigger_mode": "always_last", **PRIVATE}  # whoever is quicker than the answers sees the last one
    parts["list"].select(show, [explore.opened, parts["constant"]], explore.all, **last)
    parts["view"].select(choose, where, [parts["node"], explore.chosen], **last)
    parts["constant"].release(describe, [*where, explore.chosen], parts["node"], **PRIVATE)


def shown_page(explore: Explore, page: Page) -> dict[Any, Any]:
    """What changes with a page of the list."""
    return {explore.parts["list"]: page.rows, explore.parts["place"]: page.place, explore.page: page.number}


def shown_tree(
    workspace: Workspace, explore: Explore, source: str, row: int, node: int = 0, step: int | None = None,
    constant: float = 2.0,
) -> dict[Any, Any]:  # fmt: skip
    """What changes with the tree that is shown; a malformed one is a message in its place."""
    parts, index = explore.parts, workspace.open(source)
    chosen = {explore.row: row, explore.chosen: {"node": node, "step": step}}
    try:
        tree = index.tree(row)
    except InvalidInputError as error:
        nothing = {parts["view"]: None, parts["node"]: "", parts["pair"]: ""}
        return {explore.row: None, parts["title"]: alert_html(str(error)), **nothing}
    shown = "" if source == workspace.shown else source
    return {
        **chosen,
        parts["title"]: title_html(tree),
        parts["view"]: drawn(tree, f"{source} {row}", shown, node, step),
        parts["node"]: thought_at(tree, node, step, constant),
        parts["pair"]: pairs_html(index, tree),
    }


def visit(
    workspace: Workspace, explore: Explore, source: str, tree_id: str = "", node: int = 0, step: int | None = None
) -> dict[Any, Any]:
    """
    What changes when a source is opened at one of its trees, the first one by default. What was open stays open where
    that cannot be.
    """
    parts = explore.parts
    try:
        index: TreeIndex = workspace.open(source)
        row = index.row_of(tree_id) if tree_id else 0
    except InvalidInputError as error:
        return {parts["alert"]: alert_html(str(error))}
    text, kind, pattern, *others = explore.query
    values = {
        column: gr.Dropdown([EVERY, *index.values(name)], value=EVERY)
        for column, name in ((kind, "source"), (pattern, "pattern"))
    }
    page = page_of(index, page_with(index, row), query_of(*DEFAULTS), row)
    return {
        parts["alert"]: "", parts["source"]: source, explore.opened: source, text: "", **values,
        **dict(zip(others, DEFAULTS[3:], strict=True)),
        **shown_page(explore, page), **shown_tree(workspace, explore, source, row, node, step),
    }  # fmt: skip


def arrive(workspace: Workspace, explore: Explore, request: gr.Request) -> dict[Any, Any]:
    """What a link says: the source, the tree, the thought and the step; without one, what opens by itself."""
    asked = dict(request.query_params) if request else {}
    source = asked.get("source") or workspace.shown or EXAMPLES
    numbers = {name: int(asked[name]) if asked.get(name, "").isdecimal() else None for name in ("node", "step")}
    found = visit(workspace, explore, source, asked.get("tree", ""), numbers["node"] or 0, numbers["step"])
    if explore.opened not in found:
        found = {**visit(workspace, explore, workspace.shown), **found}  # the message, over what opens by itself
    typed = [explore.query[0], *([explore.parts["source"]] if source == workspace.shown else [])]
    return {component: value for component, value in found.items() if component not in typed}  # meanwhile, perhaps
