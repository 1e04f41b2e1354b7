"""The Talk tab: a conversation with two models side by side, or with one that searches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import EngineError, EnginesDownError, InvalidInputError
from ..mcts.pattern import available_patterns
from .rendering import alert_html, node_html, tree_payload
from .replies import Turn, conversation_html, labels_of, messages_of
from .results import read_results
from .talk import Found, Limits, Models, Output, follow, search_answer, write_answers
from .workspace import PRIVATE, Workspace, gpu, tree_view


MOST_TURNS = 20  # that are shown
EXAMPLES = (
    "How many s and i are there in total in mississippi?",
    "How many r and b are there in total in strawberry?",
    "Mia has 12 apples. Then Tom gives 5 more. Then 3 of them get lost. How many apples does Mia have now?",
    "grey is on table. green is on table. pink is on table. Get green on pink. What is the plan?",
)
BUDGET = 512  # tokens of an answer, at first


@dataclass(frozen=True)
class Talk:
    """The tab's components: what is asked, of whom and how, and what is shown."""

    question: gr.Textbox
    models: list[gr.Dropdown]
    searches: gr.Checkbox
    remembers: gr.Checkbox
    sampling: list[gr.components.Component]
    searching: list[gr.components.Component]
    buttons: dict[str, gr.Button]
    examples: list[gr.Button]
    alert: gr.HTML
    shown: gr.HTML
    beside: gr.Column
    view: gr.HTML
    node: gr.HTML
    turns: gr.State


def talk_tab(workspace: Workspace) -> None:
    """Lay out the tab and wire it."""
    failing = failing_example(workspace)
    talk = _layout(workspace, failing)
    _wire(workspace, talk, failing)


@dataclass(frozen=True)
class Failing:
    """A problem that one model, by its label, thinks about until its budget is spent, and another one answers."""

    question: str
    models: tuple[str, str]
    tokens: int


def failing_example(workspace: Workspace) -> Failing | None:
    """The failure beside its cure, where a run shows it and both of its models are offered."""
    try:
        results = read_results(workspace.results) if workspace.results else None
    except InvalidInputError:
        return None  # the Results tab says so
    if results is None or not (steps := results.evaluated.steps):
        return None
    offered = {label for label, name in labels_of(workspace.models.names).items() if Path(name).is_dir()}
    if steps.sft not in offered or steps.joint not in offered:
        return None
    for of_task in results.outputs().values():
        lost, cured = of_task.get(steps.sft, {}), of_task.get(steps.joint, {})
        for problem_id, output in lost.items():
            if output.failure == "truncated" and problem_id in cured and cured[problem_id].outcome == "right":
                return Failing(output.prompt, (steps.sft, steps.joint), BUDGET)
    return None


def _layout(workspace: Workspace, failing: Failing | None) -> Talk:
    limits, models = workspace.limits, workspace.models
    turns, alert = gr.State([]), gr.HTML(elem_id="talk-alert")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(elem_id="conversation")
        with gr.Column(scale=4, min_width=320, visible=False, elem_id="beside") as beside:
            view = tree_view("search-tree")
            node = gr.HTML(elem_id="search-node")
    with gr.Row(elem_id="talk-models"):
        other = {"allow_custom_value": models.any_other, "min_width": 140}
        labels = list(labels_of(models.names))
        left = gr.Dropdown(labels, value=labels[0], label="Model", elem_id="left-model", **other)
        right = gr.Dropdown(labels, value=labels[-1], label="Beside it", elem_id="right-model", **other)
        searches = gr.Checkbox(
            False, label="Search", info="many ways at once, and a vote", elem_id="searches", min_width=140
        )
    question = gr.Textbox(
        label="Question", placeholder="Ask something, or choose an example", lines=2, max_length=limits.question,
        elem_id="question",
    )  # fmt: skip
    with gr.Row():
        buttons = {
            "ask": gr.Button("Ask", variant="primary", elem_id="ask", min_width=90),
            "stop": gr.Button("Stop", elem_id="stop", min_width=90),
            "clear": gr.Button("Clear", elem_id="clear", min_width=90),
        }
    with gr.Row(elem_id="talk-examples"):
        texts = [*EXAMPLES, *(["The failure beside its cure"] if failing else [])]
        examples = [gr.Button(text, size="sm", elem_classes="example-button", min_width=200) for text in texts]
    sampling, searching, remembers = _settings(limits)
    return Talk(
        question, [left, right], searches, remembers, sampling, searching, buttons, examples, alert, shown, beside,
        view, node, turns,
    )  # fmt: skip


def _settings(limits: Limits) -> tuple[list, list, gr.Checkbox]:
    """How answers are drawn, and how a search is made."""
    with gr.Accordion("Settings", open=False, elem_id="talk-settings"):
        with gr.Row():
            temperature = gr.Slider(0, 1.5, 0.0, step=0.1, label="Temperature (0 is greedy)")
            tokens = gr.Slider(
                16, limits.tokens, min(BUDGET, limits.tokens), step=16, label="Tokens of an answer at most"
            )
            seed = gr.Number(0, label="Seed", precision=0, min_width=80)
        with gr.Row():
            pattern = gr.Dropdown(
                available_patterns(), value="reflection", label="Pattern of a search", elem_id="search-pattern"
            )
            most = limits.simulations
            simulations = gr.Slider(1, most, min(16, most), step=1, label="Simulations", elem_id="simulations")
        remembers = gr.Checkbox(
            False, label="Send what was said before too (the built-in models know single questions)"
        )
    return [temperature, tokens, seed], [pattern, simulations], remembers


