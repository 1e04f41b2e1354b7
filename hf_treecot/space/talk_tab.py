"""The Talk tab: one question to two models side by side, or by search."""

from dataclasses import replace
from html import escape

import gradio as gr

from ..errors import EngineError, EnginesDownError, InvalidInputError
from ..mcts.pattern import available_patterns
from .rendering import alert_html, chain_html, counters_html, node_html, tree_payload
from .talk import Found, Output, follow, search_answer, write_answers
from .workspace import PRIVATE, Workspace, gpu, tree_view


EXAMPLE = "How many s and i are there in total in mississippi?"


def talk_tab(workspace: Workspace) -> None:
    """Lay out the tab and wire it."""
    limits, models = workspace.limits, workspace.models
    question = gr.Textbox(EXAMPLE, label="Question", lines=2, max_length=limits.question, elem_id="question")
    with gr.Row():
        other = {"allow_custom_value": models.any_other}
        left = gr.Dropdown(models.names, value=models.names[0], label="Model", elem_id="left-model", **other)
        right = gr.Dropdown(models.names, value=models.names[-1], label="Other model", elem_id="right-model", **other)
        temperature = gr.Slider(0, 1.5, 0.0, step=0.1, label="Temperature (0 is greedy)")
        tokens = gr.Slider(16, limits.tokens, min(512, limits.tokens), step=16, label="Tokens of an answer at most")
        seed = gr.Number(0, label="Seed", precision=0, min_width=80)
    with gr.Row():
        ask = gr.Button("Ask both", variant="primary", elem_id="ask")
        stop = gr.Button("Stop", elem_id="stop")
    alert = gr.HTML(elem_id="talk-alert")
    with gr.Row():
        sides = []
        for side in ("left", "right"):
            with gr.Column(min_width=300):
                sides += [gr.HTML(elem_id=f"{side}-counters"), gr.HTML(elem_id=f"{side}-answer")]
    gr.HTML("<h3>Search: the same question by MCTS, with the votes of its own answers as rewards</h3>")
    with gr.Row():
        pattern = gr.Dropdown(available_patterns(), value="reflection", label="Pattern", elem_id="search-pattern")
        most = limits.simulations
        simulations = gr.Slider(1, most, min(16, most), step=1, label="Simulations", elem_id="simulations")
        start_search = gr.Button("Search", variant="primary", elem_id="search")
    found_html = gr.HTML(elem_id="found")
    view = tree_view("search-tree")
    node, tree_state = gr.HTML(elem_id="search-node"), gr.State(None)

    @gpu
    def talk(question_value, left_name, right_name, temperature_value, tokens_value, seed_value):
        outputs = [Output(), Output()]
        try:
            bounded = replace(limits, tokens=_within(tokens_value, limits.tokens))
            sampling = (min(max(float(temperature_value), 0.0), 2.0), int(seed_value or 0))
            arguments = (models, limits.check_question(question_value), bounded, *sampling)
            sides = list(zip((left_name, right_name), outputs, strict=True))
            for _ in follow(lambda: write_answers(sides, *arguments), limits.seconds):
                yield [_failures(outputs), *_sides(outputs)]  # one may have failed, and the other go on
        except InvalidInputError as error:
            yield [alert_html(str(error)), *_sides(outputs)]
            return
        yield [_failures(outputs), *_sides(outputs)]

    @gpu
    def search_it(question_value, name, pattern_value, simulations_value, seed_value):
        found, drawn = Found(), -1
        try:
            text = limits.check_question(question_value)
            bounded = replace(limits, simulations=_within(simulations_value, limits.simulations))
            arguments = (models, name, text, pattern_value, bounded, int(seed_value or 0), found)
            for _ in follow(lambda: search_answer(*arguments), limits.seconds):
                count = len(found.tree.simulations) if found.tree else 0
                grown, drawn = count != drawn, count
                payload = _growing(found) if grown and found.tree else gr.skip()
                yield "", _found_html(found), payload, gr.skip()
        except (InvalidInputError, EngineError, EnginesDownError) as error:
            yield alert_html(str(error)), _found_html(found), gr.skip(), found.tree
            return
        yield "", _found_html(found), _growing(found), found.tree

    def describe(tree, event: gr.EventData):
        if tree is None or not 0 <= int(event.node) < len(tree.nodes):
            return gr.skip()
        return node_html(tree, int(event.node), int(event.step), 2.0)

    limited = {"concurrency_limit": 1, "concurrency_id": "generate", **PRIVATE}
    asking = gr.on(
        [ask.click, question.submit],
        talk,
        [question, left, right, temperature, tokens, seed],
        [alert, *sides],
        **limited,
    )
    searching = start_search.click(
        search_it, [question, left, pattern, simulations, seed], [alert, found_html, view, tree_state], **limited
    )
    stop.click(None, cancels=[asking, searching])
    view.select(describe, tree_state, node, **PRIVATE)


def _within(value: float | None, most: int) -> int:
    return min(max(int(value or 1), 1), most)


def _failures(outputs: list[Output]) -> str:
    return alert_html(" ".join(output.error for output in outputs if output.error))


def _sides(outputs: list[Output]) -> list[str]:
    return [
        html
        for output in outputs
        for html in (counters_html(output.text, output.tokens, output.note), chain_html(output.text))
    ]


def _growing(found: Found) -> dict | None:
    return {**tree_payload(found.tree), "title": "search", "follow": True, "votes": True} if found.tree else None


def _found_html(found: Found) -> str:
    votes = ", ".join(f"{escape(answer[:80])} ({count})" for answer, count in found.votes.most_common(5))
    answer = f"<p><b>{escape(found.answer[:200])}</b></p>{chain_html(found.best_chain())}" if found.answer else ""
    return f'<p class="note" role="status">{escape(found.note)}{" · votes: " if votes else ""}{votes}</p>{answer}'
