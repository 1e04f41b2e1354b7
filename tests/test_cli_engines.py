import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines, room_for_requests
from hf_treecot.engines.journal import Journal
from hf_treecot.errors import EnginesDownError, InvalidInputError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.testing import openai, tgi
from hf_treecot.testing.backends import ScriptedBackend, small_tokenizer
from hf_treecot.testing.faults import Faults
from hf_treecot.testing.running import serve, spawn

from .worlds import until, verify_inline


ROOT = Path(__file__).parents[1]
SEARCH = SearchConfig(num_simulations=3, min_right=1, max_right=2, give_up_factor=1, max_new_tokens=40, max_depth=6)
TOKEN, CRITIC_TOKEN = "tok-generator-123", "tok-critic-456"


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    small_tokenizer().save_pretrained(path)
    return str(path)


def arguments(tokenizer, *servers, **options):
    return EngineArguments(
        **{"engine": "tgi", "servers": list(servers), "tokenizer": tokenizer, "critic_tokenizer": tokenizer,
           "start_timeout": 0.0, **options}
    )  # fmt: skip


async def build(arguments, output_dir, count=20):
    async with open_engines(arguments) as engines:
        config = BuildConfig(SEARCH, seed=5, trees_in_flight=room_for_requests(engines), show_progress=False)
        patterns = [load_pattern(name) for name in available_patterns()]
        problems = list(generate_problems("letters", count, seed=3))
        return await build_trees(
            problems, patterns, engines, verify_inline, Selector(str.split), output_dir, config
        )  # fmt: skip


def dataset(output_dir):
    """The names of the dataset's files hold the digests of their rows."""
    return {path.name for path in (output_dir / "dataset").rglob("*.parquet")}


def _journaled(output_dir):
    journal = Journal(output_dir / "journal.sqlite")
    count = len(journal.keys())
    journal.close()
    return count


def recipe(*args, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "hf_treecot.cli.main", "build", *map(str, args)], capture_output=True, text=True,
        cwd=cwd, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


async def test_a_build_on_servers_that_fail_gives_the_same_dataset(tmp_path, tokenizer):
    with serve(tgi.make_app(ScriptedBackend())) as url:
        await build(arguments(tokenizer, url), tmp_path / "whole")
    apps = [
        tgi.make_app(ScriptedBackend(), Faults(rate=0.04, seed=1), max_concurrent_requests=8),
        tgi.make_app(ScriptedBackend(), Faults(wedge_after=30), max_concurrent_requests=8),
    ]
    with serve(apps[0]) as first, serve(apps[1]) as wedging, serve(tgi.make_app(ScriptedBackend())) as dying:
        pass  # three free ports
    port = int(dying.rpartition(":")[2])

    async def die_and_come_back():
        with serve(first_life := tgi.make_app(ScriptedBackend(), Faults(rate=0.04, seed=2)), port):
            up.set()
            await until(lambda: len(first_life.state.requests) >= 5)
        others = len(apps[0].state.requests)
        await until(lambda: done.is_set() or len(apps[0].state.requests) >= others + 20)
        with serve(last := tgi.make_app(ScriptedBackend(), Faults(rate=0.04, seed=3)), port):
            await done.wait()
        return last.state

    up, done = asyncio.Event(), asyncio.Event()
    with serve(apps[0], int(first.rpartition(":")[2])), serve(apps[1], int(wedging.rpartition(":")[2])):
        dying_server = asyncio.create_task(die_and_come_back())
        await up.wait()
        report = await build(arguments(tokenizer, first, wedging, dying, request_timeout=0.8), tmp_path / "faulty")
        done.set()
        await dying_server
    assert report.failures == {}
    assert sum(apps[0].state.faults.counts.values()) > 3
    assert len(apps[1].state.requests) == 30
    ids = [tree.tree_id for tree in load_trees(tmp_path / "faulty")]
    assert len(ids) == len(set(ids)) == 20
    assert dataset(tmp_path / "faulty") == dataset(tmp_path / "whole")


