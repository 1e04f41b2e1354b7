"""A conversation as it is shown, without a browser; examples that come out right."""

import asyncio
from collections import Counter

import pytest


pytest.importorskip("gradio")

from hf_treecot.base import Problem
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.reports.evaluated import Evaluated, Output, Steps
from hf_treecot.selection.judgements import JudgementLog
from hf_treecot.space import replies, results, talk, talk_tab, workspace

from .space import HOSTILE
from .test_space import elements_of


CHAIN = "<thinking>one</thinking>\n<thinking>two</thinking>\n"


def test_thoughts_are_open_while_they_come_and_folded_when_it_answers():
    thinking = replies.reply_html("m", talk.Output(CHAIN + "<thinking>thr", 30, "writing", seconds=1.25))
    assert '<details class="thinking" open>' in thinking
    assert 'class="said' not in thinking
    answered = replies.reply_html(
        "m", talk.Output(f"{CHAIN}<answer>So \\boxed{{7}}</answer>", 40, "done", is_done=True)
    )
    assert '<details class="thinking"><summary>thinking · 2 thoughts</summary>' in answered
    assert '<div class="said text">So <math' in answered
    assert "40 tokens · 0.0 s · done" in answered
    assert "<details" not in replies.reply_html("m", talk.Output("just so", 3, "done", is_done=True))


def test_who_never_answers_is_said_to_have_not():
    html = replies.reply_html("m", talk.Output(CHAIN, 512, "the budget of 512 tokens is spent", is_done=True))
    assert "It has not answered: the budget of 512 tokens is spent." in html
    assert '<details class="thinking">' in html


def test_an_error_is_where_the_answer_would_be_and_names_no_directory(tmp_path):
    output = talk.Output(error=f"model {str(tmp_path)!r} cannot be loaded", note="failed", is_done=True)
    html = replies.reply_html(str(tmp_path), output)
    assert 'role="alert"' in html
    assert str(tmp_path.parent) not in html
    assert "It has not answered" not in html


def test_models_are_called_by_labels_of_their_own(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run / "sft").mkdir(parents=True)
    names = ["starter", str(tmp_path / "a" / "sft"), str(tmp_path / "b" / "sft"), "openai+http://host:1#tokenizer"]
    labels = replies.labels_of(names)
    assert list(labels) == ["starter", "sft", "sft (2)", "openai+http://host:1"]
    assert list(labels.values()) == names


def test_votes_are_bars_of_the_most_frequent_answers():
    assert replies.votes_html(Counter()) == ""
    html = replies.votes_html(Counter({"8": 3, r"\\frac{1}{2}": 1}))
    assert html.index("3 of 4") < html.index("1 of 4")
    assert "width:75.0%" in html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_conversations_stay_text(text):
    tree = Tree(Problem("q", "?", ""), "reflection")
    tree.nodes[tree.add(Node("answer", "answer", text, 0, reward=1.0, answer=text))].visit_count = 1
    outputs = [talk.Output(text, 3, text, is_done=True), talk.Output(f"<thinking>{text}", 3), talk.Output(error=text)]
    turns = [
        replies.Turn(text, [(text, output) for output in outputs]),
        replies.Turn(text, [(text, talk.Output())], talk.Found(tree, text, text)),
    ]
    for name, attributes in elements_of(replies.conversation_html(turns)):
        assert name not in ("script", "img", "a", "svg", "iframe")
        assert not {"href", "src", "onload", "onerror"} & attributes.keys()


def test_a_conversation_remembers_answers_without_their_thoughts():
    done = talk.Output(f"{CHAIN}<answer>7</answer>", is_done=True)
    turns = [replies.Turn("first", [("m", done), ("n", talk.Output("…"))]), replies.Turn("searched", [], talk.Found())]
    assert replies.messages_of(turns, 0) == [
        {"role": "user", "content": "first"}, {"role": "assistant", "content": "7"},
    ]  # fmt: skip
    assert replies.messages_of(turns, 1) == []


@pytest.mark.parametrize(
    ("example", "answer"),
    zip(talk_tab.EXAMPLES, ("{8}", "{4}", "{14}", "{pick up green, stack green on pink}"), strict=True),
)
def test_examples_come_out_right(example, answer):
    output, models = talk.Output(), talk.Models(["starter"])
    asyncio.run(talk.write_answer("starter", output, models, example, talk.Limits(tokens=256), 0.0, 0))
    assert answer in output.text


def test_the_failure_is_shown_beside_its_cure_where_a_run_has_both(tmp_path, monkeypatch):
    for name in ("sft", "joint"):
        (tmp_path / name).mkdir()
    outputs = {
        "blocks": {
            "sft": {"1": Output("no", "", "wrong"), "2": Output("P", "…", "no answer", "truncated")},
            "joint": {"1": Output("no", "", "right"), "2": Output("P", "", "right")},
        }
    }
    found = results.Results(tmp_path, [], Evaluated([], 1, {}, Steps("base", "sft", "joint")))
    monkeypatch.setattr(results.Results, "outputs", lambda _: outputs)
    monkeypatch.setattr(talk_tab, "read_results", lambda _: found)

    def example(*models):
        log = JudgementLog(tmp_path / "log")
        return talk_tab.failing_example(
            workspace.Workspace("", talk.Models([str(tmp_path / name) for name in models]), log, tmp_path, False)
        )

    assert example("sft", "joint") == talk_tab.Failing("P", ("sft", "joint"), 512)
    assert example("sft") is None
    outputs["blocks"]["joint"]["2"] = Output("P", "", "wrong")
    assert example("sft", "joint") is None
