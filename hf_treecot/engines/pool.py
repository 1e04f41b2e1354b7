"""Several servers of one model as one engine: limits, retries, rest for the ailing, and fail-over.

Everything that decides which server is asked, when, and how often, is here and nowhere else. This module must not know
what the servers' protocols are.
"""

import asyncio
import contextlib
import hashlib
import logging
import math
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity import wait_random_exponential as random_wait

from ..errors import EnginesDownError, InvalidInputError, OverloadedError, RateLimitError, TransientEngineError
from .cost import Prices
from .engine import Completion, EngineIdentity, Request, Tell
from .replica import Connect, Replica, same_model


logger = logging.getLogger(__name__)
LEAST_PATIENCE = 1.0  # seconds for a server to say what it is
SAY_SECONDS = 30.0  # between two words on the same wait
LONG_WAIT = 10.0  # seconds that are worth a word
REMEMBERED_PREFIXES = 16_384  # trees whose server is remembered; far more than grow at the same time


@dataclass(frozen=True)
class PoolConfig:
    """
    How patient a pool is. Times are in seconds.

    Args:
        request_timeout (`float`): A request is given up after so long; the wait for a free slot does not count.
        max_attempts (`int`): How often a request is asked in all before its problem fails.
        backoff, max_backoff (`float`): Longest wait before the second attempt, doubled before every further one up to
            `max_backoff`; the wait itself is random, and never shorter than what the server asks for.
        failures_to_rest (`int`): A server that fails so often in a row is asked nothing for a while.
        rest, max_rest (`float`): How long; doubled up to `max_rest` as long as it does not come back.
        connect_timeout (`float`): For the requests by which a server shows that it works.
        start_timeout (`float`): How long to wait at the start for a first server to answer.
        join_timeout (`float`): How long to wait there for the others, after the first that works.
        max_outage (`float`): How long to wait when none can be used any more, before the build stops.
    """

    request_timeout: float = 600.0
    max_attempts: int = 8
    backoff: float = 0.5
    max_backoff: float = 30.0
    failures_to_rest: int = 5
    rest: float = 1.0
    max_rest: float = 60.0
    connect_timeout: float = 60.0
    start_timeout: float = 600.0
    join_timeout: float = 5.0
    max_outage: float = 1800.0

    def __post_init__(self):
        for name, minimum in (("max_attempts", 1), ("failures_to_rest", 1), ("start_timeout", 0), ("max_outage", 0)):
            if getattr(self, name) < minimum:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be at least {minimum}")
        for name in ("request_timeout", "backoff", "max_backoff", "rest", "max_rest", "connect_timeout"):
            if getattr(self, name) <= 0:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be above 0")


