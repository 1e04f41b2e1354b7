"""Traces that others wrote: read, cut into thoughts, verified, merged into trees, and imported by the command."""

import asyncio
import json
import time
from collections import Counter

import pytest

from hf_treecot.base import Problem, Verdict
from hf_treecot.cli import import_traces
from hf_treecot.cli.main import main
from hf_treecot.errors import InvalidInputError, UnverifiableError, VerifierError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import KINDS, available_patterns, load_pattern
from hf_treecot.mcts.tree import Tree
from hf_treecot.selection.formats import write_chain
from hf_treecot.selection.selector import SelectionConfig
from hf_treecot.traces.cutting import CutTrace, cut_thoughts, cut_trace
from hf_treecot.traces.growing import trace_pattern, tree_of_traces
from hf_treecot.traces.reading import TRACE_FORMATS, Traces, read_traces

from .test_formats import CHAIN


TRACE = """<think>
Okay, so I need to find 1 + 1. I write it down:

\\[1 + 1 = x\\]

First guess: x = 3. Wait, that can't be right. Let me check with fingers.

1. one
2. two

Alternatively, I could count.
It is 2. So 2.
</think>

**Answer.** The answer is \\boxed{2}."""


def test_a_trace_is_cut_at_blank_lines_and_turning_words():
    assert cut_trace(TRACE) == CutTrace(
        (
            ("sub_task", "Okay, so I need to find 1 + 1. I write it down:\n\n\\[1 + 1 = x\\]"),
            ("thinking", "First guess: x = 3."),
            ("reflection", "Wait, that can't be right."),
            ("double_check", "Let me check with fingers.\n\n1. one\n2. two"),
            ("hypothesis", "Alternatively, I could count.\nIt is 2. So 2."),
        ),
        "**Answer.** The answer is \\boxed{2}.",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<|begin_of_thought|>\n\nSo 2.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n\\boxed{2}\n\n"
         "<|end_of_solution|>", CutTrace((("thinking", "So 2."),), "\\boxed{2}")),
        ("So 2.\n</think>\\boxed{2}", CutTrace((("thinking", "So 2."),), "\\boxed{2}")),
        ("Hm.\n\nThe answer is 2.\n\nBye.", CutTrace((("reflection", "Hm."),), "The answer is 2.\n\nBye.")),
        ("\\boxed{2}", CutTrace((), "\\boxed{2}")),
        ("<think></think>\\boxed{2}", CutTrace((), "\\boxed{2}")),
        ("<think>a</think>b<think></think>2", CutTrace((("thinking", "a"), ("thinking", "b")), "2")),
        ("<think>So \\boxed{2}", "trace that never ends its thoughts"),
        ("<think>So \\boxed{2}</think>\n", "trace that says nothing after its thoughts"),
        ("I do not know.", "trace without an answer"),
        (" \n", "empty trace"),
        ("x" * 1_000_001, "trace longer than 1000000 characters"),
    ],
)  # fmt: skip
def test_how_traces_mark_their_thoughts(text, expected):
    assert cut_trace(text) == expected


def test_what_is_written_as_a_think_block_is_cut_into_the_same_thoughts():
    cut = cut_trace(write_chain(CHAIN, "think"))
    assert [kind for kind, _ in cut.thoughts] == [node.kind for node in CHAIN[:-1]]
    assert cut.answer == CHAIN[-1].text


def test_cutting_takes_time_linear_in_a_text():
    for text in ("Wait, " * 50_000, "\n \n" * 50_000, "a.\n" * 20_000, "Hmm. So " * 5_000, "<think>" * 50_000):
        started = time.process_time()
        assert isinstance(cut_thoughts(text), tuple)
        assert time.process_time() - started < 5


def test_tags_of_kinds_are_those_of_the_patterns():
    thoughts = trace_pattern().thoughts
    assert set(thoughts) == set(KINDS)
    for name in available_patterns():
        for kind, spec in load_pattern(name).thoughts.items():
            assert thoughts[kind].tag == spec.tag


def write_rows(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("row", "expected", "gold"),
    [
        ({"problem": "p", "answer": "2", "generations": ["a", "b"], "uuid": "u"}, ("a", "b"), "2"),
        ({"problem": "p", "ground_truth_solution": "So \\boxed{2}.", "deepseek_reasoning": "t",
          "deepseek_solution": "s"}, ("<think>\nt\n</think>\n\ns",), "2"),
        ({"question": "p", "solution": "2", "deepseek_thinking_trajectory": "t", "deepseek_attempt": "s"},
         ("<think>\nt\n</think>\n\ns",), "2"),
        ({"question": "p", "solution": "text", "answer": "2"}, ("text",), "2"),
        ({"prompt": "p", "answer": 2, "completion": [{"role": "assistant", "content": "a"}]}, ("a",), "2"),
        ({"prompt": [{"role": "user", "content": "p"}], "answer": "2", "completion": ["a", "a"]}, ("a",), "2"),
    ],
)  # fmt: skip
def test_rows_of_known_sets(tmp_path, row, expected, gold):
    (found,) = read_traces(write_rows(tmp_path / "rows.jsonl", row))
    assert (found.problem.prompt, found.problem.answer, found.problem.verifier) == ("p", gold, "math")
    assert found.problem.problem_id == row.get("uuid", "rows-0")
    assert found.texts == expected


