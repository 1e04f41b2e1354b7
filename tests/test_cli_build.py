"""`treecot build`, `draw` and `select`, as they are typed."""

import json

import pytest
import yaml
from datasets import load_dataset

from hf_treecot.cli.build import BuildSettings
from hf_treecot.cli.packaged import CONFIGS
from hf_treecot.cli.parser import parse
from hf_treecot.hub.dataset import load_trees


def settings(*args):
    return BuildSettings(*parse("build", BuildSettings.kinds(), "", list(args)))


def held(settings, name):
    (group,) = (group for group in settings if hasattr(group, name))
    return getattr(group, name)


@pytest.mark.parametrize("path", sorted((CONFIGS / "build").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_is_read_by_the_real_dataclasses(path):
    read = settings("--config", path.stem)
    for key, value in yaml.safe_load(path.read_text()).items():
        assert held(read, key) == value


def test_the_command_line_overrides_the_config():
    read = settings("--config", "demo", "--temperature", "0.1")
    assert read.search.temperature == 0.1
    assert read.problems.problems == ["letters", "arithmetic", "blocks"]


def test_a_lone_string_in_yaml_is_a_list_of_one(tmp_path):
    (tmp_path / "mine.yaml").write_text("problems: letters\ntemperature: 1\ncritic_model: null\n")
    read = settings("--config", str(tmp_path / "mine.yaml"))
    assert read.problems.problems == ["letters"]
    assert read.search.temperature == 1


EMPTY = "empty.jsonl"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--problems", "missing.jsonl"], "problems 'missing.jsonl': no such file, directory or generator"),
        (["--problems", EMPTY], "the file is empty; give a file with at least one problem"),
        (["--problems", "good.jsonl", "--columns", "prompt=text", "answer=answer"], "there is no column 'text'"),
        (["--problems", "good.jsonl", "--columns", "prompt"], "columns='prompt': write it as prompt=COLUMN"),
        (["--patterns", "socratic"], "pattern 'socratic' does not exist: use one of double_check"),
        (["--num_simulations", "0"], "num_simulations=0 is out of range: it must be at least 1"),
        (["--max_new_tokens", "-5"], "max_new_tokens=-5 is out of range"),
        (["--num_problems", "0"], "num_problems=0 is out of range"),
        (["--trees_in_flight", "0"], "trees_in_flight=0 is out of range"),
        (["--sft", "best"], "sft='best' is unknown: use one of longest"),
        (["--preference", "one"], "preference='one' is unknown: use one of one_per_tree"),
        (["--min_pass_rate", "2"], "min_pass_rate=2.0 is out of range: it must be from 0 to 1"),
        (["--min_first_success", "0"], "min_first_success=0 is out of range: it must be at least 1"),
        (["--min_pass_rate", "1", "--max_pass_rate", "0"], "min_pass_rate=1.0 leaves nothing: it must be at most"),
        (["--temperature", "hot"], "invalid float value: 'hot'"),
        (["--tempreature", "1"], "--tempreature"),
        (["--num_problem", "1"], "--num_problem"),
        (["--config", "missing.yaml"], "config='missing.yaml' is neither a file nor a packaged configuration"),
        (["--config", "dmo"], "the nearest are demo"),
        (["--config", "unknown.yaml"], "num_simulatons"),
        (["--config", "broken.yaml"], "broken.yaml"),
        (["--config", "."], "config='.' is neither a file"),
        (["--config"], "--config needs the path of a YAML file"),
        (["--config", "types.yaml"], "max_depth=[4] in the YAML file: it must be int"),
        (["--problems"], "problems"),
        (["--patterns", "reflection", "reflection", "--model", "MODEL"], "give at least one, and each a name of its"),
        (["--max_batch_size", "0", "--model", "MODEL"], "max_batch_size=0 is out of range"),
        (["--replicas", "0"], "replicas=0 is out of range"),
        (["--replicas", "2", "--engine", "tgi", "--servers", "http://x:1"], "for servers give several URLs"),
        (["--verifier_time_limit", "0"], "time_limit=0.0 is out of range"),
        (["--dtype", "float23", "--model", "MODEL"], "dtype='float23' is unknown"),
        (["--problems", "good.jsonl", "--verifier", ":f"], "verifier ':f' cannot be loaded"),
        (["--problems", "good.jsonl", "--verifier", "os:name"], "verifier 'os:name' cannot be loaded"),
        (
            ["--problems", "good.jsonl", "--columns", "prompt=prompt", "answer=answer", "problem_id=n"],
            "column 'n' for",
        ),
        (["--problems", "letters", "--verifier", "math"], "verifier='math' says how the rows of a file"),
        (["--output_dir", "good.jsonl"], "output_dir='good.jsonl' is a file"),
        (["--output_dir", "good.jsonl/run"], "output_dir='good.jsonl/run' cannot be written in"),
        (["--model", "no/such/model"], "model 'no/such/model' cannot be loaded"),
        (["--output_dir", "other", "--model", "MODEL"], "is not empty and holds no run of ours"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(run, tmp_path, args, message, tiny_model_directory):
    (tmp_path / EMPTY).touch()
    (tmp_path / "good.jsonl").write_text(json.dumps({"prompt": "1?", "answer": "1"}))
    (tmp_path / "unknown.yaml").write_text("num_simulatons: 3")
    (tmp_path / "broken.yaml").write_text("a: [b")
    (tmp_path / "types.yaml").write_text("max_depth: [4]")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    args = [tiny_model_directory if a == "MODEL" else a for a in args]
    result = run("build", *args)
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
    assert sorted(tmp_path.rglob("*")) == before  # nothing was written


def test_build_and_draw_from_the_command_line(run, tmp_path, tiny_model_directory):
    args = [
        "--model", tiny_model_directory, "--problems", "letters", "--num_problems", "3", "--output_dir", "run",
        "--num_simulations", "2", "--min_right", "1", "--max_right", "1", "--max_new_tokens", "8", "--max_depth", "4",
    ]  # fmt: skip
    result = run("build", *args)
    assert result.returncode == 0, result.stderr
    assert "rows: trees / sft / preference" in result.stdout
    assert "run/dataset" in result.stdout
    assert [tree.problem.problem_id for tree in load_trees(tmp_path / "run")] == [f"letters-0-{i}" for i in range(3)]
    again = run("build", *args)
    assert "0 / 0" in next(line for line in again.stdout.splitlines() if "from the journal" in line)
    refused = run("build", *args, "--seed", "1")
    assert refused.returncode == 2
    assert "holds a run with another configuration" in refused.stderr
    drawn = run("draw", "--run", "run", "--problem", "letters-0-1")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "run" / "tree.png").read_bytes().startswith(b"\x89PNG")
    for bad in (["--problem", "nothing"], ["--output", "tree.foo"], ["--output", "missing/tree.png"]):
        refused = run("draw", "--run", "run", *bad)
        assert refused.returncode == 2
        assert bad[1] in refused.stderr


def test_select_other_rows_from_the_command_line(run, tmp_path, tiny_model_directory, dataset):
    def select(output_dir, *args):
        return run(
            "select", "--trees", dataset, "--tokenizer", tiny_model_directory, "--output_dir", output_dir, *args
        )

    for sft, preference in (("by_difficulty", "one_per_branching"), ("pruned", "all")):
        result = select(
            sft, "--sft", sft, "--preference", preference, "--min_first_success", "2", "--min_pass_rate", "0.1"
        )
        assert result.returncode == 0, result.stderr
        report = json.loads((tmp_path / sft / "report.json").read_text())
        assert (report["selection"]["sft"], report["selection"]["preference"]) == (sft, preference)
        for config in ("sft", "preference"):
            rows = load_dataset(str(tmp_path / sft / "dataset"), config, split="train")
            assert len(rows) == report["rows"][config] > 0
            assert min(rows["first_success"]) >= 2
            assert min(rows["pass_rate"]) >= 0.1
        assert report["rejections"]["sft: tree below min_first_success"] > 0
    for form, opening in (("think", "<think>\n"), ("plain", "Firstly")):
        assert select(form, "--format", form).returncode == 0
        rows = load_dataset(str(tmp_path / form / "dataset"), "sft", split="train")
        assert all(row["completion"][0]["content"].startswith(opening) for row in rows)
        assert json.loads((tmp_path / form / "report.json").read_text())["selection"]["format"] == form
    refused = select("none", "--max_pass_rate", "1.5")
    assert refused.returncode == 2
    assert refused.stderr.strip() == "error: max_pass_rate=1.5 is out of range: it must be from 0 to 1"
