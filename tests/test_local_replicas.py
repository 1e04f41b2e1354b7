import asyncio
import os
import signal
from dataclasses import replace

import pytest

from hf_treecot.engines import local_replicas
from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.engines.local_replicas import LocalWorker, open_replicas
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError, TransientEngineError

from .tiny_models import save_tiny


pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    save_tiny(directory)
    return {"name_or_path": str(directory), "dtype": "float64", "max_batch_size": 8}


def requests(count=12):
    return [Request(f"Count {i}: ", (), 6 + i, 1.0, 0.9, i, chat_length=6) for i in range(count)]


def told(completions):
    """All but the last bits of sums, which depend on the batch."""
    return [replace(c, log_probability=round(c.log_probability, 9)) for c in completions]


async def test_replicas_write_what_one_engine_in_this_process_writes(options):
    engine, replicas = LocalEngine.from_pretrained(**options), await open_replicas(options, 2)
    try:
        assert replicas.identity == engine.identity
        assert replicas.render_chat([{"role": "user", "content": "hi"}]) == engine.render_chat(
            [{"role": "user", "content": "hi"}]
        )
        mine = await asyncio.gather(*map(engine.generate, requests()))
        assert told(await asyncio.gather(*map(replicas.generate, requests()))) == told(mine)
    finally:
        engine.close()
        await replicas.close()


async def test_a_killed_process_is_started_again_and_nothing_is_lost(options):
    replicas = await open_replicas(options, 1)
    try:
        before = told(await asyncio.gather(*map(replicas.generate, requests())))
        running = [asyncio.create_task(replicas.generate(request)) for request in requests()]
        await asyncio.sleep(0)
        killed = replicas.replicas[0].engine._process
        os.kill(killed.pid, signal.SIGKILL)
        assert told(await asyncio.gather(*running)) == before
        assert replicas.replicas[0].engine._process is not killed
    finally:
        await replicas.close()


async def test_errors_and_leaving_cross_the_pipe(options):
    worker = await LocalWorker.start(options)
    try:
        with pytest.raises(ContextLengthError, match="leave room"):
            await worker.generate(Request("a " * 5000, (), 1, 0.0, 1.0, 0))
        with pytest.raises(EngineError):
            await worker.generate(Request("", (), 1, 0.0, 1.0, 0))
        left = asyncio.create_task(worker.generate(requests()[0]))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert not worker._waiting
        assert (await worker.generate(requests()[1])).tokens > 0
    finally:
        await worker.close()
    assert worker._process.returncode is not None
    with pytest.raises(TransientEngineError, match="died"):
        await worker.generate(requests()[0])


async def test_a_model_that_cannot_be_loaded_is_refused_by_name(options, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        await open_replicas({**options, "name_or_path": str(tmp_path)})


async def test_more_replicas_than_memory_holds_are_refused(options, monkeypatch):
    class Memory:
        available = 1

    monkeypatch.setattr(local_replicas.psutil, "virtual_memory", lambda: Memory)
    with pytest.raises(
        InvalidInputError, match=r"replicas=2 do not fit: one takes \d+ MiB, and there is memory for 1"
    ):
        await open_replicas(options, 2)
