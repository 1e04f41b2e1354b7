"""The engine against servers that nobody here wrote: `make test-servers`. Not among the tests that always run."""

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines, room_for_requests
from hf_treecot.engines.engine import Request
from hf_treecot.engines.journal import Journal
from hf_treecot.errors import ContextLengthError, InvalidInputError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.starter.built_in import model_path
from hf_treecot.starter.training import StarterRecipe, training_examples

from ..worlds import verify_inline
from .llama_cpp import llama_server
from .servers import API_KEY, llama_cpp, starter_gguf, transformers_serve


KINDS = {"llama.cpp": llama_cpp, "transformers serve": transformers_serve}
SEARCH = SearchConfig(num_simulations=6, min_right=1, max_right=2, give_up_factor=2, max_new_tokens=80)
GREEDY = replace(SEARCH, temperature=0.0)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    with KINDS[request.param](tmp_path_factory.mktemp("server")) as running:
        yield running


def arguments(server, **options):
    chosen = {"model": server.model} if server.model else {}
    return EngineArguments(
        **{"engine": "openai", "servers": [server.url], "tokenizer": "starter", "start_timeout": 120.0, **chosen,
           **options}
    )  # fmt: skip


async def build(arguments, output_dir, count=6, search=SEARCH, pattern=load_pattern("reflection")):
    async with open_engines(arguments, search.temperature, search.top_p) as engines:
        config = BuildConfig(search, seed=5, trees_in_flight=room_for_requests(engines) or 32, show_progress=False)
        problems = list(generate_problems("letters", count, seed=3))
        return await build_trees(
            problems, [pattern], engines, verify_inline, Selector(str.split), output_dir, config
        )  # fmt: skip


def written(output_dir):
    """What the trees of a build say, whoever wrote it."""
    return {
        tree.problem.problem_id: [(node.kind, node.text, node.parent, node.reward) for node in tree.nodes]
        for tree in load_trees(output_dir)
    }


async def test_a_text_is_read_alike(tmp_path):
    from transformers import AutoTokenizer

    with llama_cpp(tmp_path) as server:
        tokenizer = AutoTokenizer.from_pretrained(model_path("starter"))
        async with httpx.AsyncClient(base_url=server.url) as client:
            for prompt, segments in training_examples(StarterRecipe(), 2_000)[::4]:
                text = prompt + "".join(segment.text for segment in segments)
                answer = await client.post("/tokenize", json={"content": text, "parse_special": True})
                assert answer.json()["tokens"] == tokenizer(text)["input_ids"], text


async def test_greedy_thoughts_are_those_of_the_engine_in_this_process(server):
    async with open_engines(EngineArguments(), 0.0) as local, open_engines(arguments(server), 0.0) as served:
        here, there = local["generator"], served["generator"]
        requests = []
        for problem in generate_problems("letters", 12, seed=8):
            chat = here.render_chat([{"role": "user", "content": problem.prompt}])
            assert chat == there.render_chat([{"role": "user", "content": problem.prompt}])
            requests += [
                Request(f"{chat}<sub-task>", ("</sub-task>",), 80, 0.0, 1.0, 1),
                Request(f"{chat}<sub-task>", ("</sub-task>",), 7, 0.0, 1.0, 1),
                Request(chat, (), 400, 0.0, 1.0, 1),
            ]
        expected = await asyncio.gather(*map(here.generate, requests))
        found = await asyncio.gather(*map(there.generate, requests))
    for one, other in zip(expected, found, strict=True):
        assert other.text == one.text
        assert other.finish_reason == one.finish_reason
        assert (other.prompt_tokens, other.tokens) == (one.prompt_tokens, one.tokens)
        if other.log_probability is not None:  # which llama.cpp does not tell of a stop string
            assert other.log_probability == pytest.approx(one.log_probability, abs=0.05)
    assert {one.finish_reason for one in expected} == {"stop", "length", "eos"}


