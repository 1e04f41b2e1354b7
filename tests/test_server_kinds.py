import asyncio
import logging
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

from hf_treecot.engines.engine import Completion, Request
from hf_treecot.engines.openai import OpenAIEngine
from hf_treecot.engines.pool import EnginePool, PoolConfig
from hf_treecot.engines.sampling_check import _must_differ
from hf_treecot.engines.server import ServerOptions
from hf_treecot.engines.server_kinds import public_name
from hf_treecot.engines.tgi import TGIEngine
from hf_treecot.errors import ContextLengthError, InvalidInputError, OverloadedError, TransientEngineError
from hf_treecot.testing import ollama, openai, tgi
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve


REQUEST = Request("<|user|>2 + 2?<|assistant|><thinking>", ("</thinking>",), 40, 0.7, 0.9, 3)
BACKEND = ScriptedBackend()
ENGINES = {"tgi": (TGIEngine, tgi), "openai": (OpenAIEngine, openai)}


class Certain(ScriptedBackend):
    """Says the same to every seed, and is sure of it or not."""

    def __init__(self, words, log_probability):
        super().__init__()
        self.words, self.log_probability = words, log_probability

    def write(self, request):
        return Completion(" so" * self.words, "eos", 0, self.words, self.log_probability)


async def connect(url, kind="openai", **options):
    engine = await ENGINES[kind][0].connect(url, ServerOptions(**options), BACKEND.tokenizer)
    await engine.close()
    return engine


# How it samples


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_server_is_tried_with_the_sampling_to_come(kind):
    with serve(app := ENGINES[kind][1].make_app(BACKEND)) as url:
        await connect(url, kind, temperature=0.8, top_p=0.5)
        first = app.state.requests[0]
        assert (first.temperature, first.top_p) == (0.8, 0.5)
        assert len(app.state.requests) == 3  # two seeds were answered in two ways
        await connect(url, kind, temperature=0.0)
        assert len(app.state.requests) == 4  # nothing is sampled: one seed is enough


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_server_that_does_not_sample_is_refused(kind):
    app = ENGINES[kind][1].make_app(Certain(20, -30.0))
    with serve(app) as url:
        with pytest.raises(InvalidInputError, match="answers every seed alike at temperature 1.*transformers serve"):
            await connect(url, kind)
        await connect(url, kind, temperature=0.0)


@pytest.mark.parametrize(("words", "log_probability"), [(20, -0.01), (1, -1.0)])
async def test_a_model_that_is_sure_of_what_it_says_is_not(words, log_probability, caplog):
    with serve(openai.make_app(Certain(words, log_probability))) as url:
        await connect(url)
    assert f"server {url} answers some seeds alike at temperature 1" in caplog.text


@pytest.mark.parametrize(
    ("tokens", "log_probability", "expected"),
    [(20, None, True), (10, None, False), (20, -5.0, True), (20, -1.0, False), (2, -0.0, False)],
)
def test_when_answers_must_differ(tokens, log_probability, expected):
    assert _must_differ([Completion("x", "eos", 1, tokens, log_probability)] * 3) is expected


async def test_transformers_serve_is_told_to_sample():
    with serve(app := openai.make_app(BACKEND, server="transformers")) as url:
        engine = await OpenAIEngine.connect(url, ServerOptions(model=BACKEND.identity.model), BACKEND.tokenizer)
        completion = await engine.generate(REQUEST)
        await engine.close()
    assert completion.text == BACKEND.write(REQUEST).text  # of its seed
    assert '"do_sample": true' in app.state.bodies[-1]["generation_config"]
    assert f'"eos_token_id": {BACKEND.tokenizer.eos_token_id}' in app.state.bodies[-1]["generation_config"]
    assert '"top_k": 0' in app.state.bodies[-1]["generation_config"]
    assert (engine.identity.version, engine.limits.max_concurrent_requests) == ("transformers serve", 1)
    with serve(openai.make_app(Certain(20, None), server="transformers", greedy=True)) as url:
        with pytest.raises(InvalidInputError, match="keeps the settings of the first request"):
            await connect(url)


# What it says of itself


@pytest.mark.parametrize(
    ("server", "length", "slots"),
    [
        ("vllm", 777, 64),
        ("llamacpp", 777, 6),
        ("lmstudio", 900, 4),
        ("openai", 32_768, 64),
        ("transformers", 32_768, 1),
    ],
)
async def test_context_and_slots_are_what_a_server_tells_else_what_is_known(server, length, slots):
    with serve(openai.make_app(BACKEND, max_model_len=777, server=server)) as url:
        engine = await connect(url)
        assert (engine.limits.max_total_tokens, engine.limits.max_concurrent_requests) == (length, slots)
        engine = await connect(url, max_concurrent_requests=9)
        assert engine.limits.max_concurrent_requests == 9


async def test_a_named_model_is_tried_though_it_is_not_listed():
    for listed in ((), ("some/other",), ("one", "two")):
        with serve(openai.make_app(BACKEND, server="openai", listed=listed)) as url:
            engine = await connect(url, model="loopback/scripted")
            assert engine.identity.model == "loopback/scripted"
    with serve(openai.make_app(BACKEND, server="llamacpp", listed=("scripted.gguf",))) as url:
        with pytest.raises(InvalidInputError, match="serves 'scripted.gguf' and you asked for 'loopback/scripted'"):
            await connect(url, model="loopback/scripted")  # it would answer with what it has
    with serve(openai.make_app(BACKEND, server="openai", listed=("one", "two"))) as url:
        with pytest.raises(InvalidInputError, match="serves 'one', 'two' and you named none: set model"):
            await connect(url)


