"""Durable memory of completions: the only thing that must survive a crash.

A search is deterministic given its completions, so resuming is replaying: requests that were answered before the crash
are answered from the journal, the rest are asked. SQLite with a write-ahead log; one small transaction a completion.
"""

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path

from ..errors import InvalidInputError
from .engine import Completion, Engine, EngineIdentity, Request


COST_PLACE = [f.name for f in fields(Completion)].index("cost")
TOTALS = f"SELECT COUNT(*), TOTAL(json_extract(completion, '$[{COST_PLACE}]')) FROM completions"  # noqa: S608


class Journal:
    """
    A journal file.

    Args:
        path (`Path`): The SQLite file; made if it does not exist.

    Raises:
        InvalidInputError: The file is not a journal.
    """

    def __init__(self, path: Path):
        self.seconds = 0.0  # spent in here
        self.asked = self.replayed = 0
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS completions (request BLOB PRIMARY KEY, completion TEXT) WITHOUT ROWID"
            )
            self._connection.execute("CREATE TABLE IF NOT EXISTS trees (problem TEXT PRIMARY KEY, record TEXT)")
            self.count, self.cost = self._connection.execute(TOTALS).fetchone()  # of all completions
        except sqlite3.DatabaseError as error:
            raise InvalidInputError(
                f"journal {str(path)!r} cannot be used ({error}): choose another directory"
            ) from error

    def find(self, key: bytes) -> Completion | None:
        """The completion of a request, if it was journaled."""
        started = time.perf_counter()
        row = self._connection.execute("SELECT completion FROM completions WHERE request = ?", (key,)).fetchone()
        self.seconds += time.perf_counter() - started
        return Completion(*json.loads(row[0])) if row else None

    def store(self, key: bytes, completion: Completion) -> None:
        """Journal a completion; it is safe when this returns."""
        started = time.perf_counter()
        values = json.dumps(list(asdict(completion).values()))
        self._connection.execute("INSERT OR IGNORE INTO completions VALUES (?, ?)", (key, values))
        self.count, self.cost = self.count + 1, self.cost + completion.cost
        self.seconds += time.perf_counter() - started

    def keys(self) -> set[bytes]:
        """Keys of all journaled requests."""
        return {key for (key,) in self._connection.execute("SELECT request FROM completions")}

    def find_tree(self, problem_id: str) -> dict | None:
        """The record of a finished tree. A shortcut only: the journal would give the same tree again."""
        row = self._connection.execute("SELECT record FROM trees WHERE problem = ?", (problem_id,)).fetchone()
        return json.loads(row[0]) if row else None

    def store_tree(self, problem_id: str, record: dict) -> None:
        """Keep the record of a finished tree, so that memory need not hold it."""
        started = time.perf_counter()
        self._connection.execute("INSERT OR REPLACE INTO trees VALUES (?, ?)", (problem_id, json.dumps(record)))
        self.seconds += time.perf_counter() - started

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class JournaledEngine:
    """
    An engine whose completions are journaled; requests that were answered before are not asked again.

    Args:
        engine ([`Engine`]): Who is asked.
        journal ([`Journal`]): Who remembers. May be shared by several engines.
        limited (`Callable`, *optional*): Gives a context for every request that is asked, as
            [`~engines.cost.CostLimit.request`].
    """

    def __init__(
        self, engine: Engine, journal: Journal, limited: Callable[[], AbstractAsyncContextManager] = nullcontext
    ):
        self.engine, self.journal, self._limited = engine, journal, limited
        self._in_flight: dict[bytes, asyncio.Future] = {}

    @property
    def identity(self) -> EngineIdentity:
        """That of the engine."""
        return self.engine.identity

    @property
    def remarks(self) -> dict[str, str]:
        """What was found out about the engine, besides its identity: part of the provenance alone."""
        return getattr(self.engine, "remarks", {})

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """That of the engine."""
        return self.engine.render_chat(messages)

    async def generate(self, request: Request) -> Completion:
        """Write one thought, from the journal if it is there; see [`Engine.generate`]."""
        key = request_key(self.identity, request)
        if completion := self.journal.find(key):
            self.journal.replayed += 1
            return completion
        if key in self._in_flight:  # the same request twice at once: ask once
            return await asyncio.shield(self._in_flight[key])
        future = self._in_flight[key] = asyncio.ensure_future(self._ask(key, request))
        try:
            return await future
        finally:
            self._in_flight.pop(key, None)

    async def _ask(self, key: bytes, request: Request) -> Completion:
        async with self._limited():
            completion = await self.engine.generate(request)
            self.journal.asked += 1
            self.journal.store(key, completion)
        return completion


def request_key(identity: EngineIdentity, request: Request) -> bytes:
    """What a request is remembered by: everything that its completion depends on."""
    asked = {name: value for name, value in asdict(request).items() if name != "chat_length"}  # only a hint
    content = json.dumps([asdict(identity), asked], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=16).digest()
