"""Sending a reply while it is made, and noticing that nobody reads it any more."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from .refusals import RefusalError


SEND_SECONDS = 60.0  # a client that reads nothing for so long has left
Result = TypeVar("Result")


class Sender:
    """
    What is sent of one reply: JSON, or server-sent events as they are put.

    Args:
        send (`Callable`): ASGI's.
        headers (`Mapping[str, str]`): Of the reply.
    """

    def __init__(self, send: Callable[[Any], Awaitable[None]], headers: Mapping[str, str]):
        self._send = send
        self._headers = {"cache-control": "no-store", **headers}
        self._waiting: list[bytes] = []
        self._more = asyncio.Event()
        self._is_stream = self._started = False
        self.is_over = False  # the end is on its way: a client that leaves now has been answered

    def put(self, content: Any) -> None:
        """The whole reply, to be sent at the end."""
        self._waiting.append(_json(content))

    def put_event(self, content: Any) -> None:
        """An event to be sent as soon as can be; None says that there is no more."""
        self._is_stream = True
        data = b"[DONE]" if content is None else _json(content)
        self._waiting.append(b"data: " + data + b"\n\n")
        self._more.set()

    async def while_sending(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Work, and send the events that it puts meanwhile."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._more.set())
        try:
            while not task.done():
                await self._more.wait()
                self._more.clear()
                if self._waiting:
                    await self._flush()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def end(self) -> None:
        """Send what there is, and close."""
        await self._flush(is_last=True)

    async def refuse(self, error: RefusalError) -> None:
        """An error: a reply of its own, or, within a stream that has begun, its last event."""
        if self._started:
            self.put_event(error.body)
        else:
            self._waiting, self._is_stream = [_json(error.body)], False
            if error.retry_after is not None:
                self._headers["retry-after"] = str(error.retry_after)
        await self._flush(is_last=True, status=error.status)

    async def _flush(self, is_last: bool = False, status: int = 200) -> None:
        body, self._waiting = b"".join(self._waiting), []
        self.is_over = is_last
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if not self._started:
                    await self._start(status, len(body) if is_last else None)
                await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})
        except TimeoutError:
            raise ConnectionError("the client reads nothing") from None

    async def _start(self, status: int, length: int | None) -> None:
        self._started = True
        kind = "text/event-stream; charset=utf-8" if self._is_stream else "application/json"
        headers = {**self._headers, "content-type": kind}
        if length is not None:
            headers["content-length"] = str(length)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


async def until_gone(
    receive: Callable[[], Awaitable[Any]], work: Coroutine[Any, Any, Result], sender: Sender
) -> Result | None:
    """
    Work as long as the client is there. When it leaves, the work is cancelled, and all that it asked of engines.

    Args:
        receive (`Callable`): ASGI's, after the request's body was read.
        work (`Coroutine`): What ends by sending the reply.
        sender ([`Sender`]): By which it is sent.

    Returns:
        What the work gives; None if the client has left.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sender.is_over:
            await working
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
