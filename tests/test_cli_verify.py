import json

import pytest


ROWS = [
    {"problem_id": "right", "prompt": "?", "answer": "42", "completion": "<answer>\\boxed{42}</answer>"},
    {"problem_id": "outside", "prompt": "?", "answer": "42", "completion": "\\boxed{42} <answer>\\boxed{41}</answer>"},
    {"problem_id": "none", "prompt": "?", "answer": "42", "completion": "[red]I\u001b[31m give\u202e up"},
    {"prompt": "?", "answer": "3", "verifier": "letters", "completion": "The answer is: 3"},
]
NESTED = [{"problem": {"problem_id": "p", "prompt": "?", "answer": "1", "verifier": "math"}, "completion": "#### 1"}]


@pytest.fixture
def verify(run, tmp_path):
    """Runs `treecot verify` on some rows."""

    def verify(rows, *options):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return run("verify", "--file", path, *options)

    return verify


def test_verdicts_with_reasons(verify, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    result = verify(ROWS)
    assert result.returncode == 0
    assert "math: 1 right, 1 wrong, 1 no_answer" in result.stdout
    assert "letters: 1 right" in result.stdout
    assert "\x1b" not in result.stdout
    result = verify(ROWS, "--failures")
    assert result.returncode == 0
    assert "outside" in result.stdout
    assert "│ right" not in result.stdout


def test_json_and_nested_problems(verify):
    result = verify(NESTED, "--json")
    assert result.returncode == 0
    verdict = json.loads(result.stdout)
    assert verdict == {"problem_id": "p", "verifier": "math", "reward": 1.0, "answer": "1", "reason": "right"}


def test_a_verifier_that_fails_is_said_and_is_exit_code_1(verify):
    result = verify(ROWS[:1], "--json", "--verifier", "tests.verifiers_of_mine:crash")
    assert result.returncode == 1
    assert "ZeroDivisionError" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"prompt": "?", "answer": "1"}], (), "row 0 has no completion; it has prompt, answer"),
        ([{"completion": "1"}], (), "row 0 has no prompt, answer; it has completion"),
        (ROWS[:1], ("--verifier", "vibes"), "verifier 'vibes' cannot be loaded"),
        (ROWS[:1], ("--time_limit", "0"), "time_limit=0.0 is out of range"),
        ([], (), "the file is empty"),
        ([{**ROWS[0], "verifier": "cProfile:run"}], (), "row 0: verifier 'cProfile:run' is named by the data"),
        ([{"completion": "1", "problem": {"prompt": "?", "answer": "1", "verifier": "os:system"}}], (), "is named by"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(verify, rows, options, message):
    result = verify(rows, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_there(run):
    result = run("verify", "--file", "nowhere.jsonl")
    assert result.returncode == 2
    assert "'nowhere.jsonl' does not exist" in result.stderr
