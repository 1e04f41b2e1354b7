"""Each command of the page, as far as it can run here: a loopback server in place of the one that it names."""

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import pytest

from hf_treecot.hub.dataset import load_trees
from hf_treecot.testing import chat, ollama, openai, tgi
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve


PAGE = (Path(__file__).parents[1] / "docs" / "which_engine.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")][
    2:
]
COMMANDS = [re.sub(r"^`(.*)`$", r"\1", row[-1]) for row in ROWS]
BACKEND = ScriptedBackend()
# What listens at the ports of the page, and how it records itself in the trees.
SERVERS = {
    "8000": (openai.make_app, {"server": "vllm"}, "vllm"),
    "30000": (openai.make_app, {"server": "sglang"}, "sglang"),
    "8080": (tgi.make_app, {}, "text-generation-inference"),
    "8081": (openai.make_app, {"server": "llamacpp"}, "llamacpp"),
    "11434": (ollama.make_app, {}, "ollama"),
    "1234": (openai.make_app, {"server": "lmstudio"}, "lmstudio"),
    "8002": (openai.make_app, {"server": "transformers", "listed": ()}, "transformers serve"),
    "8090": (chat.make_app, {}, ""),
}
SHORT = (
    "--num_problems 2 --num_simulations 2 --min_right 1 --max_right 1 --max_depth 4 --max_new_tokens 16 "
    "--give_up_factor 1 --output_dir built"
)


def test_the_page_names_every_kind_of_server():
    ports = {port for command in COMMANDS for port in re.findall(r"localhost:(\d+)", command)}
    assert ports == SERVERS.keys()


@pytest.mark.parametrize("command", COMMANDS, ids=[row[0].replace("/", "-")[:40] for row in ROWS])
def test_a_command(command, run, tmp_path, monkeypatch, tiny_model_directory):
    monkeypatch.chdir(tmp_path)
    rows = ('{"prompt": "6 times 7?", "answer": "42"}', '{"prompt": "6 times 8?", "answer": "48"}')
    (tmp_path / "mine.jsonl").write_text("\n".join(rows))
    BACKEND.tokenizer.save_pretrained(tmp_path / "tokenizer")
    if "--provider" in command:  # the Hub's router cannot be reached; the words are understood
        result = run("build", *shlex.split(command)[2:])
        assert (result.returncode, result.stdout) == (2, "")
        assert "TREECOT_SERVER_TOKEN" in result.stderr
        return
    if "--serve " in command:  # nothing is installed here; that it runs is shown elsewhere
        monkeypatch.setenv("PATH", "")
        (tmp_path / "qwen2.5-7b-q8_0.gguf").touch()
        result = run("build", *shlex.split(command)[2:])
        assert (result.returncode, result.stdout) == (2, "")
        assert "is not installed" in result.stderr
        return
    with ExitStack() as stack:
        told = None
        for port in re.findall(r"localhost:(\d+)", command):
            make_app, options, told = SERVERS[port]
            command = command.replace(
                f"http://localhost:{port}", stack.enter_context(serve(make_app(BACKEND, **options)))
            )
        if told is None:
            command = re.sub(r"--model \S+", f"--model {tiny_model_directory}", command)
        else:
            names = ollama.MODEL if told == "ollama" else BACKEND.identity.model
            command = re.sub(r"--model \S+", f"--model {names}", command)
            command = re.sub(r" --tokenizer \S+", "", command) + " --tokenizer tokenizer"
        result = run("build", *shlex.split(command)[2:], *SHORT.split())
    assert result.returncode == 0, result.stderr
    trees = list(load_trees(tmp_path / "built"))
    assert len(trees) == 2
    assert trees[0].provenance["generator_version"].startswith(told or "")
