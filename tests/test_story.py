"""What a page says of a run that was evaluated: that it follows from the figures, and is told of no other run."""

import asyncio
import json
import shutil

import pyarrow
import pyarrow.parquet
import pytest

from hf_treecot.engines.engine import EngineIdentity
from hf_treecot.errors import InvalidInputError
from hf_treecot.files import fingerprint
from hf_treecot.reports.evaluated import WEIGHTS, Evaluated, Steps, read_evaluation
from hf_treecot.reports.page import write_report
from hf_treecot.reports.pair import MARK, mark_difference
from hf_treecot.reports.steps_picture import steps_figure
from hf_treecot.reports.story import what_it_shows

from .test_builder import small_build
from .worlds import ScriptedEngine


BASE = "org/base"
STEPS = Steps(BASE, "sft", "joint")
TOLD = "## What this shows, and what not"


def row(model, task="arithmetic", right=(0.1, 0.0, 0.2), without=(0.0, 0.0, 0.0), change=None, count=50):
    """A row of an evaluation; `change` is the difference with the first model: low, value, high, p."""
    ends = ("", "_low", "_high")
    names = ("difference_low", "difference", "difference_high", "p_value")
    return {
        "model": model, "decoding": "greedy", "task": task, "count": count,
        **{f"accuracy{end}": value for end, value in zip(ends, right, strict=True)},
        **{f"no_answer_rate{end}": value for end, value in zip(ends, without, strict=True)},
        **dict(zip(names, change or (), strict=False)),
    }  # fmt: skip


