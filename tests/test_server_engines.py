import asyncio
import itertools
import json
import os
import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.utils import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hf_treecot.engines.chat_template import tokenizer_digests
from hf_treecot.engines.engine import Completion, EngineIdentity, Request
from hf_treecot.engines.neutral_settings import _refused_fields
from hf_treecot.engines.openai import OpenAIEngine, _finish_reason
from hf_treecot.engines.server import (
    ServerLimits,
    ServerOptions,
    check_url,
    load_tokenizer,
    read_completion,
    render_chat,
)
from hf_treecot.engines.tgi import TGIEngine
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError, TransientEngineError
from hf_treecot.starter.tokenizer import build_tokenizer
from hf_treecot.testing import openai, tgi
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.faults import Faults
from hf_treecot.testing.running import serve


KINDS = {"tgi": (TGIEngine, tgi), "openai": (OpenAIEngine, openai)}
REQUEST = Request("<|user|>2 + 2?<|assistant|><thinking>", ("</thinking>",), 40, 0.7, 0.9, 3)
BACKEND = ScriptedBackend()
TOKEN = "tok-secret-123"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@contextmanager
def running(kind, backend=BACKEND, **options):
    app = KINDS[kind][1].make_app(backend, **options)
    with serve(app) as url:
        yield url, app.state


async def connect(kind, url, loaded=BACKEND.tokenizer, **options):
    return await KINDS[kind][0].connect(url, ServerOptions(**options), loaded)


@pytest.mark.parametrize(
    "change",
    [
        {}, {"temperature": 0.0}, {"top_p": 1.0}, {"seed": 0}, {"max_new_tokens": 2}, {"stop": ()},
        {"prompt": "<answer>", "stop": ("</answer>",)}, {"stop": ("</thinking>", "a", "b", "c", "no such stop")},
    ],
)  # fmt: skip
async def test_one_request_shape_for_both(kind, change):
    request = replace(REQUEST, **change)
    with running(kind) as (url, state):
        engine = await connect(kind, url)
        completion = await engine.generate(request)
        await engine.close()
    asked = state.requests[-1]
    assert (asked.prompt, asked.max_new_tokens, asked.temperature) == (
        request.prompt, request.max_new_tokens, request.temperature,
    )  # fmt: skip
    assert asked.top_p == (1.0 if kind == "tgi" and request.temperature == 0 else request.top_p)
    expected = BACKEND.write(asked)
    text = expected.text
    for stop in request.stop:  # those that the server does not take are cut here
        text = text.partition(stop)[0]
    assert completion.text == text
    assert completion.finish_reason == ("stop" if text != expected.text else expected.finish_reason)
    assert completion.tokens == expected.tokens
    assert completion.log_probability == pytest.approx(expected.log_probability)
    assert completion.prompt_tokens == len(BACKEND.tokenizer(request.prompt)["input_ids"])


@pytest.mark.parametrize("server", ["vllm", "sglang", "llamacpp"])
@pytest.mark.parametrize("change", [{}, {"max_new_tokens": 2}, {"stop": ()}, {"prompt": "<answer>"}])
async def test_a_stream_comes_to_the_same_completion(server, change):
    request, told = replace(REQUEST, **change), []
    with running("openai", server=server) as (url, state):
        engine = await connect("openai", url)
        whole = await engine.generate(request)
        streamed = await engine.generate(request, lambda text, tokens: told.append((text, tokens)))
        await engine.close()
    assert engine.streams
    assert streamed == whole
    assert state.bodies[-1]["stream"]
    assert len(told) == 4
    assert all(later[0].startswith(earlier[0]) for earlier, later in itertools.pairwise(told))


@pytest.mark.parametrize("server", ["transformers", "lmstudio"])
async def test_other_servers_are_not_streamed(server):
    with running("openai", server=server) as (url, _):
        engine = await connect("openai", url)
        assert not engine.streams
        await engine.close()


@pytest.mark.parametrize(
    "events",
    [
        "", "data: [DONE]\n\n", "data: {\n\n", "data: []\n\n", 'data: {"choices": 3}\n\n',
        'data: {"error": "gone"}\n\n',
        'data: {"error": {"message": "gone"}}\n\n', 'data: {"choices": [{"text": "a"}]}\n\n', ": comment\n\n",
        'data: {"choices": [{"text": "a", "finish_reason": "stop"}]}\n\n',
    ],
)  # fmt: skip
async def test_a_stream_that_breaks_is_transient(events, monkeypatch):
    with running("openai") as (url, _):
        engine = await connect("openai", url)
        transport = httpx.MockTransport(lambda _: httpx.Response(200, text=events))
        monkeypatch.setattr(engine, "_client", httpx.AsyncClient(transport=transport))
        with pytest.raises(TransientEngineError):
            await engine.generate(REQUEST, lambda text, tokens: None)
        await engine.close()


