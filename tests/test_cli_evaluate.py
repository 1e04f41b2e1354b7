"""`treecot evaluate`, as it is typed."""

import importlib
import json
import shutil

import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_treecot.engines.journal import Journal
from hf_treecot.engines.sampling_check import PROMPTS
from hf_treecot.files import fingerprint
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve


pytest.importorskip("lighteval")


def test_evaluate_from_the_command_line_and_again(run, tmp_path, tiny_model_directory):
    args = [
        "--models", tiny_model_directory, "--tasks", "letters", "--num_problems", 3, "--max_new_tokens", 12,
        "--decoding", "greedy", "sample", "mcts", "--k", 2, "--output_dir", "out",
    ]  # fmt: skip
    first = run("evaluate", *args)
    assert first.returncode == 0, first.stderr
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["decoding"] for row in rows] == ["greedy", "sample", "mcts"]
    assert all((row["task"], row["count"]) == ("letters", 3) for row in rows)
    assert rows[1]["tokens"] == rows[2]["tokens"]  # a search may spend what the samples took
    assert rows[1]["test@2_low"] <= rows[1]["test@2"] <= rows[1]["test@2_high"]
    assert 0 < rows[1]["p_value"] <= 1
    (path,) = (tmp_path / "out" / "results").rglob("sample/results_*.json")
    results = json.loads(path.read_text())
    assert results["results"]["treecot:letters|0"]["accuracy"] == rows[1]["accuracy"]
    assert results["config_general"]["model_config"]["num_samples"] == 2
    assert len(list((tmp_path / "out" / "details").rglob("details_treecot:letters|0_*.parquet"))) == 3
    assert (tmp_path / "out" / "plot.png").stat().st_size > 10_000
    assert rows[0]["reliability"] == {}  # one output: nothing to agree with
    if rows[1]["reliability"]:
        assert (tmp_path / "out" / "calibration.md").read_text().count("| sample |") == 2  # agreement, log-probability
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == 5
    # The second run asks nothing of the model and finds the same.
    monitored = Journal(tmp_path / "out" / "journal.sqlite")
    keys = monitored.keys()
    again = run("evaluate", *args)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == rows
    assert monitored.keys() == keys
    monitored.close()


def asked_for_answers(app):
    """Requests but those by which a server is tried at the start."""
    return [
        request
        for request in app.state.requests
        if request.max_new_tokens > 1 and not any(prompt in request.prompt for prompt in PROMPTS)
    ]


@pytest.mark.parametrize("kind", ["openai", "tgi"])
def test_evaluate_models_on_servers(kind, run, tmp_path):
    """By search too; and again, which asks the server for no completion."""
    server = importlib.import_module(f"hf_treecot.testing.{kind}")
    backend = ScriptedBackend()
    backend.tokenizer.save_pretrained(tmp_path / "tokenizer")
    with serve(app := server.make_app(backend)) as url:
        args = [
            "--models", f"{kind}+{url}#tokenizer", "--tasks", "letters", "--num_problems", 4, "--max_new_tokens", 32,
            "--decoding", "greedy", "sample", "mcts", "--k", 2, "--output_dir", "out",
        ]  # fmt: skip
        first = run("evaluate", *args)
        assert first.returncode == 0, first.stderr
        rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        assert {row["model"] for row in rows} == {f"{kind}-{url[7:].replace(':', '-')}"}
        assert [(row["decoding"], row["count"]) for row in rows] == [("greedy", 4), ("sample", 4), ("mcts", 4)]
        assert rows[1]["tokens"] == rows[2]["tokens"] > 0
        asked = asked_for_answers(app)
        assert len(asked) > 12
        again = run("evaluate", *args)
        assert again.returncode == 0, again.stderr
        assert asked_for_answers(app) == asked
        assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == rows


def test_evaluate_with_a_value_model(run, tmp_path, tiny_model_directory):
    model = AutoModelForTokenClassification.from_pretrained(tiny_model_directory, num_labels=1)
    model.save_pretrained(tmp_path / "value")
    AutoTokenizer.from_pretrained(tiny_model_directory).save_pretrained(tmp_path / "value")
    result = run(
        "evaluate", "--models", tiny_model_directory, "--tasks", "letters", "--num_problems", 2, "--k", 2,
        "--max_new_tokens", 12, "--decoding", "sample", "mcts", "--output_dir", "out", "--answer_vote", "value",
        "--search_reward", "value", "--value_model", "value",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for decoding in ("sample", "mcts"):
        (path,) = (tmp_path / "out" / "results").rglob(f"{decoding}/results_*.json")
        config = json.loads(path.read_text())["config_general"]["model_config"]
        assert (config["voted_by"], config["value_model"]) == ("value", "value")
        assert config["value_revision"] == fingerprint(tmp_path / "value")


def test_evaluate_against_budgets(run, tmp_path, tiny_model_directory):
    args = [
        "--models", tiny_model_directory, "--problems", "letters", "--easy_and_hard", "true", "--num_problems", 2,
        "--max_new_tokens", 12, "--budgets", 4, 8, "--decoding", "greedy", "mcts", "--output_dir", "out", "--k", 1,
    ]  # fmt: skip
    result = run("evaluate", *args)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["task"] for row in rows] == ["letters-easy", "letters-hard"] * 2
    assert rows[0]["cut@4"] >= rows[0]["cut@8"]
    assert 4 <= rows[0]["tokens@4"]
    assert "accuracy@4" not in rows[2]  # a search has a budget of its own
    text = (tmp_path / "out" / "budgets.md").read_text()
    assert text.count("| accuracy |") == 2
    assert "F1 of thrift and accuracy" in text
    assert (tmp_path / "out" / "budgets.png").stat().st_size > 10_000


