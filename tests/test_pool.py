import asyncio
import logging
import time
from dataclasses import replace

import pytest

from hf_treecot.engines.engine import Completion, EngineIdentity, Request
from hf_treecot.engines.pool import EnginePool, PoolConfig
from hf_treecot.engines.server import ServerLimits
from hf_treecot.errors import (
    ContextLengthError,
    EngineError,
    EnginesDownError,
    InvalidInputError,
    OverloadedError,
    TransientEngineError,
)

from .worlds import until


REQUEST = Request("tree 0: go on", (), 10, 0.7, 0.9, 1, chat_length=6)
FAST = PoolConfig(
    request_timeout=0.2, backoff=0.001, max_backoff=0.01, failures_to_rest=3, rest=0.02, max_rest=0.1,
    connect_timeout=0.3, start_timeout=0.0, max_outage=0.5,
)  # fmt: skip


class Fleet:
    """Servers without sockets: each does what `behaviour` says of it, a function of the request or an exception."""

    def __init__(self, *urls, slots=2, seconds=0.0):
        self.behaviour = dict.fromkeys(urls)
        self.models = dict.fromkeys(urls, "m")
        self.told = {url: {} for url in urls}
        self.slots, self.seconds = slots, seconds
        self.asked = {url: [] for url in urls}
        self.connected = dict.fromkeys(urls, 0)
        self.running = dict.fromkeys(urls, 0)
        self.most_running = dict(self.running)
        self.closed = 0

    async def connect(self, url, tokenizer):
        self.connected[url] += 1
        server = _Server(self, url)
        await server._behave()
        return server

    async def pool(self, config=FAST):
        return await EnginePool.connect(list(self.behaviour), self.connect, config)


class _Server:
    tokenizer = "tokenizer"

    def __init__(self, fleet, url):
        self.fleet, self.url = fleet, url
        self.identity = EngineIdentity("fleet", fleet.models[url], **fleet.told[url])
        self.limits = ServerLimits(fleet.slots)

    async def _behave(self):
        behaviour = self.fleet.behaviour[self.url]
        if behaviour == "wedge":
            await asyncio.sleep(3600)
        if isinstance(behaviour, Exception):
            raise behaviour
        if callable(behaviour) and (error := behaviour()):
            raise error

    async def generate(self, request):
        fleet, url = self.fleet, self.url
        fleet.asked[url].append(request)
        fleet.running[url] += 1
        fleet.most_running[url] = max(fleet.most_running[url], fleet.running[url])
        try:
            await self._behave()
            await asyncio.sleep(fleet.seconds)
        finally:
            fleet.running[url] -= 1
        return Completion(f"{url} {request.seed}", "stop", 1, 1)

    async def close(self):
        self.fleet.closed += 1


def some(count, trees=1):
    return [replace(REQUEST, prompt=f"tree {i % trees}: go on", seed=i) for i in range(count)]


async def ask(pool, requests):
    return await asyncio.gather(*(pool.generate(request) for request in requests), return_exceptions=True)


def down(message="no connection"):
    return TransientEngineError(message)


async def test_slots_are_respected_and_waiting_is_not_timed():
    fleet = Fleet("a", slots=2, seconds=0.1)
    pool = await fleet.pool()
    results = await ask(pool, some(10))  # half a second in all, a timeout of 0.2
    assert all(isinstance(result, Completion) for result in results)
    assert fleet.most_running == {"a": 2}
    assert pool.max_concurrent_requests == 2
    await pool.close()


async def test_requests_of_a_tree_go_to_one_server_and_trees_are_spread():
    fleet = Fleet("a", "b", slots=64, seconds=0.01)
    pool = await fleet.pool()
    for _ in range(5):
        await ask(pool, some(40, trees=10))
    homes = {url: {request.prompt for request in asked} for url, asked in fleet.asked.items()}
    assert not homes["a"] & homes["b"]
    assert len(homes["a"]) == len(homes["b"]) == 5
    await pool.close()


