"""A server of our own for the length of a build: started, waited for, started again when it dies, and stopped.

This module knows programs and processes. It must not know what is asked of them.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.utils import httpx

from ..errors import InvalidInputError


logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
SHORT_LIFE = 30.0  # seconds; one that dies so soon, so often in a row, will not live
SHORT_LIVES = 3
STOP_SECONDS = 20.0
CACHE = "-v ~/.cache/huggingface:/root/.cache/huggingface"


@dataclass(frozen=True)
class Program:
    """
    A program that serves a model.

    Args:
        executable (`str`): Its name.
        engine (`str`): By which it is asked.
        install (`str`): How to get it.
        container (`str`): A command that runs it in a container, with `{model}` and `{options}`.
        port (`int`): Where it listens there.
    """

    executable: str
    engine: str
    install: str
    container: str
    port: int


PROGRAMS = {
    "vllm": Program(
        "vllm", "openai", "pip install vllm",
        f"docker run --gpus all --ipc=host -p 8000:8000 {CACHE} vllm/vllm-openai:latest --model {{model}} {{options}}",
        8000,
    ),
    "tgi": Program(
        "text-generation-launcher", "tgi", "see text-generation-inference's README",
        "docker run --gpus all --shm-size 1g -p 8080:80 -v ~/.cache/huggingface:/data "
        "ghcr.io/huggingface/text-generation-inference:3.3.6 --model-id {model} {options}",
        8080,
    ),
    "llama.cpp": Program(
        "llama-server", "openai", "see llama.cpp's README",
        f"docker run -p 8080:8080 {CACHE} -v $PWD:/models -w /models ghcr.io/ggml-org/llama.cpp:server "
        "--host 0.0.0.0 {model} {options}",
        8080,
    ),
}  # fmt: skip


def search_options(kind: str, max_concurrent_requests: int | None) -> list[str]:
    """
    What a server is told so that it fits a search: many requests at a time, which share their beginnings.

    Args:
        kind (`str`): One of `PROGRAMS`.
        max_concurrent_requests (`int`, *optional*): At a time.
    """
    if kind == "vllm":
        return ["--enable-prefix-caching", "--max-num-seqs", str(max_concurrent_requests or 64)]
    if kind == "tgi":  # prefixes are cached by default
        return ["--max-concurrent-requests", str(max_concurrent_requests or 128)]
    slots = max_concurrent_requests or 16
    return ["--parallel", str(slots), "--kv-unified", "--ctx-size", str(4096 * slots)]


def server_command(kind: str, model: str, port: int, options: Sequence[str]) -> list[str]:
    """
    The command that serves a model.

    Args:
        kind (`str`): One of `PROGRAMS`.
        model (`str`): Hub name or directory; for llama.cpp a `.gguf` file, or a Hub repository with such files.
        port (`int`): Where it listens, on this machine alone.
        options (`Sequence[str]`): Options besides.

    Raises:
        InvalidInputError: The program is unknown or not installed, or the model is none for it.
    """
    if kind not in PROGRAMS:
        raise InvalidInputError(f"serve={kind!r} is unknown: use one of {', '.join(PROGRAMS)}")
    program = PROGRAMS[kind]
    named = _model_options(kind, model)
    if shutil.which(program.executable) is None:
        container = program.container.format(
            model=shlex.join(named if kind == "llama.cpp" else [model]), options=shlex.join(options)
        )
        raise InvalidInputError(
            f"serve={kind!r} is not installed ({program.executable} is no command here): {program.install}; or run it "
            f"in a container, `{container}`, and give --engine {program.engine} --servers "
            f"http://localhost:{program.port} in place of --serve"
        )
    host = ["--hostname" if kind == "tgi" else "--host", HOST]
    return [program.executable, *named, *host, "--port", str(port), *options]


def _model_options(kind: str, model: str) -> list[str]:
    if kind == "vllm":
        return ["serve", model]
    if kind == "tgi":
        return ["--model-id", model]
    if not model.endswith(".gguf"):
        if Path(model).exists():
            raise InvalidInputError(f"serve: llama.cpp cannot load {model!r}: give a .gguf file that was made of it")
        return ["--hf-repo", model]
    if not Path(model).is_file():
        raise InvalidInputError(f"serve: there is no file {model!r}: give a .gguf file, or a Hub repository with one")
    return ["--model", model]


@contextlib.asynccontextmanager
async def run_server(command: Sequence[str], port: int, log: Path, start_timeout: float) -> AsyncIterator[str]:
    """
    A server that lives as long as the block; gives its base URL once it answers. When it dies it is started again.

    Args:
        command (`Sequence[str]`): Starts it.
        port (`int`): Where it will listen.
        log (`Path`): What it writes is appended to this file.
        start_timeout (`float`): Seconds that it may take to load.

    Raises:
        InvalidInputError: It ended before it answered, or took too long.
    """
    logger.warning("starting %s, and waiting up to %.0f s; what it writes is in %s", command[0], start_timeout, log)
    server = _Server(command, log)
    keeping = None
    try:
        with _stopped_as_by_the_keyboard():
            await server.start()
            await server.wait(port, start_timeout)
            keeping = asyncio.create_task(server.keep())
            yield f"http://{HOST}:{port}"
    finally:
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        await server.stop()


class _Server:
    """A process that may be another one later."""

    def __init__(self, command: Sequence[str], log: Path):
        self.command, self.log = command, log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            # In a session of its own: Ctrl-C is for the build, which stops it afterwards.
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    async def wait(self, port: int, start_timeout: float) -> None:
        deadline = time.monotonic() + start_timeout
        async with httpx.AsyncClient(timeout=5.0) as client:
            while time.monotonic() < deadline:
                if self.process.returncode is not None:
                    raise InvalidInputError(
                        f"serve: the server ended with {self.process.returncode} before it answered "
                        f"({self._last_line()}): see {self.log}"
                    )
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://{HOST}:{port}/health")).is_success:
                        return
                await asyncio.sleep(0.1)
        raise InvalidInputError(
            f"serve: the server did not answer within {start_timeout:g} s ({self._last_line()}): set start_timeout to "
            f"more, or see {self.log}"
        )

    async def keep(self) -> None:
        """Start it again whenever it dies, unless it does so at once again and again."""
        short_lives = 0
        while short_lives < SHORT_LIVES:
            started = time.monotonic()
            code = await self.process.wait()
            short_lives = short_lives + 1 if time.monotonic() - started < SHORT_LIFE else 1
            logger.warning("the server died (%s, %s): it is started again", code, self._last_line())
            await self.start()
        code = await self.process.wait()
        logger.warning("the server died %d times in a row (%s): see %s", short_lives + 1, code, self.log)

    async def stop(self) -> None:
        """With all processes that it has started."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.process.wait()
                    break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it left behind

    def _last_line(self) -> str:
        lines = self.log.read_bytes()[-4000:].decode(errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it wrote nothing")


@contextlib.contextmanager
def _stopped_as_by_the_keyboard() -> Iterator[None]:
    """A signal to end is taken as Ctrl-C, after which the server is stopped: else it would be left behind."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    except (NotImplementedError, RuntimeError, ValueError):  # not in the main thread, or not on this system
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return taken.getsockname()[1]
