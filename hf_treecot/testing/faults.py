"""What goes wrong on a loopback server, on purpose."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response, StreamingResponse


# wedge: never answers; reset: the connection breaks in the middle of the body; garbage: no JSON; overloaded: 429, with
# Retry-After if later; error: 500; truncated: the text lacks its end; stop_missing: the closing tag is not there.
KINDS = ("wedge", "reset", "garbage", "overloaded", "overloaded_later", "error", "truncated", "stop_missing")


@dataclass
class Faults:
    """
    Which requests fail and how.

    Args:
        rate (`float`): Share of the generation requests that fail.
        kinds (`tuple[str]`): In which ways, each as likely as the others.
        seed (`int`): Of the draws.
        wedge_after (`int`, *optional*): So many generation requests are answered, and never one more.
        slow_start (`float`): Seconds from now during which everything is 503.
        counts (`dict`): How many of each kind there were.
    """

    rate: float = 0.0
    kinds: tuple[str, ...] = KINDS
    seed: int = 0
    wedge_after: int | None = None
    slow_start: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self._rng = random.Random(self.seed)
        self._ready = time.monotonic() + self.slow_start
        self._asked = 0

    @property
    def starting(self) -> bool:
        """Whether everything is 503 yet."""
        return time.monotonic() < self._ready

    def draw(self) -> str:
        """How the next request fails; empty if it does not."""
        self._asked += 1
        if self.wedge_after is not None and self._asked > self.wedge_after:
            return "wedge"
        if self._rng.random() >= self.rate:
            return ""
        kind = self._rng.choice(self.kinds)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return kind

    def take_back(self, kind: str) -> None:
        """Do not count a fault that changed nothing."""
        self.counts[kind] -= 1

    async def response(self, kind: str, overloaded: dict, error: dict) -> Response | None:
        """The answer to a request that fails; None if the fault is in the text."""
        if kind == "wedge":
            await asyncio.sleep(3600)
        if kind == "reset":

            async def broken():
                yield b'{"generated_text": "half of'
                raise ConnectionResetError

            return StreamingResponse(broken(), headers={"content-length": "1000"}, media_type="application/json")
        if kind == "garbage":
            return Response(b'{"generated_text": "x", \xff\xfe', media_type="application/json")
        if kind == "overloaded":
            return JSONResponse(overloaded, status_code=429)
        if kind == "overloaded_later":
            return JSONResponse(overloaded, status_code=429, headers={"retry-after": "1"})
        if kind == "error":
            return JSONResponse(error, status_code=500)
        return None
