"""The app: its tabs on one page, and how it is served."""

import os
from pathlib import Path


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: no request to any other host

import gradio as gr

from ..errors import InvalidInputError
from ..hub.repository import HUB_NAME
from .arguments import SpaceArguments
from .explore_tab import Explore, arrive, explore_tab, visit
from .judge_tab import judge_tab
from .judging import open_log
from .results_tab import results_tab
from .story import load_story
from .story_tab import story_tab
from .talk import Models
from .talk_tab import talk_tab
from .tree_index import EXAMPLES, SHIPPED
from .workspace import PRIVATE, Workspace


HERE = Path(__file__).parent
TABS = ("story", "explore", "judge", "talk", "results")
# Fonts of the system: the default theme would ask another host for its own.
THEME = gr.themes.Default(
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="blue"
).set(  # the default's white on blue and red is too faint
    button_primary_background_fill="*primary_600", button_primary_background_fill_dark="*primary_600",
    button_cancel_background_fill="#b91c1c", button_cancel_background_fill_dark="#b91c1c",
    button_cancel_text_color="white", button_cancel_text_color_dark="white",
)  # fmt: skip


TITLE = "<h1>Trees of thoughts</h1><p>how a small model learns to think, seen from inside</p>"


def build(workspace: Workspace) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title="hf_treecot", fill_width=True) as demo:
        gr.HTML(TITLE, elem_id="page-title")
        # Not within a tab: it would be read only when the tab is opened. What is in it is the browser owner's own.
        nobody = {"name": "", "key": ""}
        memory = gr.BrowserState(nobody, storage_key="treecot-annotator", secret="treecot")  # noqa: S106
        with gr.Tabs(selected=TABS[0]) as tabs:
            with gr.Tab("Story", id="story"):
                links = story_tab()
            with gr.Tab("Explore", id="explore"):
                explore = explore_tab(workspace)
            with gr.Tab("Judge", id="judge"):
                judge_tab(demo, workspace, explore, memory)
            with gr.Tab("Talk", id="talk"):
                talk_tab(workspace)
            with gr.Tab("Results", id="results"):
                results_tab(workspace)
        _wire(demo, workspace, tabs, explore, links)
    # Whoever comes when so many wait is told to come again.
    return demo.queue(max_size=32, default_concurrency_limit=8)


def _wire(demo: gr.Blocks, workspace: Workspace, tabs: gr.Tabs, explore: Explore, links: dict[str, gr.Button]) -> None:
    """What leads from one tab to another, and what a link to this page says."""

    def open_story():
        return {tabs: gr.Tabs(selected="explore"), **visit(workspace, explore, EXAMPLES, load_story().tree.tree_id)}

    def start(request: gr.Request):
        tab = request.query_params.get("tab")  # without one, whoever has chosen a tab meanwhile stays there
        selected = {tabs: gr.Tabs(selected=tab)} if tab in TABS else {}
        return {**selected, **arrive(workspace, explore, request)}

    demo.load(start, None, [tabs, *explore.all], **PRIVATE)
    for tab, button in links.items():
        if tab == "explore":
            button.click(open_story, None, [tabs, *explore.all], **PRIVATE)
        else:
            button.click(lambda tab=tab: gr.Tabs(selected=tab), None, tabs, **PRIVATE)


def workspace_of(arguments: SpaceArguments) -> Workspace:
    """What the arguments ask for."""
    if not arguments.models:
        raise InvalidInputError("models is empty: name at least one")
    known = arguments.source == EXAMPLES or Path(arguments.source).is_dir() or HUB_NAME.fullmatch(arguments.source)
    if not known:
        raise InvalidInputError(
            f"source={arguments.source!r} is neither a directory nor user/name on the Hub: give that of a run"
        )
    results = SHIPPED if arguments.source == EXAMPLES else Path(arguments.source)
    if arguments.results:
        results = Path(arguments.results)
    if arguments.results and not results.is_dir():
        raise InvalidInputError(f"results={arguments.results!r} is not a directory: give that of an evaluation")
    return Workspace(
        source=arguments.source,
        models=Models(list(arguments.models), any_other=not arguments.public),
        log=open_log(Path(arguments.judgements), arguments.judgements_repo)[0],
        results=results if results.is_dir() else None,
        public=arguments.public,
    )


def launch(workspace: Workspace, host: str, port: int, **options):
    """Serve the page."""
    scripts = [f"<script>{path.read_text(encoding='utf-8')}</script>" for path in sorted(HERE.glob("*.js"))]
    styles = sorted(HERE.glob("*.css"), key=lambda path: path.name != "style.css")  # what all share comes first
    return build(workspace).launch(
        server_name=host, server_port=port, theme=THEME, css_paths=styles, head="".join(scripts), ssr_mode=False,
        footer_links=[], max_file_size="1mb", **options,
    )  # fmt: skip


def serve(arguments: SpaceArguments) -> None:
    """
    Serve until it is stopped.

    Raises:
        InvalidInputError: An argument is wrong.
    """
    workspace = workspace_of(arguments)
    launch(workspace, "0.0.0.0" if os.environ.get("SPACE_ID") else arguments.host, arguments.port)  # noqa: S104