async def test_the_starter_model_writes_the_same_behind_a_server(kind, tmp_path):
    from hf_treecot.engines.local import LocalEngine

    from .tiny_models import save_tiny

    path = save_tiny(tmp_path / "model")
    local = LocalEngine.from_pretrained(path, dtype="float64")
    with running(kind, local) as (url, _):
        engine = await connect(kind, url, None)  # the tokenizer is that of the reported model
        chat = engine.render_chat([{"role": "user", "content": "the count"}])
        assert chat == local.render_chat([{"role": "user", "content": "the count"}])
        requests = [Request(f"{chat}<thinking>", ("</thinking>",), 12, 1.0, 0.9, seed) for seed in range(1, 9)]
        served = await asyncio.gather(*(engine.generate(r) for r in requests))
        here = await asyncio.gather(*(local.generate(r) for r in requests))
        await engine.close()
    local.close()
    for one, other in zip(served, here, strict=True):
        assert replace(one, log_probability=None) == replace(other, log_probability=None)
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-9)
    assert (engine.identity.engine, engine.identity.model) == (kind, "model")  # not where it lies


async def test_the_client_cuts_what_the_server_does_not(kind):
    class Overruns(ScriptedBackend):
        def write(self, request):
            text = " four</thinking>\n<answer>5" if "<thinking>" in request.prompt else "1"
            return Completion(text, "length", 0, 9, -1.0)

    with running(kind, Overruns()) as (url, _):
        engine = await connect(kind, url)
        completion = await engine.generate(REQUEST)
        await engine.close()
    assert (completion.text, completion.finish_reason, completion.tokens) == (" four", "stop", 9)


@pytest.mark.parametrize("fault", ["reset", "garbage", "overloaded", "overloaded_later", "error", "truncated"])
async def test_every_fault_that_may_pass_is_transient(kind, fault):
    with running(kind, faults=(faults := Faults(kinds=(fault,)))) as (url, _):
        engine = await connect(kind, url)
        faults.rate = 1.0
        for seed in range(1, 6):
            with pytest.raises(TransientEngineError) as error:
                await engine.generate(replace(REQUEST, seed=seed))
            assert error.value.retry_after == (1.0 if fault == "overloaded_later" else 0.0)
        faults.rate = 0.0
        assert (await engine.generate(REQUEST)).text == BACKEND.write(REQUEST).text
        await engine.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},  # and is not
        {"content-encoding": "deflate"},
        {"content-type": "application/json; charset=nonsense"},
    ],
)
async def test_an_undecodable_reply_of_a_proxy_is_transient(kind, headers):
    async def proxy(request):
        return Response(b"\x00<html>\xff", headers=headers)

    with serve(Starlette(routes=[Route("/{path:path}", proxy, methods=["GET", "POST"])])) as url:
        limits = ServerLimits(max_concurrent_requests=1)
        engine = KINDS[kind][0](url, EngineIdentity(kind, "m"), BACKEND.tokenizer, limits)
        with pytest.raises(TransientEngineError):
            await engine.generate(REQUEST)
        await engine.close()


@pytest.mark.parametrize("error", [
    httpx.DecodingError("x"), httpx.TooManyRedirects("x"), httpx.InvalidURL("x"), httpx.CookieConflict("x"),
    httpx.StreamConsumed(), httpx.ReadError("x"),
])  # fmt: skip
async def test_whatever_httpx_raises_is_transient(kind, error, monkeypatch):
    with running(kind) as (url, _):
        engine = await connect(kind, url)

        async def fail(*args, **kwargs):
            raise error

        monkeypatch.setattr(httpx.AsyncClient, "send", fail)
        with pytest.raises(TransientEngineError, match=type(error).__name__):
            await engine.generate(REQUEST)
        await engine.close()


async def test_a_missing_stop_string_at_the_end_changes_nothing(kind):
    with running(kind, faults=(faults := Faults(kinds=("stop_missing",)))) as (url, _):
        engine = await connect(kind, url)
        whole = await engine.generate(REQUEST)
        faults.rate = 1.0
        without = await engine.generate(REQUEST)
        await engine.close()
    assert whole.text == without.text
    assert faults.counts["stop_missing"] == 1


