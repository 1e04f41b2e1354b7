import asyncio
import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from trl import ModelConfig

from hf_treecot.cli import parser as recipe
from hf_treecot.cli.training import ScriptArguments
from hf_treecot.engines.journal import Journal
from hf_treecot.hub.dataset import load_trees
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve
from hf_treecot.trainers import CDPOConfig, JointSFTDPOConfig, MaskedThoughtConfig

from .test_builder import small_build


ROOT = Path(__file__).parents[1]
RECIPES = {}
for name in ("build_trees", "draw_tree", "evaluate", "publish", "report", "select_rows", "train_starter"):
    # Not by its bare name: a library that lighteval imports is called `evaluate`, too.
    specification = importlib.util.spec_from_file_location(f"recipe_{name}", ROOT / "recipes" / f"{name}.py")
    RECIPES[name] = sys.modules[specification.name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(RECIPES[name])
build_trees = RECIPES["build_trees"]


needs_lighteval = pytest.mark.skipif(not importlib.util.find_spec("lighteval"), reason="lighteval is not installed")


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a recipe as a script, in this process: importing torch anew for each would take minutes."""

    def run(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, args)])
        capsys.readouterr()
        try:
            runpy.run_path(str(ROOT / "recipes" / f"{name}.py"), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return Result(code, *capsys.readouterr())

    return run


def test_a_recipe_is_a_script():
    script = str(ROOT / "recipes" / "build_trees.py")
    result = subprocess.run([sys.executable, script, "--num_problems", "0"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip() == "error: limit=0 is out of range: ask for at least 1 problem"


@pytest.mark.parametrize("name", RECIPES)
def test_help_explains_every_argument(name, run):
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
    assert arguments.problems == ["letters", "arithmetic", "blocks"]


TRAINING = {"sft": MaskedThoughtConfig, "cdpo": CDPOConfig, "joint_sft_dpo": JointSFTDPOConfig}
TRAINING_CONFIGS = [path for name in TRAINING for path in sorted((ROOT / "recipes" / "config" / name).glob("*.yaml"))]


@pytest.mark.parametrize("path", TRAINING_CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_training_config_is_read_by_the_real_dataclasses(path, monkeypatch, tmp_path):
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    monkeypatch.setattr("transformers.training_args.is_torch_tf32_available", lambda: False)
    kinds = (ScriptArguments, TRAINING[path.parent.name], ModelConfig)
    parsed = recipe.parse(kinds, "", ["--config", str(path)])
    for key, value in yaml.safe_load(path.read_text()).items():
        (holder,) = (p for p in parsed if hasattr(p, key) and key in type(p).__dataclass_fields__)
        held = getattr(holder, key)
        assert held == value or (key == "report_to" and held in ([value], [])) or (key == "output_dir")


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
        (["--preference", "one"], "preference='one' is unknown: use one of one_per_tree"),
        (["--min_pass_rate", "2"], "min_pass_rate=2.0 is out of range: it must be from 0 to 1"),
        (["--min_first_success", "0"], "min_first_success=0 is out of range: it must be at least 1"),
        (["--min_pass_rate", "1", "--max_pass_rate", "0"], "min_pass_rate=1.0 leaves nothing: it must be at most"),
        (["--temperature", "hot"], "invalid float value: 'hot'"),
        (["--tempreature", "1"], "--tempreature"),
        (["--config", "missing.yaml"], "config 'missing.yaml' cannot be read (No such file"),
        (["--config", "unknown.yaml"], "num_simulatons"),
        (["--config", "broken.yaml"], "broken.yaml"),
        (["--config", "."], "config '.' cannot be read (Is a directory)"),
        (["--config"], "--config needs the path of a YAML file"),
        (["--config", "types.yaml"], "max_depth=[4] in the YAML file: it must be int"),
        (["--problems"], "problems"),
        (["--patterns", "reflection", "reflection", "--model", "MODEL"], "give at least one, and each a name of its"),
        (["--max_batch_size", "0", "--model", "MODEL"], "max_batch_size=0 is out of range"),
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
    result = run("build_trees", *args)
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
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


def test_build_and_draw_from_the_command_line(run, tmp_path, tiny_model_directory):
    args = [
        "--model", tiny_model_directory, "--problems", "letters", "--num_problems", "3", "--output_dir", "run",
        "--num_simulations", "2", "--min_right", "1", "--max_right", "1", "--max_new_tokens", "8", "--max_depth", "4",
    ]  # fmt: skip
    result = run("build_trees", *args)
    assert result.returncode == 0, result.stderr
    assert "rows: trees / sft / preference" in result.stdout
    assert "run/dataset" in result.stdout
    assert [tree.problem.problem_id for tree in load_trees(tmp_path / "run")] == [f"letters-0-{i}" for i in range(3)]
    again = run("build_trees", *args)
    assert "0 / 0" in next(line for line in again.stdout.splitlines() if "from the journal" in line)
    refused = run("build_trees", *args, "--seed", "1")
    assert refused.returncode == 2
    assert "holds a run with another configuration" in refused.stderr
    drawn = run("draw_tree", "--run", "run", "--problem", "letters-0-1")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "run" / "tree.png").read_bytes().startswith(b"\x89PNG")
    for bad in (["--problem", "nothing"], ["--output", "tree.foo"], ["--output", "missing/tree.png"]):
        refused = run("draw_tree", "--run", "run", *bad)
        assert refused.returncode == 2
        assert bad[1] in refused.stderr


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A dataset of trees that a scripted engine wrote."""
    path = tmp_path_factory.mktemp("trees") / "run"
    asyncio.run(small_build(path))
    return str(path / "dataset")


def test_select_other_rows_from_the_command_line(run, tmp_path, tiny_model_directory, dataset):
    def select(output_dir, *args):
        return run(
            "select_rows", "--trees", dataset, "--tokenizer", tiny_model_directory, "--output_dir", output_dir, *args
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
    refused = select("none", "--max_pass_rate", "1.5")
    assert refused.returncode == 2
    assert refused.stderr.strip() == "error: max_pass_rate=1.5 is out of range: it must be from 0 to 1"


@pytest.fixture
def train(run, dataset):
    """Trains by a recipe with its configuration for the starter model, for a moment."""

    def train(name, model, *more, config=None):
        return run(
            name, "--config", config or ROOT / "recipes" / "config" / name / "starter.yaml", "--dataset", dataset,
            "--model_name_or_path", model, "--output_dir", name, "--num_watched", 2, "--watch_max_new_tokens", 4,
            "--max_steps", 2, "--logging_steps", 1, *more,
        )  # fmt: skip

    return train


def test_train_in_stages_from_the_command_line(train, tmp_path, tiny_model_directory):
    sft = train("sft", tiny_model_directory)
    assert sft.returncode == 0, sft.stderr
    joint = train("joint_sft_dpo", "sft", "--report_to", "tensorboard")
    assert joint.returncode == 0, joint.stderr
    card = (tmp_path / "joint_sft_dpo" / "README.md").read_text()
    assert "2503.01461" in card
    assert "answers/no_answer_rate" in card
    state = json.loads((tmp_path / "joint_sft_dpo" / "trainer_state.json").read_text())
    logged = {key for log in state["log_history"] for key in log}
    assert {"sft_loss", "packing_ratio", "answers/accuracy"} <= logged
    again = train("joint_sft_dpo", "sft", "--max_steps", 3)
    assert again.returncode == 0, again.stderr
    state = json.loads((tmp_path / "joint_sft_dpo" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "sft_loss" in log] == [1, 2, 3]  # it went on from 2
    cdpo = train("cdpo", "sft")
    assert cdpo.returncode == 0, cdpo.stderr
    # What is there is not taken for what would come of another start, or of other rows.
    refused = train("joint_sft_dpo", tiny_model_directory)
    assert refused.returncode == 2
    assert "holds a model that was trained from another model: remove it to train anew" in refused.stderr
    state = json.loads((tmp_path / "joint_sft_dpo" / "trained_from.json").read_text())
    (tmp_path / "joint_sft_dpo" / "trained_from.json").write_text(json.dumps({**state, "rows": "0"}))
    refused = train("joint_sft_dpo", "sft")
    assert "trained from other rows" in refused.stderr


@pytest.mark.parametrize("from_file", [False, True])
def test_train_with_masked_thoughts_and_then_with_redi(train, tmp_path, tiny_model_directory, from_file):
    options = {"sft": {"mask_thoughts": 0.2}, "cdpo": {"loss_type": "redi", "redi_alpha": 0.5}}
    for name, model in (("sft", tiny_model_directory), ("cdpo", "sft")):
        config = ROOT / "recipes" / "config" / name / "starter.yaml"
        more = [str(text) for key, value in options[name].items() for text in (f"--{key}", value)]
        if from_file:
            mine = tmp_path / f"{name}.yaml"
            mine.write_text(config.read_text() + "".join(f"{key}: {value}\n" for key, value in options[name].items()))
            config, more = mine, []
        result = train(name, model, *more, config=config)
        assert result.returncode == 0, result.stderr
    assert "SFT with masked thoughts (probability 0.2)" in (tmp_path / "sft" / "README.md").read_text()
    card = (tmp_path / "cdpo" / "README.md").read_text()
    assert "+ 0.5 \\frac" in card
    assert "2505.24850" in card
    state = json.loads((tmp_path / "cdpo" / "trainer_state.json").read_text())
    assert [log["step"] for log in state["log_history"] if "redi/margins" in log] == [1, 2]


@needs_lighteval
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
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == 5
    # The second run asks nothing of the model and finds the same.
    monitored = Journal(tmp_path / "out" / "journal.sqlite")
    keys = monitored.keys()
    again = run("evaluate", *args)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == rows
    assert monitored.keys() == keys
    monitored.close()


@needs_lighteval
@pytest.mark.parametrize("kind", ["openai", "tgi"])
def test_evaluate_models_on_servers(kind, run, tmp_path):
    """By search too; and again, which asks the server for no completion."""
    server = importlib.import_module(f"tests.servers.{kind}")
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
        asked = [request for request in app.state.requests if request.max_new_tokens > 1]  # one sees the tokenizer
        assert len(asked) > 12
        again = run("evaluate", *args)
        assert again.returncode == 0, again.stderr
        assert [request for request in app.state.requests if request.max_new_tokens > 1] == asked
        assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == rows


@needs_lighteval
def test_evaluate_problems_of_ones_own(run, tmp_path, tiny_model_directory):
    (tmp_path / "mine.jsonl").write_text('{"prompt": "What is 6 times 7?", "answer": "42"}\n' * 2)
    args = ["--models", tiny_model_directory, "--max_new_tokens", 4, "--output_dir", "out", "--output", "f.json"]
    result = run("evaluate", *args, "--problems", "mine.jsonl")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "f.json").read_text())
    assert (row["task"], row["count"], row["accuracy"]) == ("mine", 2, 0.0)


@needs_lighteval
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
        (["--num_problems", "0"], "num_problems=0 is out of range"),
        (["--models", "no/such/model"], "model 'no/such/model' cannot be loaded"),
        (["--models", "untemplated"], "has no chat template"),
        (["--models", "tgi+http://h:1#a", "tgi+http://h:1#b"], "results could not tell them apart; leave one out"),
        (["--models", "tgi+http://h:1", "openai+http://i:1"], "models are on several hosts (h:1, i:1)"),
        (["--models", "tgi+http://h:1", "--revision", "v2"], "revision='v2' cannot be asked of servers"),
        (["--problems", "twice.jsonl"], "problem_id='p' is used twice"),
        (["--models", "tgi+localhost:8080"], "server 'localhost:8080' is no base URL: write it as http://host:port"),
        (["--output_dir", "file"], "output_dir='file' cannot be made"),
        (["--prompt", "none"], "prompt='none' is unknown"),
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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset", "nowhere/missing/at/all"], "dataset 'nowhere/missing/at/all', configuration 'preference'"),
        (["--model_name_or_path", "./nowhere"], "model_name_or_path='./nowhere' cannot be loaded"),
        (["--epsilon", "0.5"], "epsilon=0.5 is out of range"),
        (["--alpha", "-1"], "alpha=-1.0 is out of range"),
        (["--loss_type", "redi"], "loss_type=['redi'] has an SFT term of its own"),
        (["--loss_type", "hinge"], "loss_type=['hinge'] would be ignored: use sigmoid"),
        (["--learning_rate", "fast"], "invalid float value: 'fast'"),
        (["--max_length", "3"], "max_length=3: the prompt alone fills it"),
        (["--watch", "missing.jsonl"], "problems 'missing.jsonl': no such file"),
    ],
)
def test_bad_input_of_training_is_one_clear_line_and_exit_code_2(run, args, message, tiny_model_directory, dataset):
    config = ROOT / "recipes" / "config" / "joint_sft_dpo" / "starter.yaml"
    good = ["--config", config, "--dataset", dataset, "--model_name_or_path", tiny_model_directory]
    result = run("joint_sft_dpo", *good, "--output_dir", "out", *args)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr.strip().splitlines()[-1]


def test_a_lone_string_in_yaml_is_a_list_of_one(tmp_path):
    (tmp_path / "mine.yaml").write_text("problems: letters\ntemperature: 1\ncritic_model: null\n")
    arguments = recipe.parse(build_trees.Arguments, "", ["--config", str(tmp_path / "mine.yaml")])
    assert arguments.problems == ["letters"]
    assert arguments.temperature == 1


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
