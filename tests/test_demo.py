"""The whole pipeline: every stage gets arguments that its command takes, and one that fails stops it."""

import importlib
import importlib.util
from pathlib import Path

import pytest

from hf_treecot.cli import demo
from hf_treecot.cli.build import BuildSettings
from hf_treecot.cli.demo import DemoArguments, stages
from hf_treecot.cli.evaluate import EvaluateArguments
from hf_treecot.cli.parser import parse


def parsed(command, arguments):
    module = importlib.import_module(f"hf_treecot.cli.{command}")
    if command == "build":
        kinds = BuildSettings.kinds()
    elif hasattr(module, "kinds"):
        kinds = module.kinds()
    else:
        kinds = next(v for k, v in vars(module).items() if k.lower() == f"{command}arguments")
    return parse(command, kinds, "", arguments)


@pytest.mark.parametrize("quick", [False, True])
def test_every_stage_gets_arguments_that_its_command_takes(quick, monkeypatch, tmp_path):
    commands = stages(DemoArguments(quick=quick), Path("runs/mine")).values()
    assert [command[0] for command in commands] == ["build", "draw", "sft", "joint", "evaluate", "report"]
    found = {name: parsed(name, arguments) for name, *arguments in commands}
    build = BuildSettings(*found["build"])
    assert build.engines.model == found["sft"][2].model_name_or_path == "hasty"
    assert build.build.output_dir == found["draw"].run == found["report"].run == "runs/mine"
    assert build.problems.num_problems == (12 if quick else 40)
    assert found["sft"][0].dataset == found["joint"][0].dataset == "runs/mine/dataset"
    assert found["joint"][2].model_name_or_path == found["sft"][1].output_dir == "runs/mine/sft"
    evaluation = found["evaluate"]
    assert isinstance(evaluation, EvaluateArguments)
    assert evaluation.models == ["hasty", "runs/mine/sft", "runs/mine/joint_sft_dpo"]
    assert evaluation.num_problems == (12 if quick else 50)


@pytest.fixture
def ran(monkeypatch):
    """The commands that the demo has run; one that is told to fails."""
    commands, failing = [], set()
    monkeypatch.setattr(demo, "run_stage", lambda command: commands.append(command) or int(command[0] in failing))
    return commands, failing


@pytest.mark.parametrize(
    ("args", "directory"),
    [((), "runs/demo"), (("--quick",), "runs/quick"), (("--quick", "--output_dir", "my run"), "'my run'")],
)
def test_it_says_what_there_is(args, directory, run, ran):
    result = run("demo", *args)
    assert result.returncode == 0, result.stderr
    assert len(ran[0]) == 6
    assert f"treecot space --source {directory} --models hasty" in result.stdout


def test_without_lighteval_it_leaves_out_the_comparison_and_says_how_to_install_it(run, ran, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("demo")
    assert result.returncode == 0
    assert [command[0] for command in ran[0]] == ["build", "draw", "sft", "joint", "report"]
    assert "Left out: lighteval is not installed: pip install" in result.stdout


def test_a_stage_that_fails_stops_it_and_is_named(run, ran):
    ran[1].add("sft")
    result = run("demo")
    assert result.returncode == 1
    assert [command[0] for command in ran[0]] == ["build", "draw", "sft"]
    assert result.stderr.startswith("error: stage 3 failed: treecot sft --config starter")