def _wire(workspace: Workspace, talk: Talk, failing: Failing | None) -> None:
    limits, models = workspace.limits, workspace.models
    names = labels_of(models.names)

    @gpu
    def ask(question, left, right, is_search, remembers, temperature, tokens, seed, pattern, simulations, turns):
        try:
            text = limits.check_question(question)
        except InvalidInputError as error:
            yield {talk.alert: alert_html(str(error))}
            return
        bounded = replace(
            limits, tokens=_within(tokens, limits.tokens), simulations=_within(simulations, limits.simulations)
        )
        turns, seed = list(turns)[-MOST_TURNS + 1 :], int(seed or 0)
        left, right = (names.get(label, label) for label in (left, right))
        yield {talk.alert: "", talk.question: "", talk.beside: gr.Column(visible=bool(is_search))}
        if is_search:
            yield from _search(models, left, text, pattern, bounded, seed, turns, talk)
        else:
            before = turns if remembers else []
            asked = dict.fromkeys((left, right))  # the same model twice is one
            replies = [(name, Output(before=messages_of(before, i))) for i, name in enumerate(asked)]
            warmth = min(max(float(temperature or 0), 0.0), 2.0)
            yield from _write(models, Turn(text, replies), bounded, warmth, seed, turns, talk)

    def describe(turns: list[Turn], event: gr.EventData):
        tree = next((turn.found.tree for turn in reversed(turns) if turn.found and turn.found.tree), None)
        if tree is None or not 0 <= int(event.node) < len(tree.nodes):
            return gr.skip()
        return node_html(tree, int(event.node), int(event.step), 2.0)

    inputs = [talk.question, *talk.models, talk.searches, talk.remembers, *talk.sampling, *talk.searching, talk.turns]
    outputs = [talk.alert, talk.question, talk.shown, talk.beside, talk.view, talk.turns]
    limited = {"concurrency_limit": 1, "concurrency_id": "generate", **PRIVATE}
    asking = gr.on([talk.buttons["ask"].click, talk.question.submit], ask, inputs, outputs, **limited)
    running = [asking]
    for number, button in enumerate(talk.examples):
        put = button.click(*_example(talk, number, failing), **PRIVATE)
        running.append(put.then(ask, inputs, outputs, **limited))
    talk.buttons["stop"].click(None, cancels=running)
    cleared = {talk.shown: "", talk.turns: [], talk.view: None, talk.beside: gr.Column(visible=False), talk.alert: ""}
    talk.buttons["clear"].click(lambda: cleared, None, list(cleared), cancels=running, **PRIVATE)
    talk.searches.change(
        lambda is_search: gr.Dropdown(visible=not is_search), talk.searches, talk.models[1], **PRIVATE
    )
    talk.view.select(describe, talk.turns, talk.node, trigger_mode="always_last", **PRIVATE)


def _example(talk: Talk, number: int, failing: Failing | None) -> tuple:
    """What an example puts into the question, and who is asked."""
    if number < len(EXAMPLES):
        return (lambda: EXAMPLES[number]), None, talk.question
    _, tokens, _ = talk.sampling
    values = {talk.question: failing.question, talk.searches: False, tokens: failing.tokens}
    values |= dict(zip(talk.models, failing.models, strict=True))
    return (lambda: values), None, list(values)


def _write(
    models: Models, turn: Turn, limits: Limits, temperature: float, seed: int, turns: list[Turn], talk: Talk
) -> Iterator[dict[Any, Any]]:
    """Answers of both models, while they come; one may fail, and the other go on."""
    turns = [*turns, turn]
    try:
        for _ in follow(
            lambda: write_answers(turn.replies, models, turn.question, limits, temperature, seed), limits.seconds
        ):
            yield {talk.shown: conversation_html(turns)}
    except InvalidInputError as error:
        yield {talk.alert: alert_html(str(error)), talk.shown: conversation_html(turns)}
        return
    yield {talk.shown: conversation_html(turns), talk.turns: turns}


def _search(
    models: Models, name: str, question: str, pattern: str, limits: Limits, seed: int, turns: list[Turn], talk: Talk
) -> Iterator[dict[Any, Any]]:
    """A search while its tree grows."""
    found, drawn = Found(), -1
    turns = [*turns, Turn(question, [(name, Output())], found)]
    try:
        for _ in follow(lambda: search_answer(models, name, question, pattern, limits, seed, found), limits.seconds):
            count = len(found.tree.simulations) if found.tree else 0
            grown, drawn = count != drawn, count
            tree = {talk.view: _growing(found, len(turns))} if grown and found.tree else {}
            yield {talk.shown: conversation_html(turns), **tree}
    except (InvalidInputError, EngineError, EnginesDownError) as error:
        found.error = str(error)
    tree = {talk.view: _growing(found, len(turns))} if found.tree else {talk.beside: gr.Column(visible=False)}
    yield {talk.shown: conversation_html(turns), talk.turns: turns, **tree}


def _within(value: float | None, most: int) -> int:
    return min(max(int(value or 1), 1), most)


def _growing(found: Found, number: int) -> dict[str, Any]:
    return {**tree_payload(found.tree), "title": f"search {number}", "follow": True, "votes": True}