async def test_a_list_of_models_that_fails_is_no_hindrance_to_one_that_is_named():
    """As that of transformers serve where nothing was ever downloaded; it hangs up after it, too."""

    async def fail(request):
        return Response("Internal Server Error", status_code=500, headers={"connection": "close"})

    app = openai.make_app(BACKEND, server="transformers")
    with serve(Starlette(routes=[Route("/v1/models", fail), Mount("/", app)])) as url:
        engine = await connect(url, model="loopback/scripted")
        assert engine.identity.version == "transformers serve"
        with pytest.raises(TransientEngineError, match="said 500"):
            await connect(url)


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_revision_that_the_user_names_is_recorded_where_the_server_does_not_tell_one(kind):
    with serve(ENGINES[kind][1].make_app(BACKEND)) as url:
        engine = await connect(url, kind, revision="v1.1")
    assert engine.identity.revision == ("1" if kind == "tgi" else "v1.1")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("/srv/models/mine", "mine"),
        ("/srv/models/mine/", "mine"),
        ("./mine", "mine"),
        ("~/models/mine", "mine"),
        ("C:\\models\\mine.gguf", "mine.gguf"),
        ("\\\\host\\share\\mine", "mine"),
    ],
)
def test_places_are_no_part_of_a_models_name(model, name):
    assert public_name(model) == name


# Ollama, LM Studio


async def test_ollama_by_its_own_route():
    with serve(app := ollama.make_app(BACKEND, context_length=300)) as url:
        engine = await OpenAIEngine.connect(f"{url}/v1", ServerOptions(tokenizer="mine"), BACKEND.tokenizer)
        expected = BACKEND.write(REQUEST)
        for _ in range(2):  # the second time it does not count the prompt
            completion = await engine.generate(REQUEST)
            assert replace(completion, prompt_tokens=0) == replace(expected, text=completion.text)
            assert completion.text == expected.text
            assert completion.prompt_tokens == len(BACKEND.tokenizer(REQUEST.prompt)["input_ids"])
        with pytest.raises(ContextLengthError, match="a prompt of 301 tokens does not fit"):
            await engine.generate(replace(REQUEST, prompt="1" * 301))
        engine.limits = replace(engine.limits, max_input_tokens=None, max_total_tokens=None)
        with pytest.raises(ContextLengthError, match="said 400: the input length exceeds"):
            await engine.generate(replace(REQUEST, prompt="1" * 301))
        await engine.close()
        with pytest.raises(InvalidInputError, match="model 'other' not found.*it lists 'scripted:latest'"):
            await connect(url, model="other")
    assert app.state.bodies[0]["options"].items() >= {"top_k": 0, "repeat_penalty": 1.0, "num_predict": 1}.items()
    identity = engine.identity
    assert (identity.model, identity.quantization, identity.version) == ("scripted:latest", "Q4_K_M", "ollama 0.13.1")
    assert identity.revision == "845dbda0ea48"
    assert engine.limits.max_concurrent_requests == 4


@pytest.mark.parametrize(
    ("app", "maker"),
    [
        (ollama.make_app(BACKEND), "Ollama, which has names of its own"),
        (openai.make_app(BACKEND, server="lmstudio"), "LM Studio, which has names of its own"),
        (openai.make_app(BACKEND, server="llamacpp"), "llama.cpp, which names a model by its file"),
    ],
)
async def test_names_that_say_nothing_of_the_tokenizer(app, maker):
    with serve(app) as url:
        with pytest.raises(InvalidInputError, match=f"{maker}.*set tokenizer to the Hub name or directory"):
            await OpenAIEngine.connect(url, ServerOptions())


# Overload and prefixes


async def test_a_shared_cache_that_overflows_is_asked_less_and_nothing_is_lost(caplog):
    class Slow(ScriptedBackend):
        async def generate(self, request):
            await asyncio.sleep(0.05)
            return self.write(request)

    caplog.set_level(logging.WARNING)
    with serve(openai.make_app(Slow(), server="llamacpp", room=5)) as url:

        async def one(url, tokenizer):
            options = ServerOptions(max_concurrent_requests=32)
            return await OpenAIEngine.connect(url, options, BACKEND.tokenizer)

        pool = await EnginePool.connect([url], one, PoolConfig(max_attempts=1, failures_to_rest=1, start_timeout=0.0))
        completions = await asyncio.gather(*(pool.generate(replace(REQUEST, seed=seed)) for seed in range(1, 65)))
        await pool.close()
    assert [c.text for c in completions] == [BACKEND.write(replace(REQUEST, seed=s)).text for s in range(1, 65)]
    said = [record.getMessage() for record in caplog.records]
    limits = [message.split(" requests")[0].split()[-1] for message in said]
    assert limits == ["16", "8", "4"][: len(limits)]  # as far as so many were there at once
    assert "500: Context size has been exceeded" in said[0]


async def test_when_it_overflows_with_a_single_request_it_has_failed():
    with serve(openai.make_app(BACKEND, server="llamacpp")) as url:
        engine = await OpenAIEngine.connect(url, ServerOptions(), BACKEND.tokenizer)
    with serve(openai.make_app(BACKEND, server="llamacpp", room=0), int(url.rpartition(":")[2])):
        with pytest.raises(OverloadedError):
            await engine.generate(REQUEST)
        await engine.close()


@pytest.mark.parametrize("kind", ENGINES)
async def test_servers_behind_a_path(kind):
    app = ENGINES[kind][1].make_app(BACKEND)
    with serve(Starlette(routes=[Mount("/teachers/first", app)])) as url:
        base = f"{url}/teachers/first"
        for url in [base, *([f"{base}/v1"] if kind == "openai" else [])]:
            engine = await ENGINES[kind][0].connect(url, ServerOptions(), BACKEND.tokenizer)
            assert (await engine.generate(REQUEST)).text == BACKEND.write(REQUEST).text
            await engine.close()
