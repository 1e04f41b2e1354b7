"""The story that the Space opens with, and what Explore makes of a tree: without a browser."""

import json

import pytest


pytest.importorskip("gradio")

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.space import charts, explore, rendering, story, text
from hf_treecot.space.tree_index import EXAMPLES, SHIPPED, Query, open_trees

from .space import hostile_tree, small_tree, write_run
from .test_dataset import damage_a_tree
from .test_space import HOSTILE, elements_of


def test_the_story_is_of_a_real_tree_with_right_and_wrong_ways():
    told = story.load_story()
    tree = told.tree
    assert tree.answers(True)
    assert tree.answers(False)
    assert tree.provenance["generator_model"] == "hf_treecot/hasty"
    payload = story.growing(told)
    count = len(payload["kind"])
    assert {len(payload[name]) for name in ("parent", "reward", "label", "simulation", "dead", "critic")} == {count}
    assert all(-1 <= parent < i for i, parent in enumerate(payload["parent"]))
    assert len(payload["captions"]) == len(payload["simulations"]) + 1 == len(tree.simulations) + 1
    assert [payload["reward"][payload["marks"][side]] for side in ("chosen", "rejected")] == [1.0, 0.0]
    for said, leaf in zip(payload["captions"][1:], tree.simulations, strict=True):
        assert ("right ✓" if tree.nodes[leaf].reward > 0.5 else "wrong ✗") in said


def test_the_story_says_where_its_figures_come_from():
    """They are those of `benchmarks/RESULTS.md`."""
    told = story.load_story()
    base, sft, joint = told.evaluated.steps
    right = {(row["model"], row["task"]): round(100 * row["accuracy"]) for row in told.evaluated.rows}
    assert [right[model, "arithmetic"] for model in (base, sft, joint)] == [6, 89, 96]
    assert [right[model, "blocks"] for model in (base, sft, joint)] == [15, 8, 60]
    assert "6 (2–9)" in story.ladder(told.evaluated)
    assert told.evaluated.parents == {sft: base, joint: sft}
    assert told.failure["sft_tokens"] == 512
    assert "<answer>" not in told.failure["sft"]
    assert "until the budget was spent" in story.failure_html(told)


def test_examples_come_with_the_package_and_are_small():
    index = open_trees(EXAMPLES, directories=False)
    assert len(index) >= 10
    assert any(len(index.tree(row).nodes) > 60 for row in range(len(index)))
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 200_000
    everything = b"".join(path.read_bytes() for path in SHIPPED.rglob("*") if path.is_file())
    assert b"/home/" not in everything
    assert b"/tmp/" not in everything


def test_a_link_names_the_very_thought(tmp_path):
    index = open_trees(str(write_run(tmp_path, [small_tree(i) for i in range(3)])))
    tree = index.tree(2)
    assert index.row_of(tree.tree_id) == 2
    payload = explore.drawn(tree, "x 2", "user/name", node=3, step=1)
    assert payload["link"] == "?tab=explore&source=user%2Fname&tree=p-2%2Freflection%2F0"
    assert (payload["chosen"], payload["step"]) == (3, 1)
    assert explore.drawn(tree, "x 2", "", step=99)["step"] == len(tree.simulations)
    with pytest.raises(InvalidInputError, match="'no such tree' is not in this dataset"):
        index.row_of("no such tree")


def test_a_malformed_tree_is_said_to_be_in_which_row(tmp_path):
    run = write_run(tmp_path, [small_tree(i) for i in range(3)])
    damage_a_tree(run / "dataset", 1)
    with pytest.raises(InvalidInputError, match="row 1 of the dataset: .*malformed.*node 3: its parent 3 must come"):
        open_trees(str(run)).tree(1)