async def test_a_prompt_longer_than_the_server_allows(kind):
    limits = {"max_input_tokens": 80, "max_total_tokens": 90} if kind == "tgi" else {"max_model_len": 90}
    with running(kind, **limits) as (url, state):
        engine = await connect(kind, url)
        before = len(state.headers)
        with pytest.raises(ContextLengthError, match="a prompt of 111 tokens does not fit"):
            await engine.generate(replace(REQUEST, prompt="1" * 111))
        assert len(state.headers) == before  # it was not even asked
        await engine.generate(replace(REQUEST, prompt="1" * 80, max_new_tokens=1000))
        assert state.requests[-1].max_new_tokens == 10  # what fits
        engine.limits = replace(engine.limits, max_input_tokens=None, max_total_tokens=None)
        with pytest.raises(ContextLengthError, match="said 4"):  # the server's own words, understood
            await engine.generate(replace(REQUEST, prompt="1" * 111))
        await engine.close()


# Settings that a server would else take from elsewhere

NEUTRAL = {
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "llamacpp": {
        "top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "dry_multiplier": 0.0, "mirostat": 0,
        "xtc_probability": 0.0, "presence_penalty": 0.0, "samplers": ["temperature", "top_p"],
    },
    "openai": {"presence_penalty": 0.0, "frequency_penalty": 0.0},
}  # fmt: skip
NEUTRAL["sglang"] = NEUTRAL["vllm"]


@pytest.mark.parametrize("server", NEUTRAL)
async def test_every_sampling_setting_is_stated_in_the_servers_own_fields(server, caplog):
    with running("openai", server=server) as (url, state):
        engine = await connect("openai", url)
        for seed in (1, 2):
            await engine.generate(replace(REQUEST, seed=seed))
        await engine.close()
    for body in state.bodies[-2:]:
        assert NEUTRAL[server].items() <= body.items()
        assert (body["temperature"], body["top_p"]) == (REQUEST.temperature, REQUEST.top_p)
    # What a server refuses is left out, once and with a word; from one that takes it, nothing is.
    assert [record.getMessage() for record in caplog.records].count(
        f"server {url} refuses dry_multiplier, dynatemp_range, min_p, mirostat, repeat_penalty, repetition_penalty, "
        "samplers, top_k, top_n_sigma, typical_p, xtc_probability: they are left out, and the server's own values hold"
    ) == (server == "openai")
    assert len(caplog.records) == (server == "openai")
    # One of `connect`, two by which it sees that the server samples; one that was refused.
    assert len(state.bodies) == (6 if server == "openai" else 5)


async def test_tgi_gets_the_settings_that_do_nothing():
    with running("tgi") as (url, state):
        engine = await connect("tgi", url)
        await engine.generate(REQUEST)
        await engine.close()
    body = state.bodies[-1]
    assert (body["repetition_penalty"], body["frequency_penalty"], body["watermark"]) == (1.0, 0.0, False)
    assert (body["top_k"], body["typical_p"]) == (None, None)  # it takes no value that does nothing


async def test_a_server_of_tgis_protocol_that_refuses_one_setting_gets_the_others(caplog):
    with running("tgi", refused_fields=frozenset({"frequency_penalty"})) as (url, state):
        engine = await connect("tgi", url)
        await engine.generate(REQUEST)
        await engine.close()
    assert (state.bodies[-1]["repetition_penalty"], state.bodies[-1]["frequency_penalty"]) == (1.0, None)
    assert state.refused == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"server {url} refuses frequency_penalty: they are left out, and the server's own values hold"
    ]


