import asyncio
import json

import pytest

from hf_treecot.building.builder import BuildReport
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.reports.build_summary import print_report
from hf_treecot.reports.page import write_report
from hf_treecot.reports.tree_picture import draw_tree

from .test_builder import small_build
from .worlds import PROBLEM


@pytest.fixture
def run(tmp_path):
    asyncio.run(small_build(tmp_path / "run"))
    return tmp_path / "run"


def test_a_run_of_trees_alone(run):
    text = write_report(run).read_text()
    report = json.loads((run / "report.json").read_text())
    assert f"| trees | {report['trees']} |" in text
    assert (run / "report" / "chains.png").read_bytes().startswith(b"\x89PNG")
    assert text.count("```text\n") == 3  # a problem, a right and a wrong chain
    assert "## Training" not in text
    assert "## Before and after" not in text


def test_all_stages(run):
    for stage, log in {
        "sft": [{"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0, "answers/no_answer_rate": 0.25}],
        "joint": [{"step": 1, "sft_loss": 0.5, "rewards/accuracies": 0.75}],
    }.items():
        (run / stage).mkdir()
        (run / stage / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    (run / "evaluation").mkdir()
    (run / "evaluation" / "table.md").write_text("| model | accuracy |\n| --- | --- |\n| a | 50.0 |\n")
    text = write_report(run).read_text()
    assert "| sft | loss | 2.000 | 1.000 |" in text
    assert "| sft | answers/no\\_answer\\_rate | 0.250 | 0.250 |" in text
    assert "| joint | rewards/accuracies | 0.750 | 0.750 |" in text
    assert "| a | 50.0 |" in text
    assert f'--models {run}/sft {run}/joint"' in text
    assert f"treecot select --trees {run} --tokenizer {run}/sft " in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (run / line.rpartition("(")[2].rstrip(")")).stat().st_size > 5_000


def test_what_is_no_run(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read .*: give the directory of a finished build"):
        write_report(tmp_path)
    (tmp_path / "report.json").write_text('{"trees": 1')
    with pytest.raises(InvalidInputError, match="report.json cannot be read"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("report.json", "[1]", "it is no JSON object"),
        ("report.json", '{"failures": 5}', "failures is 5"),
        ("joint/trainer_state.json", "{}", "has no log_history"),
        ("joint/trainer_state.json", '{"log_history": [5]}', "has no log_history"),
    ],
)
def test_files_that_others_wrote_into_a_run_are_named(run, name, content, message, tmp_path):
    (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        write_report(tmp_path / "run")


def chain_of(thoughts, kind="thinking"):
    tree, parent = Tree(PROBLEM, "reflection"), 0
    for number in range(thoughts):
        parent = tree.add(Node(kind, kind, f"Thought {number}.", parent))
    tree.add(Node("answer", "answer", "42", parent, reward=1.0))
    return tree


def test_a_tree_is_drawn_whatever_its_kinds(tmp_path):
    draw_tree(chain_of(5, kind="a kind of another version"), tmp_path / "tree.png")
    assert (tmp_path / "tree.png").stat().st_size > 5_000


def test_a_chain_of_5000_thoughts_is_refused_at_once(tmp_path):
    with pytest.raises(InvalidInputError, match="5002 thoughts, 5002 deep, are too many for a picture"):
        draw_tree(chain_of(5000), tmp_path / "tree.png")
    assert not (tmp_path / "tree.png").exists()


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ({"trees": 3, "sft": 2, "preference": 1}, "'preference')['train'][0]"),
        ({"trees": 3, "sft": 2, "preference": 0}, "'sft')['train'][0]"),
        ({"trees": 3, "sft": 0, "preference": 0}, "'trees')['train'][0]"),
        ({"trees": 0, "sft": 0, "preference": 0}, "is empty"),
    ],
)
def test_a_dataset_is_shown_by_rows_that_it_has(rows, shown, capsys, tmp_path):
    print_report(BuildReport(rows=rows, failures={"p": "x" * 10_000}), tmp_path)
    text = capsys.readouterr().out
    assert shown in text
    assert ("[0]" in text) is (rows["trees"] > 0)
    assert max(map(len, text.splitlines())) < 500