@pytest.mark.parametrize("text_of", HOSTILE)
def test_hostile_problems_stay_text_in_the_list_and_the_title(tmp_path, text_of):
    tree = hostile_tree()
    tree.problem = Problem(text_of, text_of, text_of, "letters", text_of)
    index = open_trees(str(write_run(tmp_path, [tree])))
    rows = explore.rows_html(index.find(Query()), 0)
    title = explore.title_html(index.tree(0))
    shares = [charts.Share(text_of, 0.5, 0.4, 0.6)]
    parts = {text_of: [charts.Segment(text_of, 0.5, text_of), charts.Segment("wrong", 0.5)]}
    points = [charts.Point(text_of, charts.Share("", 0.1, 0.0, 0.2), shares[0])]
    drawn = charts.bars_html({text_of: shares}) + charts.stacked_html({text_of: parts})
    drawn += charts.ladder_html({text_of: points}, {}) + charts.curves_html(text_of, {text_of: [(0, 1), (1, 2)]})
    for name, attributes in elements_of(rows + title + drawn):
        assert name not in ("script", "img", "a", "iframe", "object")
        assert not {"href", "src", "onload", "onerror", "onclick"} & attributes.keys()


def test_a_page_of_the_list(tmp_path):
    trees = [small_tree(i, right=i % 3, wrong=1) for i in range(40)]
    index = open_trees(str(write_run(tmp_path, trees)))
    page = explore.page_of(index, 1, Query(), chosen=16)
    assert page.rows.count("<li>") == 15
    assert page.rows.count('aria-current="true"') == 1
    assert 'data-row="16" aria-current="true"' in page.rows
    assert "40 of 40 trees · page 2 of 3" in page.place
    assert explore.page_of(index, 99, Query(), None).number == 2
    assert "0 of 40 trees · page 1 of 1" in explore.page_of(index, 0, Query(text="nothing like it"), None).place
    assert 'aria-label="1 right, 1 wrong"' in page.rows


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r"The answer is: \boxed{42}", "The answer is: 42"),
        (r"so $\frac{1}{2} \times 4$ and  \(x\)", "so 1/2 × 4 and x"),
        ("it costs $5 or $6", "it costs $5 or $6"),
        ("a\n\nb `code` ```python", "a b code "),
        (r"\leq \left( \sqrt{2} \right)", "≤ ( √(2) )"),
    ],
)
def test_a_card_has_a_line_of_plain_text(written, shown):
    assert text.plain_text(written) == shown


def test_code_is_shown_as_code():
    html = text.text_html("see `a < b`:\n```python\nif a < b:\n    $x$\n```\nand $x^2$")
    assert "<code>a &lt; b</code>" in html
    assert "<pre>if a &lt; b:\n    $x$</pre>" in html
    assert html.count("<math") == 1


def test_cards_of_siblings_show_what_they_differ_in():
    tree = Tree(Problem("p", "q", "1"), "reflection")
    begun = "Firstly, I need to break this task down into steps and go "
    for way in ("one step at a time.", "all at once.", "all at once."):
        tree.add(Node("sub_task", "sub-task", begun + way, 0))
    tree.add(Node("sub_task", "sub-task", "Another way altogether.", 0))
    labels = rendering.tree_payload(tree)["label"]
    assert labels[1] == "Firstly, I need … one step at a time."
    assert labels[2] == labels[3] == "Firstly, I need … all at once."
    assert labels[4] == "Another way altogether."
    assert json.dumps(labels)


def test_figures_are_written_in_one_cell():
    assert charts.with_interval(0.42, 0.28, 0.56) == "42 (28–56)"
    assert charts.with_interval(0.371, 0.329, 0.414) == "37.1 (32.9–41.4)"
    html = charts.bars_html({"letters": [charts.Share("a", 1.0, 1.0, 1.0), charts.Share("b", 0.0, 0.0, 0.05)]})
    assert "width:100.0%" in html
    assert "0 (0–5)" in html


def test_an_arrow_leads_from_a_model_to_the_one_that_was_trained_from_it():
    def point(name, x, y):
        return charts.Point(name, charts.Share(name, x, x, x), charts.Share(name, y, y, y))

    points = [point("base", 0, 0.1), point("sft", 0.7, 0.1), point("joint", 0, 0.6), point("same", 0, 0.6)]
    html = charts.ladder_html({"blocks": points}, {"sft": "base", "joint": "sft", "same": "joint"})
    assert html.count('class="arrow"') == 2
    assert "joint: 60 % right, 0 % without an answer" in html