async def test_another_refusal_leaves_them_in(kind, caplog):
    with running(kind) as (url, state):
        engine = await connect(kind, url)
        with pytest.raises(EngineError, match="said 4"):
            await engine.generate(replace(REQUEST, top_p=-1.0))
        await engine.generate(REQUEST)
        await engine.close()
    assert state.bodies[-1]["repetition_penalty"] == 1.0
    assert not caplog.records


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("Unrecognized request argument supplied: top_k", {"top_k"}),
        ("top_k must be -1 (disable), or at least 1, got 0", {"top_k"}),
        ("Extra inputs are not permitted", {"top_k", "min_p"}),
        ("unknown field `samplers`", {"top_k", "min_p"}),
        ("top_p must be in (0, 1]", set()),
    ],
)
def test_which_settings_a_server_refuses(message, refused):
    fields = {"top_k": -1, "min_p": 0.0}
    assert _refused_fields(EngineError(message, 400), fields) == refused
    assert not _refused_fields(EngineError(message, 404), fields)
    assert not _refused_fields(ContextLengthError(message, 400), fields)
    assert not _refused_fields(TransientEngineError(message, status=500), fields)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("vllm", {"version": "vllm 0.11.0"}),
        ("sglang", {"version": "sglang 0.5.4", "dtype": "auto", "quantization": "fp8", "revision": "main"}),
        ("llamacpp", {"version": "llamacpp b6900-1", "quantization": "scripted-Q4_K_M.gguf"}),
        ("openai", {"version": "openai"}),
    ],
)
async def test_the_identity_holds_what_a_server_tells(server, told):
    with running("openai", server=server) as (url, _):
        engine = await connect("openai", url)
        await engine.close()
    digests = tokenizer_digests(BACKEND.tokenizer)
    assert engine.identity == EngineIdentity("openai", "loopback/scripted", **told, **digests)
    with running("tgi") as (url, _):
        engine = await connect("tgi", url)
        await engine.close()
    version = {"version": "text-generation-inference 3.3.6"}
    assert engine.identity == EngineIdentity("tgi", "loopback/scripted", "1", **version, **digests)


async def test_a_refused_parameter_is_not_transient(kind):
    with running(kind) as (url, _):
        engine = await connect(kind, url)
        with pytest.raises(EngineError, match="said 4") as error:
            await engine.generate(replace(REQUEST, max_new_tokens=5, top_p=-1.0))
        assert type(error.value) is EngineError
        await engine.close()


async def test_tgi_types_and_openapi():
    """Requests and answers by the types that Hugging Face generates from TGI, and by TGI's own description."""
    from huggingface_hub import TextGenerationOutput
    from pydantic import TypeAdapter

    validators = _openapi_validators()
    with running("tgi") as (url, _):
        async with httpx.AsyncClient(base_url=url) as client:
            parameters = {"details": True, "stop": ["</thinking>"], "max_new_tokens": 9, "seed": 4, "do_sample": True}
            body = {"inputs": "<thinking>", "parameters": {**parameters, "temperature": 0.7, "top_p": 0.9}}
            answer = (await client.post("/generate", json=body)).json()
            TypeAdapter(TextGenerationOutput).validate_python(answer)
            assert (await client.post("/", json=body)).json() == [answer]
            stream = (await client.post("/generate_stream", json=body)).text
            events = [json.loads(line.removeprefix("data:")) for line in stream.split("\n\n") if line]
            assert events[-1]["generated_text"] == answer["generated_text"]
            assert len(events) == answer["details"]["generated_tokens"]
            refused = await client.post("/generate", json={"inputs": "x", "parameters": {"top_p": 1.0}})
            assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
            assert (await client.post("/generate", json={"inputs": 5})).status_code == 422
            tokens = (await client.post("/tokenize", json={"inputs": "one two"})).json()
            info = (await client.get("/info")).json()
            assert (await client.get("/health")).status_code == 200
    for name, value in {
        "GenerateRequest": body, "GenerateResponse": answer, "StreamResponse": events[-1], "Info": info,
        "ErrorResponse": refused.json(), "TokenizeResponse": tokens,
    }.items():  # fmt: skip
        if name in validators:
            validators[name].validate(value)
    if validators:  # and what the engine really sends
        sent = []

        async def note(request):
            sent.append(await request.json())
            return JSONResponse([answer])

        app = Starlette(routes=[Route("/", note, methods=["POST"])])
        with serve(app) as url:
            limits = await _connected_limits()
            engine = TGIEngine(url, EngineIdentity("tgi", "x"), BACKEND.tokenizer, limits)
            for change in ({}, {"temperature": 0.0}, {"top_p": 1.0}, {"seed": 0}, {"stop": ()}):
                await engine.generate(replace(REQUEST, **change))
            await engine.close()
        for body in sent:
            validators["GenerateRequest"].validate(body)
        assert len(sent) == 5


async def _connected_limits():
    with running("tgi") as (url, _):
        engine = await connect("tgi", url)
        await engine.close()
        return engine.limits


