"""The command `treecot serve`: what it refuses before it loads a model, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hf_treecot.cli.serve import client_keys
from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.dataset import load_trees

from .serving_world import CountingBackend, ask, served


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--port", "70000"), "port=70000 is out of range: it must be from 0 to 65535"),
        (("--answer_tokens", "0"), "answer_tokens=0 is out of range: it must be at least 1"),
        (("--max_queue", "-1"), "max_queue=-1 is out of range: it must be at least 0"),
        (("--max_seconds", "0"), "max_seconds=0.0 is out of range: it must be above 0"),
        (("--temperature", "3"), "temperature=3.0, top_p=0.95: they must be from 0 to 2, and above 0 up to 1"),
        (("--pattern", "nothing"), "pattern 'nothing'"),
        (("--branching", "wide"), "branching='wide' is unknown"),
        (("--greedy", "all"), "greedy='all' is unknown"),
        (("--answer_vote", "best"), "answer_vote='best' is unknown"),
        (("--search_reward", "best"), "search_reward='best' cannot be loaded"),
        (("--search_reward", "value"), "search_reward='value' needs a value_model"),
        (("--value_model", "mine"), "value_model would not be used: set answer_vote or search_reward to value"),
        (("--value_model", "./no", "--answer_vote", "value"), "model './no' cannot be loaded"),
        (("--verifier", "best"), "verifier"),
        (("--api_keys", "short"), "api_keys: a key must have at least 8 printable ASCII characters"),
        (("--engine", "openai"), "engine='openai' needs the URLs of its servers"),
        (("--keep", "full"), "is not empty and holds no run of ours"),
    ],
)
def test_what_it_refuses(args, message, run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("Dear")
    result = run("serve", *args)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_keys_come_from_the_variable(monkeypatch):
    monkeypatch.setenv("TREECOT_API_KEYS", "first-key, second-key,")
    assert client_keys([]) == ["first-key", "second-key"]
    assert client_keys(["another-key"]) == ["another-key"]
    monkeypatch.setenv("TREECOT_API_KEYS", "short-\u00e9")
    with pytest.raises(InvalidInputError) as error:
        client_keys([])
    assert "short" not in str(error.value)


def test_it_serves_servers_keeps_trees_and_ends_by_a_signal(tmp_path):
    """Before our own endpoint as the server, which a second one shows to be one of `/v1/completions`."""
    backend = CountingBackend()
    backend.tokenizer.save_pretrained(tmp_path / "tokenizer")
    with served(backend) as (server, _):
        command = [sys.executable, "-m", "hf_treecot.cli.main", "serve", "--engine", "openai", "--servers", server]
        command += ["--tokenizer", "tokenizer", "--port", "0", "--keep", "kept", "--verifier", "letters"]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TREECOT_API_KEYS": "a-key-of-clients"},
        )  # fmt: skip
        line = process.stdout.readline()
        assert line.startswith("serving writer, writer:samples and writer:search at http://127.0.0.1:"), line
        url = line.split()[-1]
        port = int(url.rpartition(":")[2].partition("/")[0])
        headers = {"authorization": "Bearer a-key-of-clients"}
        reply = httpx.post(
            f"{url}/chat/completions", json=ask("writer:search", seed=1), headers=headers, timeout=60, verify=False
        )
        assert reply.status_code == 200, reply.text
        with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
            pass
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert "a-key-of-clients" not in errors
    assert "search 200" in errors
    (tree,) = load_trees(tmp_path / "kept")
    assert tree.provenance["generator_engine"] == "openai"
    assert not (tmp_path / "kept" / "unwritten.jsonl").read_text()
