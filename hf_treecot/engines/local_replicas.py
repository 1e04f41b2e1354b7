"""The embedded engine in processes of its own: copies of one model, the replicas of a pool.

A process of its own has the model do its work while the search, in this one, does the search's; several use several
cores, which a small model alone does not. Texts are those of one engine in this process, whatever their number.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import psutil

from ..errors import ContextLengthError, EngineError, InvalidInputError, TransientEngineError
from .chat_template import render_messages
from .engine import SMALL_MODEL, Completion, EngineIdentity, Request
from .pool import EnginePool, PoolConfig
from .server import ServerLimits, load_tokenizer


class LocalWorker:
    """
    A process with a [`~local.LocalEngine`], as a server of a pool. Made by [`LocalWorker.start`].

    Args:
        process (`asyncio.subprocess.Process`): As it was started.
        about (`Mapping`): What it says of its model.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): The model's.
        limits ([`~server.ServerLimits`]): How many requests it works on at the same time.
    """

    def __init__(self, process, about: Mapping[str, Any], tokenizer, limits: ServerLimits):
        self.about, self.tokenizer, self.limits = about, tokenizer, limits
        self.identity = EngineIdentity(**about["identity"])
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, options: Mapping[str, Any], tokenizer=None) -> "LocalWorker":
        """
        Start a process and wait until its model is loaded.

        Args:
            options (`Mapping`): Arguments of [`~local.LocalEngine.from_pretrained`].
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.

        Raises:
            InvalidInputError: The model cannot be loaded.
            TransientEngineError: The process died.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "hf_treecot.engines.local_worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
            # -P: a file json.py of the working directory is not imported. Ctrl-C is this process's business.
            start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            process.stdin.write(json.dumps(options).encode() + b"\n")
            line = await process.stdout.readline()
            if not line:
                raise TransientEngineError(f"a process of model {options['name_or_path']!r} died while it was loaded")
            about = json.loads(line)
            if "invalid" in about:
                raise InvalidInputError(about["invalid"])
            tokenizer = tokenizer or load_tokenizer(
                options["name_or_path"], options.get("trust_remote_code", False), revision=options.get("revision")
            )
        except BaseException:
            await _end(process)
            raise
        return cls(process, about, tokenizer, ServerLimits(options["max_batch_size"]))

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""
        return render_messages(self.tokenizer, messages)

    async def generate(self, request: Request) -> Completion:
        """
        Write one thought; see [`Engine.generate`].

        Raises:
            ContextLengthError: The prompt leaves no room in the model's context.
            EngineError: The model failed.
            TransientEngineError: The process died.
        """
        if self._reader.done():
            raise self._died()
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(number=number, request=asdict(request))
        try:
            return await answer
        except asyncio.CancelledError:
            self._send(number=number)
            raise
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """End the process; requests that still run are dropped."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await _end(self._process)

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(ConnectionError):  # a process that died is seen by who reads from it
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        try:
            while line := await self._process.stdout.readline():
                reply = json.loads(line)
                answer = self._waiting.get(reply["number"])
                if answer is None or answer.done():
                    continue  # who asked has left
                if "completion" in reply:
                    answer.set_result(Completion(**reply["completion"]))
                else:
                    kind = ContextLengthError if reply["too_long"] else EngineError
                    answer.set_exception(kind(reply["error"]))
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._died())

    def _died(self) -> TransientEngineError:
        return TransientEngineError(f"a process of model {self.identity.model!r} died (out of memory?)")


async def open_replicas(options: Mapping[str, Any], count: int | None = None) -> EnginePool:
    """
    Copies of a model in processes of their own, as one engine. One that dies is started again, and nothing is lost.

    Args:
        options (`Mapping`): Arguments of [`~local.LocalEngine.from_pretrained`].
        count (`int`, *optional*): How many. By default one a core for a small model on a CPU, else one.

    Raises:
        InvalidInputError: The model cannot be loaded, or there is no memory for so many.
    """
    first = await LocalWorker.start(options)
    try:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        small = first.about["device"] == "cpu" and first.about["parameters"] < SMALL_MODEL
        room = 1 + psutil.virtual_memory().available // first.about["memory"]
        if count is None:
            count = min(cores, room) if small else 1
        if count > room:
            raise InvalidInputError(
                f"replicas={count} do not fit: one takes {first.about['memory'] / 2**20:.0f} MiB, and there is memory "
                f"for {room}"
            )
        if first.about["device"] == "cpu" and not small and count > 1:
            options = {**options, "num_threads": max(1, cores // count)}
            await first.close()
            first = await LocalWorker.start(options, first.tokenizer)
    except BaseException:
        await first.close()
        raise
    names = [f"{first.identity.model} (process {i + 1} of {count})" for i in range(count)]
    started = {names[0]: first}

    async def connect(name: str, tokenizer) -> LocalWorker:
        return started.pop(name, None) or await LocalWorker.start(options, tokenizer or first.tokenizer)

    # A model takes as long to be loaded, and to write, as it takes.
    hour = 3600.0
    patience = PoolConfig(
        request_timeout=24 * hour, connect_timeout=hour, start_timeout=0.0, join_timeout=hour, max_outage=60.0
    )
    return await EnginePool.connect(names, connect, patience)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have died by itself
        process.kill()
    await process.wait()