async def test_a_failing_request_is_asked_again_elsewhere_and_its_tree_stays():
    fleet = Fleet("a", "b", slots=8)
    pool = await fleet.pool()
    home = (await pool.generate(REQUEST)).text[0]
    other = "b" if home == "a" else "a"
    failures = [down()]
    fleet.behaviour[home] = lambda: failures.pop() if failures else None
    assert (await pool.generate(REQUEST)).text[0] == other
    assert (await pool.generate(REQUEST)).text[0] == home
    await pool.close()


async def test_attempts_are_bounded():
    fleet = Fleet("a")
    pool = await fleet.pool(replace(FAST, max_attempts=4, failures_to_rest=100))
    fleet.behaviour["a"] = down("said 500")
    with pytest.raises(TransientEngineError, match="said 500"):
        await pool.generate(REQUEST)
    assert len(fleet.asked["a"]) == 4
    await pool.close()


@pytest.mark.parametrize("error", [ContextLengthError("too long"), EngineError("said 422: bad parameter")])
async def test_what_will_not_work_is_not_asked_again(error):
    fleet = Fleet("a", "b")
    pool = await fleet.pool()
    fleet.behaviour = {"a": error, "b": error}
    with pytest.raises(type(error), match=str(error)):
        await pool.generate(REQUEST)
    assert sum(map(len, fleet.asked.values())) == 1
    await pool.close()


async def test_retry_after_is_honoured():
    fleet = Fleet("a")
    pool = await fleet.pool()
    errors = [TransientEngineError("said 429", retry_after=0.15)]
    fleet.behaviour["a"] = lambda: errors.pop() if errors else None
    started = time.monotonic()
    await pool.generate(REQUEST)
    assert time.monotonic() - started >= 0.15
    await pool.close()


async def test_a_server_that_fails_rests_and_comes_back(caplog):
    fleet = Fleet("a", "b", slots=8)
    pool = await fleet.pool()
    await ask(pool, some(8, trees=4))
    fleet.behaviour["a"] = down()
    results = await ask(pool, some(40, trees=4))
    assert all(result.text.startswith("b") for result in results)
    while_down = len(fleet.asked["a"])
    await ask(pool, some(40, trees=4))
    assert len(fleet.asked["a"]) == while_down  # it rests
    assert "a failed 3 times in a row and rests: no connection" in caplog.text
    fleet.behaviour["a"] = None
    await until(lambda: "a is back" in caplog.text)
    await ask(pool, some(40, trees=40))
    assert len(fleet.asked["a"]) > while_down
    await pool.close()


async def test_a_wedged_server_costs_timeouts_only():
    fleet = Fleet("a", "b", slots=4)
    pool = await fleet.pool()
    fleet.behaviour["a"] = "wedge"
    results = await ask(pool, some(60, trees=20))
    assert all(isinstance(result, Completion) for result in results)
    assert len(fleet.asked["a"]) <= 4 + FAST.failures_to_rest  # one slotful
    await pool.close()


async def test_with_all_servers_down_it_waits_visibly_and_goes_on(caplog):
    fleet = Fleet("a", "b")
    pool = await fleet.pool()
    fleet.behaviour = {"a": down(), "b": down()}
    waiting = asyncio.create_task(ask(pool, some(10)))
    await until(lambda: "every server is down; waiting up to 0 s for one to come back" in caplog.text)
    assert not waiting.done()
    fleet.behaviour = {"a": None, "b": None}
    assert all(isinstance(result, Completion) for result in await waiting)
    await pool.close()


async def test_with_all_servers_down_for_too_long_it_stops():
    fleet = Fleet("a")
    pool = await fleet.pool()
    fleet.behaviour["a"] = down("refused")
    started = time.monotonic()
    results = await ask(pool, some(6))
    assert {type(result) for result in results} == {EnginesDownError}
    assert "no server could be used for 0.5 s (refused)" in str(results[0])
    assert time.monotonic() - started > 0.4
    await pool.close()