async def test_both_engines_and_both_roles(tmp_path, tokenizer):
    """A generator on TGI and a critic on a server of OpenAI's protocol, each with a token of its own."""
    backends = ScriptedBackend(), ScriptedBackend()
    writer = tgi.make_app(backends[0], token=TOKEN)
    critic = openai.make_app(backends[1], token=CRITIC_TOKEN)
    with serve(writer) as url, serve(critic) as critic_url:
        options = arguments(
            tokenizer, url, critic_engine="openai", critic_servers=[critic_url], server_token=TOKEN,
            critic_token=CRITIC_TOKEN,
        )  # fmt: skip
        report = await build(options, tmp_path / "run", 10)
    assert report.failures == {}
    assert all(request.prompt.rfind("<double-check>") < 0 for request in writer.state.requests if not request.stop)
    kinds = {request.stop for request in critic.state.requests if request.stop}
    assert ("</double-check>",) in kinds
    assert ("</answer>",) not in kinds
    assert CRITIC_TOKEN not in str(writer.state.headers)
    assert TOKEN not in str(critic.state.headers)
    provenance = next(load_trees(tmp_path / "run")).provenance
    assert provenance["generator_engine"] == "tgi"
    assert provenance["critic_engine"] == "openai"


async def test_prompts_beyond_the_servers_limit_end_their_chains_only(tmp_path, tokenizer):
    with serve(tgi.make_app(ScriptedBackend(), max_input_tokens=160, max_total_tokens=180)) as url:
        report = await build(arguments(tokenizer, url), tmp_path / "run", 10)
    trees = list(load_trees(tmp_path / "run"))
    assert report.failures == {}
    assert len(trees) == 10
    assert "context_length" in {node.dead_end for tree in trees for node in tree.nodes}


async def test_when_all_servers_are_gone_the_build_stops_and_can_go_on(tmp_path, tokenizer, caplog):
    with spawn("tgi", "--backend", "scripted") as (url, process):
        options = arguments(tokenizer, url, max_outage=0.5)

        async def kill():
            while not (tmp_path / "run" / "journal.sqlite").exists() or _journaled(tmp_path / "run") < 20:
                await asyncio.sleep(0.01)
            process.kill()

        killing = asyncio.create_task(kill())
        with pytest.raises(EnginesDownError, match="run the same command again, nothing is lost"):
            await build(options, tmp_path / "run", 20)
        await killing
    assert "every server is down" in caplog.text
    with serve(tgi.make_app(ScriptedBackend()), int(url.rpartition(":")[2])):
        report = await build(options, tmp_path / "run", 20)
    assert (report.trees, report.failures) == (20, {})
    assert report.replayed >= 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "vllm"}, "engine='vllm' is unknown: use one of local, tgi, openai, chat"),
        ({"servers": []}, "engine='tgi' needs the URLs of its servers: set servers"),
        ({"engine": "local"}, "servers are given but engine=local: set engine to tgi, openai or chat"),
        ({"provider": "together"}, "provider='together' is asked by chat: set engine to chat"),
        ({"engine": "chat", "servers": []}, "needs the URLs of its servers or a provider: set servers or provider"),
        ({"engine": "chat", "provider": "x"}, "servers and a provider are given for one role: leave one of them out"),
        ({"engine": "chat", "thoughts": "aloud"}, "thoughts='aloud' is unknown: use one of auto, continued, in_words"),
        ({"servers": ["localhost:80"]}, "server 'localhost:80' is not a base URL: write it as http://host:port"),
        ({"critic_engine": "openai"}, "critic_engine='openai' needs the URLs of its servers: set critic_servers"),
        ({"critic_model": "m"}, "critic_model='m' is on no server: set critic_servers to those that serve it"),
        ({"max_concurrent_requests": 0}, "max_concurrent_requests=0 is out of range: it must be at least 1"),
        ({"request_timeout": 0.0}, "request_timeout=0.0 is out of range: it must be above 0"),
        ({"max_attempts": 0}, "max_attempts=0 is out of range"),
        ({"server_token": "two words"}, "TREECOT_SERVER_TOKEN holds characters that no token has"),
    ],
)
async def test_bad_arguments(change, message):
    with pytest.raises(InvalidInputError) as error:
        async with open_engines(replace(arguments(None, "http://127.0.0.1:9"), **change)):
            pass
    assert message in str(error.value)
    assert "two words" not in str(error.value)