def test_rows_about_one_problem_are_brought_together_and_what_is_left_out_is_counted(tmp_path):
    row = {"q": "1 + 1?", "gold": "2", "out": "a", "name": "x", "verifier": "letters"}
    path = write_rows(
        tmp_path / "rows.jsonl", row, {**row, "out": "b", "q": "1 +  1?"}, row, {**row, "gold": "3"},
        {**row, "q": "2?"}, {**row, "q": " "}, {**row, "gold": None},
    )  # fmt: skip
    columns = {"prompt": "q", "answer": "gold", "trace": "out", "problem_id": "name"}
    dropped = Counter()
    first, second = read_traces(path, columns=columns, dropped=dropped)
    assert (first.texts, second.texts) == (("a", "b"), ("a",))
    assert [found.problem.problem_id for found in (first, second)] == ["x", "x~2"]
    assert first.problem.verifier == "letters"
    assert dropped == {
        "trace that is there already": 1, "row whose problem has another answer in an earlier row": 1,
        "row without a problem": 1, "row without a gold answer": 1,
    }  # fmt: skip
    assert len(read_traces(path, columns=columns, limit=1)) == 1


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"a": "b"}, None, r"its columns \(a\) fit no known set of traces \(open_r1, .*name them"),
        ({"a": "b"}, {"prompt": "a"}, "must name the columns of prompt, answer and trace"),
        ({"a": "b"}, {"prompt": "a", "answer": "a", "trace": "c"}, r"no column 'c' \(it has a\)"),
        ({"prompt": "p", "answer": "2", "completion": "a", "verifier": "os:system"}, None, "row 0: .*runs code"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(tmp_path, row, columns, message):
    with pytest.raises(InvalidInputError, match=message):
        read_traces(write_rows(tmp_path / "rows.jsonl", row), columns=columns)
    assert all(how.required for how in TRACE_FORMATS.values())


async def verify(text, problem):
    """2 is right; some texts are too much for it."""
    if "crash" in text:
        raise UnverifiableError("it hung")
    if "broken" in text:
        raise VerifierError("no verifier")
    return Verdict(float("2" in text), text[-2:-1] if "boxed" in text else None, "right" if "2" in text else "wrong")


def grow(*texts, dropped=None):
    traces = Traces(Problem("p", "1 + 1? </answer>", "2"), texts)
    return asyncio.run(tree_of_traces(traces, verify, len, Counter() if dropped is None else dropped))


def test_traces_that_begin_alike_share_their_thoughts():
    dropped = Counter()
    tree = grow(
        "<think>I add.\n\nSo 2.</think>\\boxed{2}", "<think>I add.\n\nSo <answer> 3.</think>\\boxed{3}",
        "<think>I add.\n\nSo 2.</think>\\boxed{2} ", "<think>", "<think>a</think>crash", "<think>a</think>perhaps",
        dropped=dropped,
    )  # fmt: skip
    assert [(node.kind, node.text, node.parent) for node in tree.nodes[1:]] == [
        ("thinking", "I add.", 0), ("thinking", "So 2.", 1), ("answer", "\\boxed{2}", 2),
        ("thinking", "So < answer> 3.", 1), ("answer", "\\boxed{3}", 4),
    ]  # fmt: skip
    assert [tree.nodes[leaf].reward for leaf in tree.simulations] == [1.0, 0.0, 1.0]
    assert tree.nodes[1].value == pytest.approx(2 / 3)
    assert tree.nodes[1].tokens == len("I add.")
    assert "< /answer>" in tree.problem.prompt
    assert Tree.from_record(tree.to_record()) == tree
    assert dropped == {
        "trace that never ends its thoughts": 1, "trace on which the verifier failed": 1, "trace without an answer": 1,
    }  # fmt: skip
    assert grow("<think>") is None
    with pytest.raises(VerifierError, match="no verifier"):
        grow("<think>a</think>broken")


def test_the_command(tmp_path, tiny_model_directory, monkeypatch, capsys):
    rows = [
        {"problem": "1 + 1?", "answer": "2", "uuid": "a", "generations": [TRACE, TRACE.replace("{2}", "{3}")]},
        {"problem": "2 + 2?", "answer": "4", "uuid": "b", "generations": ["<think>never"]},
    ]
    monkeypatch.chdir(tmp_path)
    path = write_rows(tmp_path / "rows.jsonl", *rows)
    assert (
        main(["import", "--traces", path, "--tokenizer", tiny_model_directory, "--writer", "a/b", "--format", "think"])
        == 0
    )
    (tree,) = load_trees("runs/traces")
    assert (tree.tree_id, tree.provenance["generator_model"]) == ("a/trace/", "a/b")
    assert [tree.nodes[leaf].answer for leaf in tree.simulations] == ["2", "3"]
    report = json.loads((tmp_path / "runs" / "traces" / "report.json").read_text())
    assert report["rows"] == {"trees": 1, "sft": 1, "preference": 1}
    assert report["rejections"]["import: trace that never ends its thoughts"] == 1
    shown = capsys.readouterr().out
    assert "Thoughts: " in shown
    assert "import: trace that never ends its thoughts" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_rows": 0}, "num_rows=0 is out of range"),
        ({"columns": ["prompt"]}, "columns='prompt': write it as one of prompt=COLUMN"),
        ({"verifier": "maths"}, "verifier 'maths' cannot be loaded"),
        ({}, r"no trace can be taken \(1 x trace that never ends its thoughts\)"),
    ],
)
def test_bad_input_is_one_line(tmp_path, tiny_model_directory, changes, message):
    path = write_rows(tmp_path / "rows.jsonl", {"prompt": "p", "answer": "2", "completion": "<think>"})
    with pytest.raises(InvalidInputError, match=message):
        import_traces.import_traces(
            import_traces.ImportArguments(
                [path], tokenizer=tiny_model_directory, output_dir=str(tmp_path / "out"), **changes
            ),
            SelectionConfig(),
        )
