"""One server of a pool: its engine, its slots, and what is known of its health."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..errors import EngineError, InvalidInputError, TransientEngineError
from .engine import Engine, EngineIdentity
from .server import ServerLimits


class ServerEngine(Engine, Protocol):
    """An engine that is one server."""

    tokenizer: Any
    limits: ServerLimits

    async def close(self) -> None:
        """Close the connections."""


Connect = Callable[[str, Any], Awaitable[ServerEngine]]


class Slots(asyncio.Semaphore):
    """
    A server's slots, some of which can be taken away.

    Args:
        limit (`int`): How many.
    """

    def __init__(self, limit: int):
        super().__init__(limit)
        self.limit = limit
        self.taken = 0
        self._surplus = 0  # to be taken away as soon as they are free

    def shrink(self, limit: int) -> bool:
        """Leave at most so many, and at least one; tells whether it had more."""
        limit = max(1, limit)
        more = self.limit > limit
        if more:
            self._surplus += self.limit - limit
            self.limit = limit
        return more

    async def acquire(self) -> bool:
        """Wait for a free slot and take it."""
        taken = await super().acquire()
        self.taken += 1
        return taken

    def release(self) -> None:
        """Free a slot."""
        self.taken -= 1
        if self._surplus:
            self._surplus -= 1
        else:
            super().release()


class Replica:
    """
    A server, whether it can be used or not.

    Args:
        url (`str`): Its base URL.
        connect (`Callable`): `await connect(url, tokenizer_or_none)` gives the engine of a server that works.
        connect_timeout (`float`): Seconds after which it does not work.
    """

    def __init__(self, url: str, connect: Connect, connect_timeout: float):
        self.url = url
        self._connect, self._connect_timeout = connect, connect_timeout
        self.engine: ServerEngine | None = None
        self.slots: Slots | None = None
        self.up = False
        self.load = 0  # requests that run or wait for a slot
        self.failures = 0  # in a row
        self.rest = 0.0  # seconds that it is to be left alone when it goes down
        self.quiet_until = 0.0  # by its own word it takes no request before this moment
        self.limited_since: float | None = None  # since when it has taken none, and only said when it will
        self.reason = f"server {url} has not answered yet"
        self._retired: list[ServerEngine] = []  # requests may still run on them

    @property
    def share(self) -> float:
        """How busy it is."""
        return self.load / self.slots.limit

    @property
    def quiet(self) -> float:
        """Seconds that it asks to be left alone."""
        return max(self.quiet_until, getattr(self.engine, "quiet_until", 0.0)) - time.monotonic()

    async def connect(
        self, tokenizer: Any = None, identity: EngineIdentity | None = None, limit: float | None = None
    ) -> None:
        """
        Use the server from now on if it works; otherwise note the reason.

        Args:
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.
            identity ([`EngineIdentity`], *optional*): What it must be.
            limit (`float`, *optional*): Seconds; instead of those that every connection has.

        Raises:
            InvalidInputError: It is not what it should be.
        """
        limit = self._connect_timeout if limit is None else limit
        try:
            async with asyncio.timeout(limit):
                engine = await self._connect(self.url, tokenizer)
        except TimeoutError:
            self.reason = f"server {self.url} did not answer within {limit:g} s"
            return
        except TransientEngineError as error:
            self.reason, self.rest = str(error), max(self.rest, error.retry_after)
            return
        except EngineError as error:
            raise InvalidInputError(f"{error}: it refuses even a small request") from None
        if identity is not None and not same_model(identity, engine.identity):
            await engine.close()
            raise InvalidInputError(f"server {self.url} serves {engine.identity} and not {identity}")
        if self.engine is not None:
            self._retired.append(self.engine)
        self.engine, self.up, self.failures = engine, True, 0
        self.slots = self.slots or Slots(engine.limits.max_concurrent_requests)

    async def close(self) -> None:
        """Close all connections."""
        for engine in [*self._retired, self.engine]:
            if engine is not None:
                await engine.close()


def same_model(one: EngineIdentity, other: EngineIdentity) -> bool:
    """Whether two servers serve the same model, as far as they tell. Versions may differ: one is updated first."""
    weights = [(getattr(one, name), getattr(other, name)) for name in ("revision", "dtype", "quantization")]
    same_weights = all(mine == theirs or not (mine and theirs) for mine, theirs in weights)
    same_way = (one.engine, one.model, one.thoughts) == (other.engine, other.model, other.thoughts)
    return same_way and same_weights
