import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hf_treecot import recipe
from hf_treecot.dataset import load_trees


ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "recipes"))
import build_trees  # noqa: E402
import draw_tree  # noqa: E402
import train_starter  # noqa: E402


RECIPES = {"build_trees": build_trees, "draw_tree": draw_tree, "train_starter": train_starter}


def run(name, *args, cwd=None):
    return subprocess.run(
        [sys.executable, str(ROOT / "recipes" / f"{name}.py"), *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.mark.parametrize("name", RECIPES)
def test_help_explains_every_argument(name):
    result = run(name, "--help")
    assert result.returncode == 0
    assert RECIPES[name].__doc__.split("\n")[0] in result.stdout
    for field in RECIPES[name].Arguments.__dataclass_fields__.values():
        assert f"--{field.name}" in result.stdout
        assert field.metadata["help"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_config_is_read_by_the_real_dataclass(path):
    arguments = recipe.parse(build_trees.Arguments, "", ["--config", str(path)])
    for key, value in yaml.safe_load(path.read_text()).items():
        assert getattr(arguments, key) == value


def test_the_command_line_overrides_the_config():
    config = str(ROOT / "recipes" / "config" / "demo.yaml")
    arguments = recipe.parse(build_trees.Arguments, "", ["--config", config, "--temperature", "0.1"])
    assert arguments.temperature == 0.1
    assert arguments.problems == ["letters", "arithmetic"]


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
        (["--num_problems", "0"], "limit=0 is out of range"),
        (["--trees_in_flight", "0"], "trees_in_flight=0 is out of range"),
        (["--sft", "best"], "sft='best' is unknown: use one of longest"),
        (["--temperature", "hot"], "invalid float value: 'hot'"),
        (["--tempreature", "1"], "--tempreature"),
        (["--config", "missing.yaml"], "config 'missing.yaml' does not exist"),
        (["--config", "unknown.yaml"], "num_simulatons"),
        (["--config", "broken.yaml"], "broken.yaml"),
        (["--model", "no/such/model"], "model 'no/such/model' cannot be loaded"),
        (["--output_dir", "other", "--model", "MODEL"], "is not empty and holds no run of ours"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(tmp_path, args, message, tiny_model_directory):
    (tmp_path / EMPTY).touch()
    (tmp_path / "good.jsonl").write_text(json.dumps({"prompt": "1?", "answer": "1"}))
    (tmp_path / "unknown.yaml").write_text("num_simulatons: 3")
    (tmp_path / "broken.yaml").write_text("a: [b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    args = [tiny_model_directory if a == "MODEL" else a for a in args]
    result = run("build_trees", *args, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before  # nothing was written


@pytest.fixture(scope="session")
def tiny_model_directory(tmp_path_factory):
    """A model that is too small to be right, trained for a moment."""
    from hf_treecot.starter.training import StarterRecipe, train_starter

    path = tmp_path_factory.mktemp("models") / "tiny"
    train_starter(
        StarterRecipe(num_steps=2, num_drill_steps=1, batch_size=2, hidden_size=16, num_heads=2, intermediate_size=16),
        path,
    )
    return str(path)


def test_build_and_draw_from_the_command_line(tmp_path, tiny_model_directory):
    args = [
        "--model", tiny_model_directory, "--problems", "letters", "--num_problems", "3", "--output_dir", "run",
        "--num_simulations", "2", "--min_right", "1", "--max_right", "1", "--max_new_tokens", "8", "--max_depth", "4",
    ]  # fmt: skip
    result = run("build_trees", *args, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "rows: trees / sft / preference" in result.stdout
    assert "run/dataset" in result.stdout
    assert [tree.problem.problem_id for tree in load_trees(tmp_path / "run")] == [f"letters-0-{i}" for i in range(3)]
    again = run("build_trees", *args, cwd=tmp_path)
    assert "0 / 0" in next(line for line in again.stdout.splitlines() if "from the journal" in line)
    refused = run("build_trees", *args, "--seed", "1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "holds a run with another configuration" in refused.stderr
    drawn = run("draw_tree", "--run", "run", "--problem", "letters-0-1", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "run" / "tree.png").read_bytes().startswith(b"\x89PNG")
    assert run("draw_tree", "--run", "run", "--problem", "nothing", cwd=tmp_path).returncode == 2


def test_the_commands_of_the_readmes_are_read_by_the_real_dataclass():
    texts = [(ROOT / name).read_text() for name in ("README.md", "recipes/config/README.md")]
    commands = [
        line.partition("build_trees.py ")[2].split("#")[0].split()
        for line in "\n".join(texts).replace("\\\n", " ").splitlines()
        if line.startswith("python recipes/build_trees.py ")
    ]
    assert len(commands) >= 5
    for command in commands:
        if "mine.yaml" not in command:  # the reader's own
            recipe.parse(
                build_trees.Arguments, "", [str(ROOT / c) if c.startswith("recipes/") else c for c in command]
            )
