"""The script of the whole pipeline, with a mock of `python` that notes what it is asked."""

import os
import subprocess
from pathlib import Path

import pytest
from trl import ModelConfig

from hf_treecot.cli import parser as recipe
from hf_treecot.cli.training import ScriptArguments
from hf_treecot.trainers import JointSFTDPOConfig, MaskedThoughtConfig

from .test_recipes import RECIPES, ROOT


MOCK = """#!/bin/sh
echo "$@" >> "$COMMANDS"
echo "{'loss': 1.2}"
case "$1" in recipes/train_starter.py) echo "The starter model is in runs/quick-starter/starter-0123" ;; esac
"""
STAGES = ["train_starter", "build_trees", "draw_tree", "sft", "joint_sft_dpo", "evaluate", "report"]


@pytest.fixture
def speedrun(tmp_path):
    """Runs the script; its result, and the commands that it gave."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(MOCK)
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "COMMANDS": str(tmp_path / "commands")}

    def run(*args):
        script = ["bash", str(ROOT / "recipes" / "speedrun.sh"), *args]
        result = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, env=environment)
        commands = tmp_path / "commands"
        return result, [line.split() for line in commands.read_text().splitlines()] if commands.exists() else []

    return run


@pytest.mark.parametrize(
    ("args", "model", "directory"),
    [
        ((), "starter", "runs/demo"),
        (("--quick",), "runs/quick-starter/starter-0123", "runs/quick"),
        (("mine", "--quick"), "runs/quick-starter/starter-0123", None),
    ],
)
def test_every_stage_gets_arguments_that_its_recipe_takes(speedrun, tmp_path, monkeypatch, args, model, directory):
    result, commands = speedrun(*args)
    assert result.returncode == 0, result.stderr
    assert [Path(command[0]).stem for command in commands] == STAGES
    directory = directory or str(tmp_path / "mine")  # of the caller, not of the project
    parsed = {}
    monkeypatch.chdir(ROOT)  # configurations are named from there
    for name, (_, *arguments) in zip(STAGES, commands, strict=True):
        if name in RECIPES:
            parsed[name] = recipe.parse(RECIPES[name].Arguments, "", arguments)
        else:
            kinds = {"sft": MaskedThoughtConfig, "joint_sft_dpo": JointSFTDPOConfig}
            parsed[name] = recipe.parse((ScriptArguments, kinds[name], ModelConfig), "", arguments)
    assert parsed["build_trees"].model == parsed["sft"][2].model_name_or_path == model
    assert parsed["build_trees"].output_dir == parsed["report"].run == directory
    assert not str(parsed["train_starter"].output_dir or "").startswith(f"{directory}/")
    assert parsed["sft"][0].dataset == parsed["joint_sft_dpo"][0].dataset == f"{directory}/dataset"
    assert parsed["joint_sft_dpo"][2].model_name_or_path == parsed["sft"][1].output_dir == f"{directory}/sft"
    assert parsed["evaluate"].models == [model, f"{directory}/sft", f"{directory}/joint_sft_dpo"]
    assert f"--source '{directory}' --models '{model}'" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--quic",), 2, "--quic is no option of speedrun.sh: there is only --quick"),
        (("one", "two"), 2, "there is one RUN, not both"),
        (("--help",), 0, "recipes/speedrun.sh [--quick] [RUN]"),
    ],
)
def test_its_own_arguments(speedrun, args, code, message):
    result, commands = speedrun(*args)
    assert (result.returncode, commands) == (code, [])
    assert message in result.stdout + result.stderr
