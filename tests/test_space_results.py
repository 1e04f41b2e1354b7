"""The Results tab's figures, without a browser."""

import json
import re
from html import unescape

import pytest


pytest.importorskip("gradio")

from hf_treecot.errors import InvalidInputError
from hf_treecot.reports.evaluated import Evaluated
from hf_treecot.space import results
from hf_treecot.space.tree_index import SHIPPED, settings_of

from .space import ROWS, row, small_tree, write_evaluation, write_outputs, write_run
from .test_space import elements_of


@pytest.fixture
def run(tmp_path):
    return write_evaluation(write_run(tmp_path / "run", [small_tree(0)]))


def cells_of(html):
    """Rows of cells of a table in HTML."""
    lines = re.findall(r"<tr>(.*?)</tr>", html)
    cells = [re.findall(r"<t[hd].*?</t[hd]>", line) for line in lines]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)) for cell in line] for line in cells]


def test_figures_are_those_of_the_table_cell_by_cell(run):
    """The same numbers, in other words: `42.0 (28.0 to 56.0)` is `42 (28–56)`."""
    head, *lines = [
        line.strip("| \n").split(" | ") for line in (run / "evaluation" / "table.md").open() if line[2:5] != "---"
    ]
    shown, task = {}, None
    found = results.read_results(run)
    for cells in cells_of(results.table_html(found.rows))[1:]:
        if len(cells) == 1:
            task = cells[0]
        else:
            shown[cells[0], task] = cells[1:]
    assert len(shown) == len(lines) == 4

    def in_words(name, cell):
        if name in ("p value", "length", "tokens"):
            return cell
        cell = re.sub(r"\.0(?!\d)", "", cell)
        return cell if name == "difference" else cell.replace(" to ", "–")

    for model, _decoding, task, *figures in (line for line in lines):
        name, count = re.fullmatch(r"(\w+) \((\d+)\)", task).groups()
        figures += [""] * (len(head) - 3 - len(figures))  # the first model is compared with nothing
        expected = [in_words(column, cell.strip()) for column, cell in zip(head[3:], figures, strict=True)]
        assert shown[model, f"{name} · {count} problems"] == expected


def test_bars_are_grouped_by_task_and_stay_within_their_scale(run):
    html = results.accuracy_html(results.read_results(run))
    assert html.count('<section class="bars">') == 2
    assert "42 (28–56)" in html
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", html)]
    assert max(widths) <= 100


def test_parts_of_a_bar_add_up_and_open_what_was_kept(run):
    found = results.read_results(run)
    for each in ROWS:
        assert sum(share for _, share in results.endings(each)) == pytest.approx(1)
    html = results.endings_html(found)
    buttons = [attributes["data-key"] for name, attributes in elements_of(html) if name == "button"]
    assert sorted(buttons) == [
        "1.1.budget spent",
        "1.1.repeats itself",
        "1.1.right",
        "1.1.unreadable",
        "1.1.wrong",
    ]  # of the others no outputs were kept
    examples = results.examples_html(found, "1.1.budget spent")
    assert "blocks, sft: budget spent, 2 of 2 outputs" in examples
    assert "truncated 2 &lt;b&gt;" in examples
    assert "Problem 2 &lt;b&gt;" in examples
    for nonsense in ("", "9.9.right", "a.b.c", "1", "0.-5.right"):
        assert "<section" not in results.examples_html(found, nonsense)


def test_without_kinds_what_has_no_answer_is_one_part():
    ours = {"accuracy": 0.5, "no_answer_rate": 0.25}
    assert results.endings(ours) == [("right", 0.5), ("wrong", 0.25), ("no answer", 0.25)]


def test_what_comes_with_the_package_has_a_ladder():
    found = results.read_results(SHIPPED)
    assert found.evaluated.steps is not None
    assert results.steps_html(found).count('class="arrow"') == 6
    assert results.table_html(found.rows).count("<tbody>") == 3
    assert "<button" not in results.endings_html(found)


def test_two_runs_are_compared_where_they_overlap(run, tmp_path):
    other = write_run(tmp_path / "other", [small_tree(0)])
    (other / "evaluation").mkdir()
    rows = [row("sft", "blocks", (0.4, 0.3, 0.5), 0.2), row("another", "blocks", (1.0,))]
    (other / "evaluation.json").write_text(json.dumps(rows))
    write_outputs(other, "sft", "blocks", ["right", "right", "right", "truncated", "looping"])
    one, two = results.read_results(run), results.read_results(other)
    ((task, model, mine, theirs, change),) = cells_of(results.compared_html(one, two))[1:]
    assert (task, model, mine, theirs) == ("blocks", "sft", "18 (8–28)", "40 (30–50)")
    assert re.fullmatch(r"\+40 \(\+0 to \+80\), p 0\.\d{3}", change)
    write_outputs(other, "sft", "blocks", ["right"])  # other problems: only the figures are compared
    again = results.Results(other, rows, Evaluated(rows, 1))
    results._outputs.cache_clear()
    assert cells_of(results.compared_html(one, again))[1][-1] == "+22.0"
    (other / "evaluation.json").write_text(json.dumps([row("another", "blocks", (1.0,))]))
    with pytest.raises(InvalidInputError, match="no model of the same name on the same task"):
        results.compared_html(one, results.read_results(other))


@pytest.mark.parametrize(
    ("task", "name"),
    [("treecot:letters|0", "letters"), ("lighteval|gsm8k|5", "gsm8k"), ("all", "all"), ("gsm8k", "gsm8k"),
     ("treecot:_average|0", "_average")],
)  # fmt: skip
def test_tasks_are_called_by_their_names(task, name):
    assert results.task_name(task) == name


def test_results_of_lighteval_are_read(tmp_path):
    assert results.read_results(tmp_path) is None
    metrics = {"extractive_match": 0.5, "extractive_match_stderr": 0.1}
    content = {
        "config_general": {"model_name": "<b>other</b>"},
        "results": {"lighteval|gsm8k|0": metrics, "lighteval|_average|0": metrics, "all": metrics},
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results_2026.json").write_text(json.dumps(content))
    found = results.read_results(tmp_path)
    assert [each["task"] for each in found.rows] == ["gsm8k"]
    html = results.accuracy_html(found) + results.table_html(found.rows)
    assert "&lt;b&gt;other&lt;/b&gt;" in html
    assert "50 (30.4–69.6)" in html
    assert results.endings_html(found) == results.steps_html(found) == ""
    (tmp_path / "results" / "results_2026.json").write_text("{")
    with pytest.raises(InvalidInputError, match=r"results_2026\.json.*cannot be read"):
        results.read_results(tmp_path)


def test_curves_are_drawn_only_where_there_is_something(tmp_path):
    assert results.training_html(tmp_path) == ""
    (tmp_path / "sft").mkdir()
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "sft_loss": 0.5}, {"step": 3, "note": "x"}]
    (tmp_path / "sft" / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    html = results.training_html(tmp_path)
    assert html.count("<figure") == html.count("<polyline") == 1
    assert "loss from 2 to 1" in html


def test_settings_are_read_without_the_trees(tmp_path):
    assert settings_of(write_run(tmp_path, [small_tree(0)])) == {"seed": {"0"}}
    assert settings_of(tmp_path / "nothing") == {}