async def test_a_server_that_is_down_at_the_start_joins_later(caplog):
    fleet = Fleet("a", "b", slots=1)
    fleet.behaviour["b"] = down()
    pool = await fleet.pool()
    assert pool.max_concurrent_requests == 1
    assert "going on without b until it answers: no connection" in caplog.text
    fleet.behaviour["b"] = None
    await until(lambda: pool.max_concurrent_requests == 2)
    await pool.close()


async def test_the_start_does_not_wait_for_a_wedged_server(caplog):
    fleet = Fleet("a", "b")
    fleet.behaviour["a"] = "wedge"
    async with asyncio.timeout(30):  # half of what the server that hangs is given
        pool = await fleet.pool(replace(FAST, connect_timeout=60, join_timeout=0.05))
    assert "going on without a until it answers: server a has not answered yet" in caplog.text
    assert (await pool.generate(REQUEST)).text.startswith("b")
    await pool.close()


async def test_the_start_waits_for_a_slow_server(caplog):
    fleet = Fleet("a")
    fleet.behaviour["a"] = down("said 503: loading")
    starting = asyncio.create_task(fleet.pool(replace(FAST, start_timeout=10)))
    await until(lambda: "waiting up to 10 s for a server (said 503: loading)" in caplog.text)
    fleet.behaviour["a"] = None
    pool = await starting
    await pool.close()


async def test_a_long_wait_is_said_once_for_each_reason(caplog, monkeypatch):
    async def at_once(seconds):
        await asyncio.wait([asyncio.create_task(_nothing())])

    fleet = Fleet("a")
    reasons = [down("no connection")] * 3 + [down("said 503: Loading model")] * 4
    fleet.behaviour["a"] = lambda: reasons.pop(0) if reasons else None
    monkeypatch.setattr("hf_treecot.engines.pool.asyncio.sleep", at_once)
    pool = await fleet.pool(replace(FAST, start_timeout=600))
    await pool.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting up to 600 s for a server ({reason})" for reason in ("no connection", "said 503: Loading model")
    ]


async def _nothing():
    return None


@pytest.mark.parametrize("limit", [8, 2])
async def test_overload_halves_what_runs_and_is_no_failure(limit, caplog):
    fleet = Fleet("a", slots=limit, seconds=0.001)
    pool = await fleet.pool(replace(FAST, max_attempts=1, failures_to_rest=1))
    fleet.behaviour["a"] = lambda: OverloadedError("said 500") if fleet.running["a"] > 1 else None
    results = await ask(pool, some(30))
    assert all(isinstance(result, Completion) for result in results)
    assert pool.replicas[0].slots.limit == 1
    assert [record.getMessage() for record in caplog.records][-1] == "a gets at most 1 requests at a time: said 500"
    await pool.close()


async def test_overload_by_a_single_request_is_a_failure():
    fleet = Fleet("a", slots=1)
    pool = await fleet.pool(replace(FAST, max_attempts=3, failures_to_rest=100))
    fleet.behaviour["a"] = OverloadedError("said 500")
    with pytest.raises(OverloadedError):
        await pool.generate(REQUEST)
    assert len(fleet.asked["a"]) == 3
    await pool.close()


async def test_a_server_that_never_replies_is_waited_for_no_longer_than_was_said():
    fleet = Fleet("a")
    fleet.behaviour["a"] = "wedge"
    async with asyncio.timeout(30):  # half of what a connection may take
        with pytest.raises(InvalidInputError, match="server a did not answer within 1 s"):
            await fleet.pool(replace(FAST, connect_timeout=60, start_timeout=0.5))


async def test_no_server_at_the_start():
    fleet = Fleet("a", "b")
    fleet.behaviour = {"a": down("refused"), "b": "wedge"}
    with pytest.raises(InvalidInputError) as error:
        await fleet.pool()
    assert "no server can be used (refused; server b did not answer within 0.3 s): check the URL" in str(error.value)
    for urls in ([], ["a", "a"]):
        with pytest.raises(InvalidInputError, match="at least one URL, and each only once"):
            await EnginePool.connect(urls, fleet.connect, FAST)