def test_evaluate_problems_of_ones_own(run, tmp_path, tiny_model_directory):
    (tmp_path / "mine.jsonl").write_text('{"prompt": "What is 6 times 7?", "answer": "42"}\n' * 2)
    args = ["--models", tiny_model_directory, "--max_new_tokens", 4, "--output_dir", "out", "--output", "f.json"]
    result = run("evaluate", *args, "--problems", "mine.jsonl")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "f.json").read_text())
    assert (row["task"], row["count"], row["accuracy"]) == ("mine", 2, 0.0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--tasks", "gsm9k"], "task 'gsm9k' is unknown: use some of gsm8k"),
        (["--tasks", "gsm8k", "--data", "nowhere"], "task 'gsm8k': the dataset 'nowhere/gsm8k' cannot be loaded"),
        (["--tasks", "gsm8k", "--data", "bad"], "task 'treecot:gsm8k': the gold answer of row 0 cannot be read"),
        (["--k", "0", "--decoding", "sample"], "k=0 is out of range"),
        (["--k", "64"], "k=64 is out of range: it must be from 1 to 32"),
        (["--decoding", "beam"], "decoding='beam' is unknown: use one of greedy, sample, mcts"),
        (["--decoding", "mcts", "--pattern", "socratic"], "pattern 'socratic' does not exist"),
        (["--decoding", "mcts", "--search_reward", "best"], "search_reward='best' cannot be loaded"),
        (["--decoding", "mcts", "--token_budget", "0"], "token_budget=0 is out of range"),
        (["--decoding", "mcts", "--search_reward", "value"], "search_reward='value' needs a value_model"),
        (["--decoding", "sample", "--answer_vote", "value"], "answer_vote='value' needs a value_model for samples"),
        (["--value_model", "mine"], "value_model would not be used: set answer_vote or search_reward to value"),
        (["--value_model", "mine", "--answer_vote", "value"], "would not be used: set decoding to sample or mcts"),
        (
            ["--decoding", "mcts", "--value_model", "untemplated", "--answer_vote", "value"],
            "value_model='untemplated' is no value model",
        ),
        (["--num_problems", "0"], "num_problems=0 is out of range"),
        (["--models", "no/such/model"], "model 'no/such/model' cannot be loaded"),
        (["--models", "untemplated"], "has no chat template"),
        (["--models", "tgi+http://h:1#a", "tgi+http://h:1#b"], "results could not tell them apart; leave one out"),
        (["--models", "tgi+http://h:1", "openai+http://i:1"], "models are on several hosts (h:1, i:1)"),
        (["--models", "tgi+http://h:1", "--revision", "v2"], "revision='v2' cannot be asked of servers"),
        (["--problems", "twice.jsonl"], "problem_id='p' is used twice"),
        (
            ["--models", "tgi+localhost:8080"],
            "server 'localhost:8080' is not a base URL: write it as http://host:port",
        ),
        (["--output_dir", "file"], "output_dir='file' cannot be made"),
        (["--prompt", "none"], "prompt='none' is unknown"),
        (["--budgets", "64", "32"], "budgets=64 32: they must increase, from 0 or more"),
        (["--budgets", "64", "1024"], "budgets=64 1024: outputs have at most 512 tokens: leave out"),
        (["--budgets", "4", "8000", "--max_new_tokens", "8000"], "budgets=4 8000: the last is beyond the context of"),
        (["--easy_and_hard", "true"], "easy_and_hard=true measures against budgets"),
        (["--easy_and_hard", "true", "--budgets", "4"], "easy_and_hard=true is for problems that are made for it"),
        (
            ["--easy_and_hard", "true", "--budgets", "4", "--problems", "blocksworld"],
            "'blocksworld' has no easy and hard parts: give some of letters, arithmetic, blocks as problems",
        ),
    ],
)
def test_bad_input_of_evaluate(run, tmp_path, args, message, tiny_model_directory, monkeypatch):
    monkeypatch.setenv("TREECOT_SERVER_TOKEN", "secret")
    (tmp_path / "twice.jsonl").write_text(
        '{"problem_id": "p", "prompt": "?", "answer": "1", "verifier": "math"}\n' * 2
    )
    (tmp_path / "file").touch()
    (tmp_path / "bad" / "gsm8k").mkdir(parents=True)
    (tmp_path / "bad" / "gsm8k" / "test.jsonl").write_text('{"question": "?", "answer": "42"}\n')
    if "untemplated" in args:
        shutil.copytree(tiny_model_directory, tmp_path / "untemplated")
        (tmp_path / "untemplated" / "chat_template.jinja").unlink()
    limit = [] if "twice.jsonl" in args else ["--num_problems", "1"]
    result = run("evaluate", "--tasks", "letters", *limit, "--output_dir", "out", *args)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr.strip().splitlines()[-1]
