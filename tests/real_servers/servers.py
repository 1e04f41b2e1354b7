"""Real servers of the starter model, as processes that can be killed and started again."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from hf_treecot.engines.server_process import free_port
from hf_treecot.files import cache_directory
from hf_treecot.starter.training import starter_model

from .llama_cpp import llama_server, write_gguf


API_KEY = "sk-only-for-this-test"


@dataclass
class RealServer:
    """
    A server process.

    Args:
        command (`Sequence[str]`): Starts it.
        port (`int`): Where it listens.
        model (`str`, *optional*): The model to ask for, if it does not list it.
        prefix (`str`): Of all its paths.
        log (`Path`): Where it writes.
    """

    command: Sequence[str]
    port: int
    log: Path
    model: str | None = None
    prefix: str = ""
    process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def start(self) -> None:
        """Start it; [`wait`] for it."""
        with self.log.open("a") as log:
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)

    def wait(self, seconds: float = 300.0) -> None:
        """Until it has loaded: behind a key and a path it may then refuse to say so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health").status_code != 503:
                    return
            time.sleep(0.2)
        raise OSError(f"it did not start: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()
        self.process.wait()


@cache
def as_gguf(model: Path) -> Path:
    """A model for llama.cpp."""
    path = cache_directory() / "llama-server-models" / f"{model.name}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        write_gguf(model, part)
        part.rename(path)
    return path


@contextlib.contextmanager
def llama_cpp(
    directory: Path, *options: str, prefix: str = "", slots: int = 8, context: int = 8192, model: Path | None = None
) -> Iterator:
    """llama.cpp's server, of the starter model or another."""
    port = free_port()
    gguf = as_gguf(model or starter_model())
    command = [
        str(llama_server()), "--model", str(gguf), "--host", "127.0.0.1", "--port", str(port),
        "--parallel", str(slots), "--ctx-size", str(context), "--threads", "1", *options,
    ]  # fmt: skip
    if prefix:
        command += ["--api-prefix", prefix]
    with _running(RealServer(command, port, directory / f"llama-server-{port}.log", prefix=prefix)) as server:
        yield server


@contextlib.contextmanager
def transformers_serve(directory: Path, *options: str, model: Path | None = None) -> Iterator:
    """`transformers serve`, of the starter model or another."""
    port, model = free_port(), str(model or starter_model())
    command = [
        sys.executable, "-m", "transformers.cli.transformers", "serve", model, "--host", "127.0.0.1", "--port",
        str(port), "--device", "cpu", *options,
    ]  # fmt: skip
    with _running(RealServer(command, port, directory / f"transformers-serve-{port}.log", model)) as server:
        yield server


@contextlib.contextmanager
def _running(server: RealServer) -> Iterator[RealServer]:
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()
