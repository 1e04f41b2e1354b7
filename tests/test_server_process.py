import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hf_treecot.engines.server_process import PROGRAMS, free_port, run_server, search_options, server_command
from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.testing.backends import small_tokenizer

from .worlds import until


# A server that answers nothing but that it is well; it writes its number, so that it can be found.
SMALL = """
import http.server, os, pathlib, sys
with open("numbers", "a") as file:
    file.write(f"{os.getpid()}\\n")
print("loading", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    log_message = lambda *_: None
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# `vllm serve MODEL … --port N …`, over the scripted world.
VLLM = f"""#!{sys.executable}
import os, sys
with open("command", "w") as file:
    file.write(" ".join(sys.argv[1:]))
port = sys.argv[sys.argv.index("--port") + 1]
os.execv(sys.executable, [sys.executable, "-m", "hf_treecot.testing.openai", "--backend", "scripted", "--port", port])
"""
SHORT = (
    "--problems letters --num_problems 2 --num_simulations 2 --min_right 1 --max_right 1 --max_depth 4 "
    "--max_new_tokens 16 --give_up_factor 1 --output_dir runs/built"
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Programs are found here alone."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(name, text):
    path = Path("programs") / name
    path.write_text(text)
    path.chmod(0o755)


def numbers():
    return [int(line) for line in Path("numbers").read_text().split()]


def is_alive(number):
    return Path(f"/proc/{number}").exists() and ") Z " not in Path(f"/proc/{number}/stat").read_text()


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_it_is_waited_for_restarted_and_stopped(caplog):
    port = free_port()
    command = [sys.executable, "-c", SMALL, str(port)]
    async with run_server(command, port, Path("runs/mine.server.log"), 30.0) as url:
        assert url == f"http://127.0.0.1:{port}"
        (first,) = numbers()
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(numbers()) == 2 and listens(port))
        assert "the server died (-9, loading): it is started again" in caplog.text
    assert not any(map(is_alive, numbers()))
    assert not listens(port)
    assert Path("runs/mine.server.log").read_text().count("loading") == 2


async def test_one_that_dies_at_once_is_not_started_for_ever(caplog):
    port = free_port()
    command = [sys.executable, "-c", f"{SMALL.replace('.serve_forever()', '.handle_request()')}", str(port)]
    async with run_server(command, port, Path("log"), 30.0):
        await until(lambda: len(numbers()) == 2)
        for count in (3, 4):
            await until(lambda: listens(port))  # which it does not survive
            await until(lambda count=count: len(numbers()) == count)
        await until(lambda: listens(port))
        await until(lambda: "died 4 times in a row" in caplog.text)
    assert len(numbers()) == 4


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import sys; print('CUDA out of memory'); sys.exit(3)",
            "ended with 3 before it answered .CUDA out of memory",
        ),
        ("import time; time.sleep(60)", "did not answer within 0.3 s .it wrote nothing.: set start_timeout"),
    ],
)
async def test_one_that_does_not_start_is_one_line(program, message):
    with pytest.raises(InvalidInputError, match=message):
        timeout = 30.0 if "exit" in program else 0.3
        async with run_server([sys.executable, "-c", program], free_port(), Path("log"), timeout):
            pass


def test_a_build_with_a_server_of_its_own(run):
    install("vllm", VLLM)
    small_tokenizer().save_pretrained("tokenizer")
    options = ["--tokenizer", "tokenizer", "--serve_options", "--tensor-parallel-size 2", *SHORT.split()]
    result = run("build", "--serve", "vllm", "org/model", "--max_concurrent_requests", "9", *options)
    assert result.returncode == 0, result.stderr
    assert len(list(load_trees("runs/built"))) == 2
    command = Path("command").read_text()
    assert command.startswith("serve org/model --host 127.0.0.1 --port ")
    assert command.endswith(" --enable-prefix-caching --max-num-seqs 9 --tensor-parallel-size 2")
    port = int(command.split("--port ")[1].split()[0])
    assert not listens(port)
    assert "serving loopback/scripted" in Path("runs/built.server.log").read_text()


def test_a_build_that_is_ended_by_a_signal_leaves_no_server_behind():
    install(
        "vllm", f"#!{sys.executable}\nimport sys\nsys.argv[1:] = [sys.argv[sys.argv.index('--port') + 1]]\n{SMALL}"
    )
    command = [sys.executable, "-m", "hf_treecot.cli.main", "build", "--serve", "vllm", "org/model", *SHORT.split()]
    with Path("out").open("w") as out:
        build = subprocess.Popen([*command, "--start_timeout", "60"], stdout=out, stderr=out)
        asyncio.run(until_file("numbers", build))
        build.send_signal(signal.SIGTERM)
        assert build.wait(timeout=60) != 0
    assert not any(map(is_alive, numbers()))
    assert "Traceback" not in Path("out").read_text()


async def until_file(name, process):
    async with asyncio.timeout(60):
        while not Path(name).exists() or not numbers():
            assert process.poll() is None, Path("out").read_text()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_is_not_installed_is_told_with_a_container(kind, run):
    model = {"llama.cpp": "org/model-GGUF"}.get(kind, "org/model")
    result = run("build", "--serve", kind, model, *SHORT.split())
    assert result.returncode == 2
    line = result.stderr.strip().splitlines()[-1]
    assert f"serve='{kind}' is not installed" in line
    assert "docker run" in line
    assert model in line
    assert f"--engine {PROGRAMS[kind].engine} --servers http://localhost:{PROGRAMS[kind].port}" in line
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--serve", "ollama", "m"], "serve='ollama' is unknown: use one of vllm, tgi, llama.cpp"),
        (["--serve", "vllm"], "serve='vllm': write it as --serve vllm MODEL"),
        (["--serve", "llama.cpp", "none.gguf"], "there is no file 'none.gguf'"),
        (["--serve", "llama.cpp", "programs"], "llama.cpp cannot load 'programs': give a .gguf file"),
        (["--serve", "vllm", "m", "--engine", "tgi"], "leave out engine, servers and provider"),
        (["--serve", "vllm", "m", "--servers", "http://x"], "leave out engine, servers and provider"),
    ],
)
def test_bad_input(args, message, run):
    install("vllm", VLLM)
    result = run("build", *args, *SHORT.split())
    assert result.returncode == 2
    assert message in result.stderr.strip().splitlines()[-1]


def test_commands_fit_a_search():
    for name in ("text-generation-launcher", "llama-server"):
        install(name, "")
    Path("model.gguf").touch()
    assert server_command("tgi", "org/model", 5, search_options("tgi", None)) == [
        "text-generation-launcher", "--model-id", "org/model", "--hostname", "127.0.0.1", "--port", "5",
        "--max-concurrent-requests", "128",
    ]  # fmt: skip
    assert server_command("llama.cpp", "model.gguf", 5, search_options("llama.cpp", 4)) == [
        "llama-server", "--model", "model.gguf", "--host", "127.0.0.1", "--port", "5", "--parallel", "4",
        "--kv-unified", "--ctx-size", "16384",
    ]  # fmt: skip