async def test_a_token_over_plain_http_is_worth_a_warning(tokenizer):
    with pytest.warns(UserWarning, match="a token is sent over plain http"), pytest.raises(InvalidInputError):
        async with open_engines(arguments(tokenizer, "http://treecot.invalid", server_token=TOKEN)):
            pass


def test_the_recipe_on_a_server(tmp_path, tokenizer):
    """Estimate, build, compare; and no token anywhere but in the requests."""
    app = tgi.make_app(ScriptedBackend(), token=TOKEN)
    with serve(app) as url:
        common = [
            "--problems", "letters", "--num_problems", "12", "--engine", "tgi", "--servers", url, "--tokenizer",
            tokenizer, "--output_dir", "run", "--num_simulations", "4", "--min_right", "1", "--max_right", "2",
            "--give_up_factor", "2", "--max_new_tokens", "40", "--max_depth", "6",
        ]  # fmt: skip
        tokens = {"TREECOT_SERVER_TOKEN": TOKEN, "HF_TOKEN": "hf_not_for_servers"}
        estimated = recipe(
            *common, "--dry-run", "--dry_run_problems", "6", "--price_per_hour", "3600", cwd=tmp_path, **tokens
        )
        assert estimated.returncode == 0, estimated.stderr
        assert "for 12 problems, from a sample of 6:" in estimated.stdout
        for line in ("requests: ", "prompt tokens: ", "generated tokens: ", "hours: ", "cost: "):
            assert f"  {line}" in estimated.stdout
        assert not (tmp_path / "run").exists()
        built = recipe(*common, cwd=tmp_path, **tokens)
        assert built.returncode == 0, built.stderr
        assert "the estimate against the build:" in built.stdout
        assert "estimated" in built.stdout.split("  requests: ")[1]
        sent = str(app.state.headers)
    assert "hf_not_for_servers" not in sent
    written = [estimated.stdout, estimated.stderr, built.stdout, built.stderr]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"journal.sqlite", "run.json", "report.json", "README.md"}
    for text in [*written, *(path.read_bytes().decode("latin-1") for path in files)]:
        assert TOKEN not in text
        assert "hf_not_for_servers" not in text


@pytest.mark.parametrize("kind", ["tgi", "openai"])
def test_the_starter_model_on_a_server_of_its_own(kind, tmp_path):
    """As the README puts it behind a loopback server, to try the rest of it."""
    with spawn(kind) as (url, _):
        args = ["--engine", kind, "--servers", url, "--tokenizer", "starter", "--output_dir", "run"]
        built = recipe("--config", "demo", *args, "--num_problems", "1", "--num_simulations", "8", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    trees = list(load_trees(tmp_path / "run"))
    assert len(trees) == 3
    assert sum(len(tree.answers(right=True)) for tree in trees) > 3
    assert {tree.provenance["generator_model"] for tree in trees} == {"hf_treecot/starter"}


async def test_a_missing_token_names_its_variable(tokenizer, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_servers")
    with serve(app := tgi.make_app(ScriptedBackend(), token=TOKEN)) as url:
        with pytest.raises(InvalidInputError, match="refuses the token, or wants one.*set TREECOT_SERVER_TOKEN"):
            async with open_engines(arguments(tokenizer, url)):
                pass
        monkeypatch.setenv("TREECOT_SERVER_TOKEN", TOKEN)
        async with open_engines(arguments(tokenizer, url)) as engines:
            assert engines["generator"] is engines["critic"]
    assert "hf_not_for_servers" not in str(app.state.headers)


def test_a_bad_server_is_one_clear_line_and_exit_code_2(tmp_path, tokenizer):
    with serve(openai.make_app(ScriptedBackend())) as url:
        result = recipe(
            "--engine", "tgi", "--servers", url, "--tokenizer", tokenizer, "--problems", "letters",
            "--output_dir", "run", cwd=tmp_path,
        )  # fmt: skip
    assert result.returncode == 2
    assert "is not text-generation-inference" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()