async def test_servers_of_different_models():
    fleet = Fleet("a", "b")
    fleet.models["b"] = "other"
    with pytest.raises(InvalidInputError, match="servers a and b serve different models"):
        await fleet.pool()
    assert fleet.closed == 2


async def test_a_server_that_comes_back_as_another_model_is_not_used(caplog):
    fleet = Fleet("a", "b")
    pool = await fleet.pool()
    fleet.behaviour["a"], fleet.models["a"] = down(), "other"
    await ask(pool, some(20, trees=10))
    before = len(fleet.asked["a"])
    fleet.behaviour["a"] = None
    await until(lambda: "a is of no use any more: server a serves" in caplog.text)
    await ask(pool, some(20, trees=20))
    assert len(fleet.asked["a"]) == before
    await pool.close()


async def test_a_probe_survives_everything(caplog):
    fleet = Fleet("a", "b")
    pool = await fleet.pool()
    fleet.behaviour["a"] = down()
    await ask(pool, some(20, trees=10))
    fleet.behaviour["a"] = KeyError("max_total_tokens")  # what a server sent was not what any client reads
    await until(lambda: "cannot be used (KeyError" in caplog.text)
    fleet.behaviour["a"] = None
    await until(lambda: "a is back" in caplog.text)
    await pool.close()


async def test_servers_of_different_precision_are_different_but_those_of_other_versions_are_not():
    fleet = Fleet("a", "b")
    fleet.told = {"a": {"dtype": "bfloat16", "version": "1"}, "b": {"version": "2"}}
    pool = await fleet.pool()
    assert pool.identity.dtype == "bfloat16"  # that which tells most
    await pool.close()
    fleet.told["b"]["dtype"] = "float32"
    with pytest.raises(InvalidInputError, match="serve different models"):
        await fleet.pool()


async def test_cancelled_requests_free_their_slots():
    fleet = Fleet("a", slots=1)
    pool = await fleet.pool(replace(FAST, request_timeout=60))
    fleet.behaviour["a"] = "wedge"
    task = asyncio.create_task(ask(pool, some(3)))
    await until(lambda: fleet.asked["a"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    fleet.behaviour["a"] = None
    assert isinstance(await pool.generate(REQUEST), Completion)
    assert pool.replicas[0].load == 0
    await pool.close()


async def test_memory_of_prefixes_is_bounded(monkeypatch):
    monkeypatch.setattr("hf_treecot.engines.pool.REMEMBERED_PREFIXES", 10)
    fleet = Fleet("a", "b", slots=64)
    pool = await fleet.pool()
    await ask(pool, some(200, trees=9) + [replace(REQUEST, prompt=f"{i:06}") for i in range(100)])
    assert len(pool._homes) == 10
    await pool.close()


@pytest.mark.parametrize(("name", "value"), [("max_attempts", 0), ("request_timeout", 0.0), ("max_outage", -1)])
def test_bad_settings(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}={value} is out of range"):
        PoolConfig(**{name: value})


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.WARNING)


async def test_only_a_first_attempt_is_told_while_it_is_written():
    fleet, told = Fleet("a", "b"), []

    class Telling(_Server):
        streams = True

        async def generate(self, request, tell=None):
            if tell is not None:
                tell("half of ", 1)
            return await super().generate(request)

    async def connect(url, tokenizer):
        return Telling(fleet, url)

    pool = await EnginePool.connect(["a", "b"], connect, FAST)
    assert pool.streams
    fleet.behaviour["a"] = down()
    completion = await pool.generate(REQUEST, lambda text, tokens: told.append(text))
    assert completion.text == "b 1"
    assert told == ["half of "]
    await pool.close()
    pool = await Fleet("a").pool()
    assert not pool.streams
    await pool.close()
