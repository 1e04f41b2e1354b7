"""The command `treecot`: its subcommands, their help, packaged configurations, and the recipes that call them."""

import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huggingface_hub.cli.extensions import ExtensionManifest

from hf_treecot.cli import packaged
from hf_treecot.cli.main import COMMANDS, module_of
from hf_treecot.cli.packaged import config_names, find_config
from hf_treecot.cli.parser import run as run_body
from hf_treecot.errors import InvalidInputError


ROOT = Path(__file__).parents[1]
SLOW = (
    "sft",
    "cdpo",
    "joint",
    "redi",
    "advantage",
    "value",
    "ablation",
    "evolve",
    "build",
    "draw",
    "publish",
    "report",
    "scale",
    "select",
    "import",
    "regrow",
)
WIDTH = "110"  # columns of the help texts that come with the package
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.py"))


def help_text(command):
    """What the parser of a command itself says."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        module_of(command).main(["--help"])
    return output.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_argument_in_groups(command, run):
    result = run(command, "--help")
    assert result.returncode == 0
    module = module_of(command)
    assert module.__doc__.split("\n")[0] in result.stdout
    shown = set(re.findall(r"^  --(\w+)", result.stdout, re.MULTILINE))
    kinds = [value for value in vars(module).values() if isinstance(value, type)]
    own = [kind for kind in kinds if kind.__module__ == module.__name__ and hasattr(kind, "__dataclass_fields__")]
    for kind in own:
        if kind.__name__.endswith("Arguments"):
            assert shown >= set(kind.__dataclass_fields__)
            assert all(field.metadata["help"] for field in kind.__dataclass_fields__.values())
            assert f"{kind.__doc__.splitlines()[0].rstrip('.')}:" in result.stdout


@pytest.mark.parametrize("command", SLOW)
def test_packaged_help_is_what_the_parser_says(command, monkeypatch):
    """`python -m tests.test_cli` writes it anew."""
    monkeypatch.setenv("COLUMNS", WIDTH)
    path = packaged.HELP / f"{command}.txt"
    if path.read_text().splitlines()[0] != packaged.help_versions():
        pytest.skip("it was made with other versions of the libraries, and so is not used")
    assert packaged.packaged_help(command) == help_text(command)


def test_packaged_help_of_other_versions_is_not_used(monkeypatch):
    monkeypatch.setattr(packaged, "help_versions", lambda: "# python 2.7")
    assert packaged.packaged_help("cdpo") == ""


def test_help_imports_nothing_heavy():
    """What takes seconds to import is not imported before it is needed."""
    code = (
        "import sys; from hf_treecot.cli.main import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: assert not end.code, command\n"
        "    heavy = {'torch', 'transformers', 'lighteval', 'gradio', 'datatrove'} & set(sys.modules)\n"
        "    assert not heavy, (command, heavy)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_without_a_command_it_says_what_there_is(run, capsys):
    result = run("--help")
    assert result.returncode == 0
    for command, summary in COMMANDS.items():
        assert f"  {command:<10} {summary}" in result.stdout
    assert run("--version").stdout.startswith("treecot 0.")


@pytest.mark.parametrize(("name", "near"), [("biuld", "build"), ("evalute", "evaluate"), ("joint_sft_dpo", "joint")])
def test_an_unknown_command_gives_the_nearest_names(name, near, run):
    result = run(name)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: treecot has no command {name!r}: use {near}")
    assert len(result.stderr.splitlines()) == 1


HOSTILE = {
    "nested.jsonl": '{"prompt": "x", "answer": ' + "[" * 5000 + "]" * 5000 + "}",
    "prompt.jsonl": json.dumps({"prompt": "1 + 1? " * 1_500_000, "answer": "2"}),
    "answer.jsonl": json.dumps({"prompt": "1 + 1?", "answer": "2" * 10_000_000}),
    "no_prompt.jsonl": json.dumps({"prompt": "", "answer": "2" * 1_000_000}),
    "count.yaml": "name: x\nstart: {thinking: 1000000000}\nthoughts: {thinking: {tag: thinking, next: {answer: 1}}, "
    "answer: {tag: answer}}",
    "deep.yaml": "seed: " + "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize(
    ("option", "file", "message"),
    [
        ("--problems", "nested.jsonl", "its values are nested too deep"),
        ("--problems", "prompt.jsonl", "row 0: its prompt has 10500000 characters; shorten it to 1000000"),
        ("--problems", "answer.jsonl", "row 0: its answer has 10000000 characters; shorten it to 200000"),
        ("--problems", "no_prompt.jsonl", "every problem needs a text and an answer"),
        ("--patterns", "count.yaml", "the count must be a whole number from 1 to 64, got 1000000000"),
        ("--config", "deep.yaml", "its values are nested too deep"),
    ],
)
def test_hostile_input_is_one_short_line(option, file, message, run, tmp_path):
    (tmp_path / file).write_text(HOSTILE[file])
    result = run("build", option, file, "--output_dir", "run")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert len(line) <= 500


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--num_problem", 3), "unknown argument --num_problem: did you mean --num_problems"),
        (("--num-problem=3",), "unknown argument --num-problem=3: did you mean --num_problems"),
        (("--xyz",), "unknown argument --xyz: (--help lists them all)"),
        (("3",), "'3' belongs to no argument: write --NAME VALUE"),
        (("--config=mine.yaml",), "config 'mine.yaml': unknown argument num_problem: did you mean --num_problems"),
    ],
)
def test_an_unknown_argument_gives_the_nearest(args, message, run, tmp_path):
    (tmp_path / "mine.yaml").write_text("num_problem: 3")
    result = run("build", *args)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--output_dir", ""), "output_dir='' is empty: give it a value, or leave it out"),
        (("--output_dir", "run", "--price_per_hour", "-1"), "price_per_hour=-1.0 is out of range: it must be above 0"),
        (("--output_dir", "run", "--verifier", " "), "verifier=' ' is empty: give it a value, or leave it out"),
        (("--output_dir", "run", "--problems", ""), "problems='' is empty: give it a value, or leave it out"),
        (
            ("--output_dir", "run", "--problems", "header.csv"),
            "problems 'header.csv': it holds no rows; give a source with at least one problem",
        ),
        (("--output_dir", "file"), "output_dir='file' is a file: choose a directory"),
        (
            ("--output_dir", "run", "--temperature", "inf"),
            "temperature=inf is out of range: it must be a finite number",
        ),
        (
            ("--output_dir", "run", "--temperature", "nan"),
            "temperature=nan is out of range: it must be 0 or more",
        ),
        (
            ("--output_dir", "run", "--num_problems", "-1"),
            "num_problems=-1 is out of range: ask for at least 1 problem",
        ),
    ],
)
def test_bad_values_are_one_line_with_the_name_of_the_option(args, message, run, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "header.csv").write_text("prompt,answer\n")
    result = run("build", *args)
    assert (result.returncode, result.stderr) == (2, f"error: {message}\n")


def test_a_full_disk_says_how_to_resume(capsys):
    def write():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/mine/journal.sqlite")

    with pytest.raises(SystemExit) as end:
        run_body(write, resume="Run it again to go on.")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "error: runs/mine/journal.sqlite: No space left on device\nRun it again to go on.\n"
    )


def test_packaged_configs_are_found_by_name(tmp_path, monkeypatch):
    assert find_config("joint/qwen2.5-7b", "build") == find_config("qwen2.5-7b", "joint")
    mine = tmp_path / "demo"
    mine.write_text("seed: 1")
    assert find_config(str(mine), "build") == mine
    assert {"build/demo", "sft/starter", "accelerate/fsdp"} <= set(config_names())
    with pytest.raises(
        InvalidInputError, match=r"config='jont/qwen2.5-7b' is neither .* nearest are joint/qwen2.5-7b"
    ):
        find_config("jont/qwen2.5-7b", "build")


@pytest.mark.parametrize(
    ("content", "message"),
    [("env: {LD_PRELOAD: x}", "env is no argument"), ("1: 2", "the key 1 is no text")],
)
def test_keys_of_a_config_that_are_no_arguments(run, tmp_path, content, message):
    (tmp_path / "mine.yaml").write_text(content)
    result = run("verify", "--config", "mine.yaml")
    assert result.returncode == 2
    assert message in result.stderr
    assert "LD_PRELOAD" not in os.environ


def test_configs_lists_shows_and_finds(run):
    assert run("configs").stdout.split() == config_names()
    assert run("configs", "--show", "build/demo").stdout == find_config("build/demo", "").read_text()
    assert Path(run("configs", "--path", "accelerate/fsdp").stdout.strip()).is_file()
    for name in ("demmo", str(find_config("build/demo", ""))):  # not any file
        refused = run("configs", "--show", name)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "demo" in refused.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_few_lines_over_a_command(name):
    text = (ROOT / "recipes" / f"{name}.py").read_text()
    assert len(text.splitlines()) < 30
    (command,) = re.findall(r"from hf_treecot\.cli\.(\w+) import main", text)
    assert command in COMMANDS
    assert f"`treecot {command}`" in text


def test_a_recipe_is_a_script():
    script = str(ROOT / "recipes" / "build_trees.py")
    result = subprocess.run([sys.executable, script, "--num_problems", "0"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip() == "error: num_problems=0 is out of range: ask for at least 1 problem"


def test_a_recipe_without_the_package_says_how_to_install_it(tmp_path):
    script = ROOT / "recipes" / "sft.py"
    result = subprocess.run([sys.executable, "-I", "-S", str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: hf_treecot is not installed: pip install hf-treecot")
    assert len(result.stderr.splitlines()) == 1


def test_it_is_an_extension_of_the_command_hf(tmp_path):
    """As `hf extensions install OWNER/hf-treecot` leaves it, which needs GitHub."""
    programs = Path(sys.executable).parent
    manifest = ExtensionManifest(
        owner="owner", repo="hf-treecot", repo_id="owner/hf-treecot", short_name="treecot", type="python",
        executable_path=str(programs / "hf-treecot"), installed_at=datetime.now(UTC),
    )  # fmt: skip
    manifest.save(tmp_path / ".local" / "share" / "hf" / "extensions" / "hf-treecot")
    result = subprocess.run(
        [programs / "hf", "treecot", "--help"], capture_output=True, text=True,
        env={**os.environ, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: treecot ")


if __name__ == "__main__":
    packaged.HELP.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = WIDTH
    for name in SLOW:
        (packaged.HELP / f"{name}.txt").write_text(f"{packaged.help_versions()}\n{help_text(name)}")