GAIN, NOTHING, LOSS = (0.7, 0.8, 0.9, 0.001), (-0.1, 0.1, 0.3, 0.4), (-0.5, -0.4, -0.2, 0.01)
ROWS = [
    row(BASE),
    row("sft", right=(0.2, 0.1, 0.3), without=(0.4, 0.3, 0.5), change=NOTHING),
    row("joint", right=(0.9, 0.8, 1.0), change=GAIN),
]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_outputs(run, model, outputs, date="2026-01-01", task="arithmetic"):
    """Details as lighteval keeps them: (text, accuracy, no answer) of every problem."""
    rows = [
        {
            "doc": {"query": f"Problem {n}?", "specific": {"problems": [{"problem_id": f"p{n}"}]}},
            "metric": {"accuracy": accuracy, "no_answer_rate": without},
            "model_response": {"text": [text]},
        }
        for n, (text, accuracy, without) in enumerate(outputs)
    ]
    path = run / "evaluation" / "details" / model / "greedy" / date / f"details_treecot:{task}|0_{date}.parquet"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run as the demo leaves it: a base whose trees these are, SFT from it, the joint objective from there."""
    run = tmp_path_factory.mktemp("story") / "run"
    engine = ScriptedEngine()
    engine.identity = EngineIdentity("scripted", BASE, "rev1")
    asyncio.run(small_build(run, engine))
    for stage, tag in (("sft", "sft"), ("joint", "joint-sft-dpo")):
        start = BASE if stage == "sft" else fingerprint(run / "sft", WEIGHTS)
        write(run / stage / "model.safetensors", f"weights of {stage}")
        write(run / stage / "README.md", f"---\ntags:\n- trl\n- {tag}\n---\n")
        write(run / stage / "trained_from.json", {"model": start, "rows": "r"})
        write(run / stage / "trainer_state.json", {"log_history": [{"step": 1, "loss": 1.0}]})
    for model in STEPS:
        revision = "rev1" if model == BASE else fingerprint(run / model)
        config = {"config_general": {"model_config": {"revision": revision}}}
        write(run / "evaluation" / "results" / model / "greedy" / "results_1.json", config)
    write(run / "evaluation.json", ROWS)
    write(run / "evaluation" / "table.md", "| model | accuracy |\n| --- | --- |\n| a | 50.0 |\n")
    hostile = "```\n# A heading"
    write_outputs(run, BASE, [("lucky", 1.0, 0.0), (hostile, 0.0, 0.0), ("\\boxed{2}", 0.0, 0.0)])
    write_outputs(run, "sft", [("x", 1.0, 0.0), ("Wait. " * 3, 0.0, 1.0), ("Wait.", 0.0, 1.0)])
    write_outputs(run, "joint", [("old", 0.0, 0.0)], date="2025-12-31")
    write_outputs(run, "joint", [("y", 1.0, 0.0), ("<answer>2", 1.0, 0.0), ("z", 1.0, 0.0)])
    return run


@pytest.fixture
def run(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def test_the_page_tells_the_ladder_in_order(run):
    text = write_report(run).read_text()
    assert "The ladder of the paper (Marco-o1 v2" in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "What the base does, and what training makes of it", "A pair", "Before and after, on held-out problems",
        "What this shows, and what not", "All trees", "Training", "All figures of the evaluation", "Next",
    ]  # fmt: skip
    assert "| org/base (base) | 10 % (0 to 20) / 0 % (0 to 0) |" in text
    assert "10 → 20 → 90 % right, 0 → 40 → 0 % without an answer" in text
    assert "+80 points (+70 to +90), a gain." in text
    assert "Search finds what the model can do but does not do by itself" in text
    assert "in arithmetic. And its cure: the joint objective takes that back." in text
    assert "arrows go along the training](report/steps.png)" in text
    assert (run / "report" / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_the_outputs_are_those_of_the_first_problem_with_the_commonest_outcome(run):
    text = write_report(run).read_text()
    assert "the first with the commonest outcome (2 of 3: wrong, no answer, right)" in text
    assert "org/base (base): **wrong**\n\n````text\n```\n# A heading\n````" in text  # a fence that it cannot close
    assert "sft (SFT): **no answer**" in text
    assert "joint (joint): **right**\n\n```text\n<answer>2\n```" in text
    assert "lucky" not in text


def other_revision(run):
    write(run / "evaluation" / "results" / BASE / "greedy" / "results_2.json",
          {"config_general": {"model_config": {"revision": "rev2"}}})  # fmt: skip


def other_start(run):
    write(run / "joint" / "trained_from.json", {"model": "org/other"})


def trained_again(run):
    write(run / "sft" / "model.safetensors", "other weights")


def other_objective(run):
    write(run / "joint" / "README.md", "---\ntags:\n- cdpo\n---\n- joint-sft-dpo\n")


def other_first_model(run):
    rows = json.loads((run / "evaluation.json").read_text())
    rows = [row("org/other"), {**rows[0], **row(BASE, change=NOTHING)}, *rows[1:]]
    write(run / "evaluation.json", rows)


def no_results(run):
    shutil.rmtree(run / "evaluation" / "results")


def part_of_the_tasks(run):
    write(run / "evaluation.json", [*ROWS, row(BASE, "letters")])


def no_figures(run):
    write(run / "evaluation.json", [*ROWS[:2], {**ROWS[2], "accuracy": float("nan")}])


@pytest.mark.parametrize(
    "change",
    [other_revision, other_start, trained_again, other_objective, other_first_model, no_results, part_of_the_tasks,
     no_figures],
)  # fmt: skip
def test_of_another_run_the_ladder_is_not_told(run, change):
    change(run)
    text = write_report(run).read_text()
    assert TOLD not in text
    assert "The ladder of the paper" not in text
    assert "(base)" not in text
    assert "| org/base | 10 % (0 to 20) / 0 % (0 to 0) |" in text  # the figures are shown all the same


def test_the_ladder_is_of_a_model_that_grew_its_trees_alone(run):
    grown = {"generator_model": {BASE}, "generator_revision": {"rev1"}, "critic_revision": {"rev1"}}
    assert read_evaluation(run, grown).steps == STEPS
    assert read_evaluation(run, {**grown, "critic_revision": {"rev2"}}).steps is None
    assert read_evaluation(run, {**grown, "generator_revision": {"rev1", "rev2"}}).steps is None
    assert read_evaluation(run, {}).steps is None


def shown(rows):
    return "\n".join(what_it_shows(Evaluated(rows, 1, {}, STEPS)))


@pytest.mark.parametrize(
    ("change", "words", "is_gain"),
    [
        (GAIN, "a gain.", True),
        (NOTHING, "no difference beyond the interval.", False),
        ((0.1, 0.2, 0.3, 0.06), "no difference beyond the interval.", False),  # too few problems to tell
        (LOSS, "a loss.", False),
    ],
)
def test_a_gain_is_claimed_beyond_its_interval_alone(change, words, is_gain):
    text = shown([*ROWS[:2], row("joint", change=change)])
    assert words in text
    assert ("training makes it a habit" in text) is is_gain
    assert ("no gain is shown" in text) is not is_gain
    assert ("is worse than the base, beyond the interval" in text) is (change == LOSS)


@pytest.mark.parametrize(
    ("sft", "joint", "count", "words"),
    [
        ((0.4, 0.3, 0.5), (0.0, 0.0, 0.0), 50, "And its cure: the joint objective takes that back."),
        ((0.4, 0.3, 0.5), (0.35, 0.2, 0.5), 50, "Its cure does not show"),
        ((0.05, 0.0, 0.1), (0.0, 0.0, 0.0), 50, "does not show beyond the intervals"),
        ((0.25, 0.2, 0.5), (0.0, 0.0, 0.0), 12, "does not show beyond the intervals"),  # 0 of 12 may be 0 to 26 %
    ],
)
def test_the_failure_and_its_cure_are_told_beyond_their_intervals(sft, joint, count, words):
    rows = [row(BASE, count=count), row("sft", without=sft, change=LOSS, count=count)]
    assert words in shown([*rows, row("joint", without=joint, change=GAIN, count=count)])


def test_generated_problems_are_named_where_they_are_such():
    assert "these are generated" in shown(ROWS)
    text = shown([{**figures, "task": "gsm8k"} for figures in ROWS])
    assert "these are generated" not in text


def test_the_picture_has_a_panel_a_task_and_arrows_along_the_training():
    rows = [{**figures, "task": task} for task in ("letters", "a $x$", "blocks", "mine") for figures in ROWS]
    evaluated = Evaluated(rows, 1, {"joint": "sft", "sft": BASE}, STEPS)
    figure = steps_figure(evaluated, {BASE: "base", "sft": "SFT", "joint": "_joint $x$"})
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [
        f"{task} (50 problems)" for task in ("letters", r"a \$x\$", "blocks", "mine")
    ]
    axes = panels[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("no answer (%)", "accuracy (%)")
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(0, 10), (40, 20), (0, 90)]
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [((0, 10), (40, 20)), ((40, 20), (0, 90))]
    assert [text.get_text() for text in axes.texts if text not in arrows] == ["1", "2", "3"]
    assert len(axes.collections) == 6  # an interval of either figure for every model
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["base", "SFT", r"_joint \$x\$"]
    figure.canvas.draw()


def test_models_on_one_point_are_all_named_and_unrelated_ones_have_no_arrow():
    figure = steps_figure(Evaluated([row("a"), row("b", change=NOTHING)], 1), {"a": "a", "b": "b"})
    assert [text.get_text() for text in figure.axes[0].texts] == ["1,2"]


def test_the_first_difference_of_a_pair_is_marked_at_a_word():
    first, second = mark_difference("<thinking>It is 12 now", "<thinking>It is 13")
    assert first == f"<thinking>It is\n{MARK}\n12 now"
    assert second == f"<thinking>It is\n{MARK}\n13"
    assert mark_difference("a", "b") == (f"{MARK}\na", f"{MARK}\nb")
    first, _ = mark_difference("word " * 500 + "x", "word " * 500 + "y")
    assert first.endswith(f"word\n{MARK}\nx")
    assert len(first) < 500


def test_figures_that_are_none_are_named_and_outputs_that_are_none_left_out(run, caplog):
    (path,) = (run / "evaluation" / "details" / "sft").rglob("*.parquet")
    path.write_text("no parquet")
    assert "## What the base does" not in write_report(run).read_text()
    assert "no outputs are shown of it" in caplog.text
    for content in ("{", "[1]", [{"model": "a"}], [{**ROWS[0], "count": "many"}], [{**ROWS[1], "p_value": None}]):
        write(run / "evaluation.json", content)
        with pytest.raises(InvalidInputError, match=r"evaluation.json cannot be read .*: evaluate again"):
            write_report(run)


def test_names_of_others_are_no_markup(run):
    write(run / "evaluation.json", [row("a|b <script>")])
    text = write_report(run).read_text()
    assert r"| a\|b &lt;script&gt; | 10 % (0 to 20)" in text
    assert "steps.png" not in text  # nothing was trained
