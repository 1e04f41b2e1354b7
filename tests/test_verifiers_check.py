import json

import pytest

from hf_treecot.cli.verify import main


ROWS = [
    {"problem_id": "right", "prompt": "?", "answer": "42", "completion": "<answer>\\boxed{42}</answer>"},
    {"problem_id": "outside", "prompt": "?", "answer": "42", "completion": "\\boxed{42} <answer>\\boxed{41}</answer>"},
    {"problem_id": "none", "prompt": "?", "answer": "42", "completion": "[red]I\u001b[31m give\u202e up"},
    {"prompt": "?", "answer": "3", "verifier": "letters", "completion": "The answer is: 3"},
]
NESTED = [{"problem": {"problem_id": "p", "prompt": "?", "answer": "1", "verifier": "math"}, "completion": "#### 1"}]


def run(tmp_path, rows, *options):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return main(["check", str(path), *options])


def test_verdicts_with_reasons(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert run(tmp_path, ROWS) == 0
    shown = capsys.readouterr().out
    assert "math: 1 right, 1 wrong, 1 no_answer" in shown
    assert "letters: 1 right" in shown
    assert "\x1b" not in shown
    assert run(tmp_path, ROWS, "--failures") == 0
    assert "outside" in (shown := capsys.readouterr().out)
    assert "│ right" not in shown


def test_json_and_nested_problems(tmp_path, capsys):
    assert run(tmp_path, NESTED, "--json") == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict == {"problem_id": "p", "verifier": "math", "reward": 1.0, "answer": "1", "reason": "right"}


def test_a_verifier_that_fails_is_said_and_is_exit_code_1(tmp_path, capsys):
    assert run(tmp_path, ROWS[:1], "--json", "--verifier", "tests.verifiers_of_mine:crash") == 1
    assert "ZeroDivisionError" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"prompt": "?", "answer": "1"}], (), "row 0 has no completion; it has prompt, answer"),
        ([{"completion": "1"}], (), "row 0 has no prompt, answer; it has completion"),
        (ROWS[:1], ("--verifier", "vibes"), "verifier 'vibes' cannot be loaded"),
        (ROWS[:1], ("--time_limit", "0"), "time_limit=0.0 is out of range"),
        ([], (), "the file is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, rows, options, message):
    assert run(tmp_path, rows, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_file_that_is_not_there(capsys):
    assert main(["check", "nowhere.jsonl"]) == 2
    assert "'nowhere.jsonl' does not exist" in capsys.readouterr().err
