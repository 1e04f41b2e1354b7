"""A process that runs the embedded engine: one line of JSON in for a request, one out for its completion.

It ends when its standard input does, so that it never outlives whoever started it. What it is asked, and by whom, is
the business of `local_replicas`.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import Any, TextIO

import psutil

from ..errors import ContextLengthError, EngineError, InvalidInputError
from .engine import Request
from .local import LocalEngine


async def serve(engine: LocalEngine, requests: asyncio.StreamReader, replies: TextIO) -> None:
    """Answer requests until there are no more; those that run then are dropped."""
    running: dict[int, asyncio.Task] = {}

    def reply(number: int, **what: Any) -> None:
        print(json.dumps({"number": number, **what}), file=replies, flush=True)

    async def answer(number: int, request: Request) -> None:
        try:
            reply(number, completion=asdict(await engine.generate(request)))
        except EngineError as error:
            reply(number, error=str(error), too_long=isinstance(error, ContextLengthError))
        finally:
            del running[number]

    while line := await requests.readline():
        message = json.loads(line)
        number = message["number"]
        if "request" in message:
            request = Request(**{**message["request"], "stop": tuple(message["request"]["stop"])})
            running[number] = asyncio.create_task(answer(number, request))
        elif number in running:
            running[number].cancel()
    for task in list(running.values()):
        task.cancel()


async def main() -> None:
    """Load the model that the first line names, say what it is, and serve it."""
    # What libraries print must not disturb the protocol.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    requests = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    try:
        engine = LocalEngine.from_pretrained(**json.loads(await requests.readline()))
    except InvalidInputError as error:
        print(json.dumps({"invalid": str(error)}), file=replies, flush=True)
        return
    about = {
        "identity": asdict(engine.identity),
        "parameters": engine.model.num_parameters(),
        "device": engine.model.device.type,
        "memory": psutil.Process().memory_info().rss,
    }
    print(json.dumps(about), file=replies, flush=True)
    await serve(engine, requests, replies)
    engine.close()


if __name__ == "__main__":
    asyncio.run(main())