async def test_greedy_trees_are_those_of_the_engine_in_this_process(server, tmp_path):
    await build(EngineArguments(), tmp_path / "here", search=GREEDY)
    report = await build(arguments(server), tmp_path / "there", search=GREEDY)
    assert report.failures == {}
    assert written(tmp_path / "there") == written(tmp_path / "here")


@pytest.mark.parametrize("concurrency", [1, 8, 32])
async def test_trees_at_any_concurrency(server, concurrency, tmp_path):
    report = await build(arguments(server, max_concurrent_requests=concurrency), tmp_path / "run")
    assert (report.trees, report.failures) == (6, {})
    trees = list(load_trees(tmp_path / "run"))
    assert any(len(node.children) > 1 for tree in trees for node in tree.nodes)  # it samples
    assert not [value for value in trees[0].provenance.values() if value.startswith(("/", "~"))]  # no place on a disk


async def test_a_server_that_is_killed_costs_no_tree(server, tmp_path):
    running = asyncio.create_task(build(arguments(server), tmp_path / "run", 8))
    await until(lambda: _journaled(tmp_path / "run") >= 20 or running.done())
    assert not running.done()
    server.kill()
    server.start()
    report = await running
    assert (report.trees, report.failures) == (8, {})
    ids = [tree.tree_id for tree in load_trees(tmp_path / "run")]
    assert len(ids) == len(set(ids)) == 8


async def test_a_client_that_is_killed_goes_on(server, tmp_path):
    chosen = ["--model", server.model] if server.model else []
    command = [
        sys.executable, "-m", "hf_treecot.cli.main", "build", "--config", "demo", "--engine", "openai", "--servers",
        server.url, "--tokenizer", "starter", "--output_dir", str(tmp_path / "run"), "--num_problems", "2",
        "--num_simulations", "6", *chosen,
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        client = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        await until(lambda: _journaled(tmp_path / "run") >= 20 or client.poll() is not None)
        assert client.poll() is None, (tmp_path / "log").read_text()[-2000:]
        client.kill()
        client.wait()
        before = _journaled(tmp_path / "run")
        assert subprocess.run(command, cwd=ROOT, stdout=log, stderr=log).returncode == 0, (
            tmp_path / "log"
        ).read_text()
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["failures"], report["replayed"] >= before) == ({}, True)
    assert len({tree.tree_id for tree in load_trees(tmp_path / "run")}) == report["trees"] == 6


async def test_a_prompt_that_is_too_long(server):
    async with open_engines(arguments(server)) as engines:
        engine = engines["generator"]
        with pytest.raises(ContextLengthError, match="does not fit"):
            await engine.generate(Request("a" * 1_100, (), 5, 0.7, 0.9, 1))
        one = await engine.generate(Request("a" * 1_000, (), 500, 0.7, 0.9, 1))
        assert one.prompt_tokens + one.tokens <= 1_024
        if server.model is None:  # transformers serve goes on, beyond what the model was trained on
            replica = engine.replicas[0].engine
            replica.limits = replace(replica.limits, max_input_tokens=None, max_total_tokens=None)
            with pytest.raises(ContextLengthError, match="said 400"):
                await engine.generate(Request("a" * 1_100, (), 5, 0.7, 0.9, 1))


async def test_a_cache_that_all_slots_share_is_overload_when_it_is_full(tmp_path, caplog):
    with llama_cpp(tmp_path, "--kv-unified", slots=32, context=1_024) as server:
        report = await build(arguments(server), tmp_path / "run", 16)
        assert (report.trees, report.failures) == (16, {})
    assert "Context size has been exceeded" in caplog.text
    assert "requests at a time" in caplog.text
    assert "rests" not in caplog.text
    assert "every server is down" not in caplog.text