class EnginePool:
    """
    Some servers of one model as an engine. Made by [`EnginePool.connect`].

    Requests of one tree go to the same server while it is healthy, since it has their beginning in its cache.
    """

    def __init__(self, replicas: Sequence[Replica], config: PoolConfig, prices: Prices | None = None):
        self.replicas, self.config, self.prices = replicas, config, prices
        # That which tells most of itself: the identity must not depend on which servers are up.
        first = max((r.engine for r in replicas if r.up), key=lambda engine: sum(map(bool, astuple(engine.identity))))
        self.identity: EngineIdentity = first.identity
        self.tokenizer = first.tokenizer
        self.remarks: dict[str, str] = getattr(first, "remarks", {})
        self._homes: OrderedDict[bytes, Replica] = OrderedDict()
        self._changed = asyncio.Event()  # set when a replica comes back
        self._down_since: float | None = None  # when the last one went down
        self._probes: set[asyncio.Task] = set()

    @classmethod
    async def connect(
        cls, urls: Sequence[str], connect: Connect, config: PoolConfig, prices: Prices | None = None
    ) -> "EnginePool":
        """
        Connect to servers; those that do not answer yet join later.

        Args:
            urls (`Sequence[str]`): Their base URLs.
            connect (`Callable`): `await connect(url, tokenizer_or_none)` gives the engine of a server that works.
            config ([`PoolConfig`]): How patient the pool is.
            prices ([`~engines.cost.Prices`], *optional*): What completions cost.

        Raises:
            InvalidInputError: No URL, a URL that is given twice, no server that answers, a server that is not what it
                should be, or servers of several models.
        """
        if not urls or len(set(urls)) < len(urls):
            raise InvalidInputError(f"servers={list(urls)!r}: give at least one URL, and each only once")
        replicas = [Replica(url, connect, config.connect_timeout) for url in urls]
        deadline, said, said_at = time.monotonic() + config.start_timeout, "", 0.0
        while True:
            # Waiting is for servers that start: one that takes a request and never replies is waited for as long.
            patience = max(LEAST_PATIENCE, deadline - time.monotonic()) if config.start_timeout else math.inf
            await _connect_all(replicas, min(config.connect_timeout, patience), config.join_timeout)
            if any(replica.up for replica in replicas):
                break
            reasons = "; ".join(replica.reason for replica in replicas)
            if time.monotonic() >= deadline:
                raise InvalidInputError(f"no server can be used ({reasons}): check the URL, and start the server")
            if reasons != said or time.monotonic() - said_at > SAY_SECONDS:
                said, said_at = reasons, time.monotonic()
                logger.warning("waiting up to %.0f s for a server (%s)", deadline - time.monotonic(), reasons)
            await asyncio.sleep(min(2.0, max(0.0, deadline - time.monotonic())))
        pool = cls(replicas, config, prices)
        try:
            for replica in replicas:
                if not replica.up:
                    logger.warning("going on without %s until it answers: %s", replica.url, replica.reason)
                    pool._start_probe(replica)
                elif not same_model(pool.identity, replica.engine.identity):
                    raise InvalidInputError(
                        f"servers {replicas[0].url} and {replica.url} serve different models "
                        f"({pool.identity} and {replica.engine.identity}): give servers of one model"
                    )
        except BaseException:
            await pool.close()
            raise
        return pool

    @property
    def max_concurrent_requests(self) -> int:
        """Requests that all servers which are up take at the same time."""
        return sum(r.engine.limits.max_concurrent_requests for r in self.replicas if r.up)

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""
        return next(r.engine for r in self.replicas if r.engine).render_chat(messages)

    @property
    def streams(self) -> bool:
        """Whether all servers that are known tell what they write."""
        return all(getattr(r.engine, "streams", False) for r in self.replicas if r.engine)

    async def generate(self, request: Request, tell: Tell | None = None) -> Completion:
        """
        Write one thought; see [`Engine.generate`]. Only the first attempt is told while it is written.

        Raises:
            ContextLengthError: The prompt does not fit.
            EngineError: A server refuses the request, or all attempts failed.
            EnginesDownError: There has been no server for too long.
        """
        tried: list[Replica] = []
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientEngineError),
            stop=stop_after_attempt(self.config.max_attempts),
            wait=self._wait,
            reraise=True,
        )
        completion = await retrying(self._attempt, request, tried, tell)
        return replace(completion, cost=self.prices.of(completion)) if self.prices else completion

    def _wait(self, state: RetryCallState) -> float:
        jitter = random_wait(multiplier=self.config.backoff, max=self.config.max_backoff)(state)
        return max(jitter, state.outcome.exception().retry_after)

    async def _attempt(self, request: Request, tried: list[Replica], tell: Tell | None) -> Completion:
        while True:
            replica = await self._choose(request, tried[-1] if tried else None)
            replica.load += 1
            try:
                async with replica.slots:
                    await self._leave_alone(replica)
                    if replica.up:  # it may have gone down while this request waited for a slot
                        ask = partial(replica.engine.generate, request, *([tell] if tell and not tried else []))
                        tried.append(replica)
                        if completion := await self._ask_within(replica, ask):
                            return completion
            finally:
                replica.load -= 1

    async def _ask_within(self, replica: Replica, ask: Callable[[], Awaitable[Completion]]) -> Completion | None:
        """
        None if the server is well and the request is to be asked anew: it had no room for all that ran there, and half
        as many will, or it takes no more for a time.
        """
        limit, alone = replica.slots.limit, replica.slots.taken == 1
        try:
            return await self._ask(replica, ask)
        except OverloadedError as error:
            if limit == 1 and alone:  # it is not the number of requests
                self._note_failure(replica, error)
                raise
            if replica.slots.shrink(limit // 2):
                logger.warning("%s gets at most %d requests at a time: %s", replica.url, replica.slots.limit, error)
            return None
        except RateLimitError as error:
            now = time.monotonic()
            if error.retry_after > LONG_WAIT and replica.quiet_until < now:
                logger.warning("waiting %.0f s for %s: %s", error.retry_after, replica.url, error)
            replica.quiet_until, replica.reason = max(replica.quiet_until, now + error.retry_after), str(error)
            replica.limited_since = replica.limited_since or now
            return None

    async def _leave_alone(self, replica: Replica) -> None:
        """Wait as long as a server asks to be left alone; the build stops if that is too long."""
        while (seconds := replica.quiet) > 0:
            waited = time.monotonic() - (replica.limited_since or time.monotonic())
            if waited + seconds > self.config.max_outage:
                raise EnginesDownError(
                    f"{replica.reason}: it takes no request for {seconds:.0f} s more; run the same command again "
                    "then, nothing is lost"
                )
            await asyncio.sleep(seconds)

    async def _ask(self, replica: Replica, ask: Callable[[], Awaitable[Completion]]) -> Completion:
        engine = replica.engine
        try:
            async with asyncio.timeout(self.config.request_timeout):
                completion = await ask()
        except (OverloadedError, RateLimitError):
            raise
        except (TransientEngineError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                error = TransientEngineError(
                    f"server {replica.url} did not answer within {self.config.request_timeout:g} s"
                )
            if engine is replica.engine:  # else it has come back since
                self._note_failure(replica, error)
            raise error from None
        replica.failures, replica.rest, replica.limited_since = 0, 0.0, None
        return completion

    async def _choose(self, request: Request, failed: Replica | None) -> Replica:
        """The one that has the request's beginning in its cache, else the least busy; waits if all are down."""
        while not (up := [replica for replica in self.replicas if replica.up]):
            await self._wait_for_any()
        others = [replica for replica in up if replica is not failed] or up
        others = [replica for replica in others if replica.quiet <= 0] or others
        least_busy = min(others, key=lambda replica: replica.share)
        if not request.chat_length:
            return least_busy
        prefix = hashlib.blake2b(request.prompt[: request.chat_length].encode(), digest_size=16).digest()
        home = self._homes.pop(prefix, None)
        if home is None or not home.up:
            home = least_busy
        self._homes[prefix] = home  # the latest at the end
        if len(self._homes) > REMEMBERED_PREFIXES:
            self._homes.popitem(last=False)
        return home if home in others else least_busy

    async def _wait_for_any(self) -> None:
        left = self._down_since + self.config.max_outage - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.0)):
                await self._changed.wait()
                return
        if not any(replica.up for replica in self.replicas):
            reasons = "; ".join(replica.reason for replica in self.replicas)
            raise EnginesDownError(
                f"no server could be used for {self.config.max_outage:g} s ({reasons}): "
                "start one and run the same command again, nothing is lost"
            )

    def _note_failure(self, replica: Replica, error: TransientEngineError) -> None:
        replica.failures += 1
        replica.reason = str(error)
        if replica.up and replica.failures >= self.config.failures_to_rest:
            replica.up = False
            replica.rest = max(replica.rest, error.retry_after)
            if any(other.up for other in self.replicas):
                logger.warning("%s failed %d times in a row and rests: %s", replica.url, replica.failures, error)
            else:
                self._down_since = time.monotonic()
                self._changed.clear()
                logger.warning(
                    "every server is down; waiting up to %.0f s for one to come back: %s",
                    self.config.max_outage,
                    error,
                )
            self._start_probe(replica)

    def _start_probe(self, replica: Replica) -> None:
        task = asyncio.create_task(self._probe(replica))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        """Let a replica rest until it works again. Only a real request's success shortens its rest again."""
        while not replica.up:
            await asyncio.sleep(max(replica.rest, self.config.rest) * random.uniform(0.75, 1.25))
            replica.rest = min(max(2 * replica.rest, self.config.rest), self.config.max_rest)
            try:
                await replica.connect(self.tokenizer, self.identity)
            except InvalidInputError as error:  # it has come back as something else
                replica.reason = str(error)
                logger.warning("%s is of no use any more: %s", replica.url, error)
                continue
            except Exception as error:  # whatever a broken server leads to: it may be mended
                replica.reason = f"server {replica.url} cannot be used ({type(error).__name__}: {error})"
                logger.warning("%s", replica.reason, exc_info=True)
                continue
            if replica.up:
                logger.warning("%s is back", replica.url)
                self._changed.set()

    async def close(self) -> None:
        """End the probes and close all connections."""
        for task in list(self._probes):
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        for replica in self.replicas:
            await replica.close()


async def _connect_all(replicas: Sequence[Replica], limit: float, join_timeout: float) -> None:
    """Connect to all; once one works, those that take much longer are left to be probed."""
    tasks = {asyncio.create_task(replica.connect(limit=limit)) for replica in replicas}
    pending = tasks
    while pending and not any(replica.up for replica in replicas):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    if pending:
        _, pending = await asyncio.wait(pending, timeout=join_timeout)
    for task in pending:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