def _openapi_validators():
    """Validators of TGI's own description, if the environment variable TREECOT_TGI_OPENAPI names the file."""
    from openapi_schema_validator import OAS30Validator

    path = os.environ.get("TREECOT_TGI_OPENAPI")
    if not path:
        return {}
    document = json.loads(Path(path).read_text())
    schemas = document["components"]["schemas"]
    return {
        name: OAS30Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
        for name in schemas
    }


@pytest.mark.skipif("TREECOT_TGI_OPENAPI" not in os.environ, reason="TREECOT_TGI_OPENAPI names no file")
def test_the_openapi_validators_can_fail():
    from jsonschema import ValidationError

    with pytest.raises(ValidationError):
        _openapi_validators()["GenerateRequest"].validate({"inputs": "x", "parameters": {"top_p": "high"}})


async def test_permits_and_the_immediate_429():
    class Slow(ScriptedBackend):
        async def generate(self, request):
            await asyncio.sleep(0.2)
            return self.write(request)

    with running("tgi", Slow(), max_concurrent_requests=2) as (url, state):
        engine = await connect("tgi", url)
        assert engine.limits.max_concurrent_requests == 2
        results = await asyncio.gather(
            *(engine.generate(replace(REQUEST, seed=i)) for i in range(1, 6)), return_exceptions=True
        )
        await engine.close()
    assert sum(isinstance(r, Completion) for r in results) == 2
    assert all("Model is overloaded" in str(r) for r in results if isinstance(r, Exception))
    assert state.most_running == 2


# Bad input


async def test_wrong_urls():
    for url in ("localhost:8080", "ftp://x", "http://", "http://host:port", "http://x/?a=b"):
        with pytest.raises(InvalidInputError, match="write it as http://host:port"):
            check_url(url)
    with pytest.raises(InvalidInputError, match="holds credentials") as error:
        check_url(f"http://me:{TOKEN}@host:1")
    assert TOKEN not in str(error.value)
    assert check_url("http://host:1/") == "http://host:1"


async def test_nobody_there(kind):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransientEngineError, match="cannot be asked .ConnectError"):
            await connect(kind, f"http://127.0.0.1:{taken.getsockname()[1]}")


async def test_a_server_of_another_kind(kind):
    other = {"tgi": "openai", "openai": "tgi"}[kind]
    with running(other) as (url, _):
        with pytest.raises(InvalidInputError, match=f"set engine to {other}"):
            await connect(kind, url)
    html = Starlette(
        routes=[Route("/{path:path}", lambda _: Response("<html>welcome</html>"), methods=["GET", "POST"])]
    )
    with serve(html) as url, pytest.raises(InvalidInputError, match=f"set engine to {other}"):
        await connect(kind, url)


async def test_another_model_or_tokenizer(kind, tmp_path):
    with running(kind) as (url, _):
        lists = {
            "tgi": "serves 'loopback/scripted' and you asked for 'Qwen/Qwen2.5'",
            "openai": "no text with model 'Qwen/Qwen2.5' .*it lists 'loopback/scripted'.*engine to chat",
        }
        with pytest.raises(InvalidInputError, match=lists[kind]):
            await connect(kind, url, model="Qwen/Qwen2.5")
        other = build_tokenizer(["other words altogether"] * 100, [], 256)
        with pytest.raises(InvalidInputError, match="tokenizer 'mine' is not that of model 'loopback/scripted'"):
            await connect(kind, url, other, tokenizer="mine")
        with pytest.raises(InvalidInputError, match="tokenizer 'loopback/scripted' cannot be loaded"):
            await connect(kind, url, None)
    other.chat_template = None
    other.save_pretrained(tmp_path / "plain")
    with pytest.raises(InvalidInputError, match="has no chat template"):
        load_tokenizer(str(tmp_path / "plain"))


# Credentials


