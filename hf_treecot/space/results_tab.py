"""The Results tab: what an evaluation came to."""

from pathlib import Path

import gradio as gr

from ..errors import InvalidInputError
from .rendering import alert_html
from .results import (
    Results,
    accuracy_html,
    compared_html,
    endings_html,
    examples_html,
    read_results,
    steps_html,
    table_html,
    training_html,
)
from .tree_index import SHIPPED
from .workspace import PRIVATE, Workspace


NO_RESULTS = '<p class="note">There are no results in this run yet: <code>treecot evaluate</code> makes them.</p>'
OF_EXAMPLES = (
    '<p class="note">These are figures that come with the package: a small model (hasty), after fine-tuning on right '
    "chains (SFT), and after training on pairs as well (joint), over three runs. Start the app on a run of your own "
    "to see that one's.</p>"
)


def results_tab(workspace: Workspace) -> None:
    """Lay out the tab and wire it."""
    try:
        results = read_results(workspace.results) if workspace.results else None
        curves = training_html(workspace.results) if results else ""
    except InvalidInputError as error:
        message = "The results of this Space cannot be read." if workspace.public else str(error)
        gr.HTML(alert_html(message))
        return
    if results is None:
        gr.HTML(NO_RESULTS, elem_id="no-results")
        return
    _figures(results, curves)
    if not workspace.public:
        _comparison(results)


def _figures(results: Results, curves: str) -> None:
    if results.directory == SHIPPED:
        gr.HTML(OF_EXAMPLES)
    gr.HTML(f"{_title('How often models are right, %')}{accuracy_html(results)}", elem_id="accuracy-bars")
    if steps := steps_html(results):
        note = '<p class="note">Upper left is best: always an answer, always right. Arrows go along the training.</p>'
        gr.HTML(f"{_title('Right answers, and answers at all')}{note}{steps}", elem_id="steps")
    if endings := endings_html(results):
        opens = " Click a part to read some of its outputs." if "<button" in endings else ""
        note = f'<p class="note">What became of all outputs, %.{opens}</p>'
        bars = gr.HTML(
            f"{_title('How outputs end')}{note}{endings}", elem_id="endings",
            js_on_load="treecotResults.mount(element, trigger);",
        )  # fmt: skip
        examples = gr.HTML(elem_id="examples")

        def open_examples(event: gr.EventData) -> str:
            return examples_html(results, str(event.key))

        bars.select(open_examples, None, examples, trigger_mode="always_last", **PRIVATE)
    gr.HTML(f"{_title('All figures')}{table_html(results.rows)}", elem_id="results-table")
    if curves:
        gr.HTML(f"{_title('Training')}{curves}", elem_id="curves")


def _title(text: str) -> str:
    return f'<h2 class="title">{text}</h2>'


def _comparison(results: Results) -> None:
    """Another run beside this one; not for visitors, who may not name directories."""
    with gr.Accordion("Compare with another run", open=False, elem_id="compare"):
        directory = gr.Textbox(label="Its directory", max_length=300, elem_id="compare-directory")
        button = gr.Button("Compare", size="sm", elem_id="compare-button")
        shown = gr.HTML(elem_id="compared")

    def against(name: str) -> str:
        try:
            return compared_html(results, _other(name))
        except InvalidInputError as error:
            return alert_html(str(error))

    gr.on([button.click, directory.submit], against, directory, shown, **PRIVATE)


def _other(name: str) -> Results:
    if not name.strip() or not Path(name.strip()).is_dir():
        raise InvalidInputError(f"run {name.strip()!r} is not a directory: give that of another run")
    if (found := read_results(Path(name.strip()))) is None:
        raise InvalidInputError(f"run {name.strip()!r} has no results: evaluate its models with `treecot evaluate`")
    return found