async def test_keys_and_a_path(tmp_path, monkeypatch):
    with llama_cpp(tmp_path, "--api-key", API_KEY, prefix="/teachers/first") as server:
        with pytest.raises(InvalidInputError, match="set TREECOT_SERVER_TOKEN"):
            await build(arguments(server), tmp_path / "run")
        monkeypatch.setenv("TREECOT_SERVER_TOKEN", API_KEY)
        for url in (server.url, f"{server.url}/v1"):
            report = await build(arguments(server, servers=[url]), tmp_path / "run", 2)
            assert (report.trees, report.failures) == (2, {})
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or API_KEY.encode() not in path.read_bytes()


async def test_a_server_that_loads_is_waited_for(tmp_path, caplog):
    with llama_cpp(tmp_path) as server:
        server.kill()
        starting = asyncio.create_task(build(arguments(server), tmp_path / "run", 2))
        await until(lambda: "waiting up to 120 s for a server" in caplog.text)
        server.start()
        assert (await starting).trees == 2


async def test_a_server_of_the_builds_own(tmp_path, monkeypatch):
    """Started by the build, killed while it runs, started again, stopped."""
    monkeypatch.setenv("PATH", f"{llama_server().parent}:{os.environ['PATH']}")
    command = [
        sys.executable, "-m", "hf_treecot.cli.main", "build", "--config", "demo", "--serve", "llama.cpp",
        str(starter_gguf()), "--tokenizer", "starter", "--output_dir", str(tmp_path / "run"), "--num_problems", "3",
        "--max_concurrent_requests", "4",
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        build = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        await until(lambda: _journaled(tmp_path / "run") >= 20 or build.poll() is not None)
        (server,) = [child for child in psutil.Process(build.pid).children() if child.name() == "llama-server"]
        server.kill()
        assert await asyncio.to_thread(build.wait) == 0, (tmp_path / "log").read_text()
    assert len(list(load_trees(tmp_path / "run"))) == 9
    assert "the server died (-9" in (tmp_path / "log").read_text()
    assert (tmp_path / "run.server.log").stat().st_size > 0
    port = server_port(tmp_path / "run.server.log")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health")


def server_port(log):
    return re.search(r"listening on .*?:(\d+)", log.read_text())[1]


async def test_continuous_batching_of_transformers_keeps_what_it_was_first_asked(tmp_path):
    options = ("--continuous-batching", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "256")
    with transformers_serve(tmp_path, *options) as server:
        report = await build(arguments(server, max_concurrent_requests=8), tmp_path / "run", 2)
        assert (report.trees, report.failures) == (2, {})
        server.kill()
        server.start()
        server.wait()
        body = {"model": server.model, "prompt": "a", "max_tokens": 2, "temperature": 0}
        assert httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).is_success
        with pytest.raises(InvalidInputError, match="answers every seed alike at temperature 1"):
            await build(arguments(server), tmp_path / "greedy")


async def test_chat_is_continued_or_asked_for_in_words(server, tmp_path):
    """Continued, the trees are those of raw text, to the token; in words there are none: the starter obeys nobody."""
    pattern = replace(load_pattern("reflection"), system_prompts={})  # servers put them into the user's turn
    report = await build(arguments(server, engine="chat"), tmp_path / "chat", 3, SEARCH, pattern)
    assert report.failures == {}
    thoughts = {tree.provenance["generator_thoughts"] for tree in load_trees(tmp_path / "chat")}
    if server.model:  # transformers serve
        assert (thoughts, report.statistics["malformed"] > 0) == ({"in_words"}, True)
    else:
        await build(arguments(server), tmp_path / "raw", 3, SEARCH, pattern)
        assert thoughts == {"continued"}
        assert written(tmp_path / "chat") == written(tmp_path / "raw")


async def until(condition):
    """Wait for what others bring about; real servers take their time."""
    async with asyncio.timeout(300):
        while not condition():
            await asyncio.sleep(0.02)


def _journaled(output_dir):
    if not (output_dir / "journal.sqlite").exists():
        return 0
    journal = Journal(output_dir / "journal.sqlite")
    count = len(journal.keys())
    journal.close()
    return count