async def test_a_token_is_sent_only_if_it_is_given(kind, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with running(kind, token=TOKEN) as (url, state):
        with pytest.raises(InvalidInputError, match="refuses the token, or wants one.*401"):
            await connect(kind, url)
        with pytest.raises(InvalidInputError, match="refuses the token") as error:
            await connect(kind, url, token="wrong-token")
        assert "wrong-token" not in str(error.value)
        engine = await connect(kind, url, token=TOKEN)
        await engine.generate(REQUEST)
        await engine.close()
    assert "hf_secret" not in str(state.headers)
    assert "sk-secret" not in str(state.headers)
    with running(kind) as (url, state):
        engine = await connect(kind, url)
        await engine.generate(REQUEST)
        await engine.close()
    assert {h.get("authorization") for h in state.headers} <= {None, "Bearer -"}


async def test_a_server_that_repeats_the_token_does_not_get_it_into_a_message(kind):
    async def tell(request):
        return JSONResponse({"error": f"bad {request.headers.get('authorization')}"}, status_code=400)

    with serve(Starlette(routes=[Route("/{path:path}", tell, methods=["GET", "POST"])])) as url:
        engine = KINDS[kind][0](url, EngineIdentity(kind, "m"), BACKEND.tokenizer, await _connected_limits(), TOKEN)
        with pytest.raises(EngineError) as error:
            await engine.generate(REQUEST)
        await engine.close()
    assert "bad Bearer [token]" in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert TOKEN not in repr(ServerOptions(token=TOKEN))


# Reading answers


@pytest.mark.parametrize(
    ("text", "pieces", "truncated"),
    [
        ("a b</s>", ["a", " b", "</s>"], False),
        ("a b", ["a", " b", "</", "s>"], False),  # the stop string is left out
        ("a b", ["a", " b", "<|end|>"], False),  # so is the end of the turn
        ("a b", ["a", " b ", "</s>"], False),  # and white space before it
        ("a b", ["something", "else"], False),  # a server that tells its tokens in another way
        ("a b", [], False),
        ("a", ["a", " b", "</s>"], True),
        ("a b</", ["a", " b", "</", "s>"], True),
        ("", ["a", " b", "</s>"], True),
        ("", ["<|end|>"], False),
    ],
)
def test_a_text_that_lacks_its_end_is_noticed(text, pieces, truncated):
    request = replace(REQUEST, stop=("</s>",))
    if truncated:
        with pytest.raises(TransientEngineError, match="of a longer text"):
            read_completion(text, "stop", pieces, request, 1, len(pieces), None)
    else:
        assert read_completion(text, "stop", pieces, request, 1, 3, None).text == text.removesuffix("</s>")


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("", ["a", " b", ""], "a b"),  # TGI: no text at all, and a token without one
        ("", [""], ""),
        ("a b", ["a", " b", "\ufffd", "\ufffd"], "a b"),  # vLLM: one sign for every part
        ("a b\ufffd", ["a", " b", "\ufffd", "\ufffd"], "a b"),
        ("a b\ufffd", [], "a b"),  # a server that does not tell its tokens
        ("a 数", ["a", " ", "\ufffd", "\ufffd", "\ufffd"], "a 数"),  # a whole one
    ],
)
def test_a_budget_that_ends_inside_a_character_is_a_completion(text, pieces, expected):
    completion = read_completion(text, "length", pieces, REQUEST, 1, len(pieces), None)
    assert (completion.text, completion.finish_reason) == (expected, "length")
    if pieces[:2] == ["a", " b"]:  # at any other end a text that is missing is
        with pytest.raises(TransientEngineError, match="of a longer text"):
            read_completion("", "stop", pieces, REQUEST, 1, len(pieces), None)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"finish_reason": "stop", "stop_reason": "</s>"}, "stop"),
        ({"finish_reason": "stop", "stop_reason": None}, "eos"),
        ({"finish_reason": "stop", "matched_stop": 151645}, "eos"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "length", "stop_reason": None}, "length"),
    ],
)
def test_openai_finish_reasons(choice, reason):
    assert _finish_reason(choice) == reason


@pytest.mark.parametrize(("kind", "all_told", "reason"), [
    ("llamacpp", True, "eos"), ("llamacpp", False, "stop"), ("transformers", False, "eos"), ("ollama", True, "stop"),
])  # fmt: skip
def test_how_it_is_known_that_a_turn_ended(kind, all_told, reason):
    assert _finish_reason({"finish_reason": "stop"}, kind, all_told) == reason
    assert _finish_reason({"finish_reason": "length"}, kind, all_told) == "length"


def test_the_first_token_that_servers_add_is_not_sent_twice():
    tokenizer = build_tokenizer(["one two"] * 100, [], 256)
    messages = [{"role": "user", "content": "one"}]
    assert render_chat(tokenizer, messages).startswith("<|user|>")
    from tokenizers.processors import TemplateProcessing

    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert render_chat(tokenizer, messages).startswith("<s><|user|>")  # this one adds nothing by itself
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    assert render_chat(tokenizer, messages).startswith("<|user|>")
