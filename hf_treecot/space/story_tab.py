"""The Story tab: in a minute, what a tree is, what a pair is, and what training on pairs did."""

from html import escape

import gradio as gr

from .explore_tab import LEGEND
from .rendering import pair_html
from .story import Story, failure_html, growing, ladder, load_story
from .text import text_html
from .workspace import tree_view


LEAD = (
    "A small language model answers at once, and is mostly wrong. Here it thinks instead, one thought after another, "
    "in many ways at a time. Ways that end right are kept, ways that end wrong are what it learns to avoid."
)
TREE = (
    "Every card is a thought. <b>✓</b> and <b>✗</b>: a rule has checked the answer. <b>×</b> and the thickness of its "
    "edge: how often the search came by. The bar: the share of those times that ended right. Ways that go well are "
    "tried more often."
)
PAIR = (
    "Two ways through the tree. They begin with the same thoughts; <b>▸</b> is where the wrong one takes another turn."
)


def story_tab() -> dict[str, gr.Button]:
    """Lay out the tab; by the tab that shows more, the button that leads there."""
    story = load_story()
    gr.HTML(f'<p class="lead">{LEAD}</p>')
    gr.HTML(_step(1, "A problem, and its tree of thoughts", f'<p class="problem text">{_problem(story)}</p>'))
    tree_view("story-tree", growing(story))
    gr.HTML(f'<p class="note">{TREE}</p>{LEGEND}')
    explore = _link("Explore this tree →", "story-explore")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=330):
            texts = (story.pair[side][0]["content"] for side in ("chosen", "rejected"))
            gr.HTML(_step(2, "The pair that comes out of it", f'<p class="note">{PAIR}</p>'))
            gr.HTML(pair_html(*texts), elem_id="story-pair")
            judge = _link("Judge such pairs →", "story-judge")
        with gr.Column(min_width=330):
            gr.HTML(_step(3, "What training on such trees did", f'<p class="note">{_figures(story)}</p>'))
            gr.HTML(f"{ladder(story.evaluated)}{failure_html(story)}", elem_id="story-ladder")
            with gr.Row():
                results = _link("All figures →", "story-results")
                talk = _link("Ask the models yourself →", "story-talk")
    return {"explore": explore, "judge": judge, "results": results, "talk": talk}


def _link(text: str, elem_id: str) -> gr.Button:
    return gr.Button(text, size="sm", min_width=100, scale=0, elem_id=elem_id, elem_classes="link-button")


def _step(number: int, title: str, below: str) -> str:
    return f'<h2 class="title"><span class="step-number">{number}</span> {title}</h2>{below}'


def _problem(story: Story) -> str:
    problem = story.tree.problem
    return f"{text_html(problem.prompt)} <span class='gold'>right: {escape(problem.answer)}</span>"


def _figures(story: Story) -> str:
    base, sft, joint = story.evaluated.steps
    count = story.evaluated.rows[0]["count"]
    return (
        f"Right answers to {count} other problems of each kind, in percent, with 95 % intervals over {story.seeds} "
        f"runs. <b>{base}</b>: the model that grew the trees. <b>{sft}</b>: after fine-tuning on right ways alone; in "
        f"blocks it thinks on and on and never answers. <b>{joint}</b>: after training on the pairs as well."
    )
