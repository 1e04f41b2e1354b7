"""The endpoint: OpenAI's own client, bad requests, clients that leave, limits, keys, trees, figures."""

import asyncio
import contextlib
import json
import logging
import shutil
import subprocess

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hf_treecot.engines.openai import OpenAIEngine
from hf_treecot.engines.server import ServerOptions
from hf_treecot.errors import EngineError, EnginesDownError, TransientEngineError
from hf_treecot.evaluation.search_answers import search_answers
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.mcts.tree import Tree
from hf_treecot.serving.parameters import CHAT as CHAT_PARAMETERS
from hf_treecot.serving.parameters import UNSUPPORTED, Asked, Defaults, read_chat
from hf_treecot.serving.refusals import RefusalError
from hf_treecot.serving.service import Limits

from .serving_world import QUESTION, CountingBackend, Writer, ask, served
from .worlds import PROBLEM, until


MODELS = ("writer", "writer:samples", "writer:search")
CHAT = "/v1/chat/completions"
HTTP = httpx.Client(verify=False, timeout=60)  # one for all: each would read all certificates anew


def client_of(url, key="none"):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


def read_stream(chunks):
    """What a stream comes to: thoughts, content and reason by choice, and the usage."""
    choices, usage = {}, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            parts = choices.setdefault(choice.index, ["", "", None])
            parts[0] += getattr(choice.delta, "reasoning_content", None) or ""
            parts[1] += choice.delta.content or ""
            parts[2] = choice.finish_reason or parts[2]
    return choices, usage


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n", [1, 3])
def test_openais_client_streamed_and_not(model, n):
    engine = Writer()
    with served(engine) as (url, _):
        client = client_of(url)
        whole = client.chat.completions.create(**ask(model), seed=7, n=n)
        generated = engine.tokens
        with client.chat.completions.create(
            **ask(model), seed=7, n=n, stream=True, stream_options={"include_usage": True}
        ) as chunks:
            choices, usage = read_stream(chunks)
    assert usage.completion_tokens == generated == engine.tokens - generated
    assert usage.completion_tokens_details.dropped_tokens == (0 if model == "writer" else pytest.approx(generated, 1))
    assert whole.usage == usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + generated
    assert len(whole.choices) == n
    for choice in whole.choices:
        message = choice.message
        assert choices[choice.index] == [message.reasoning_content, message.content, choice.finish_reason]
        assert choice.finish_reason == "stop"
        assert message.content.startswith("The answer is: \\boxed{" if model.endswith("search") else "It is \\boxed{")
        assert "<thinking>" in message.reasoning_content
    assert whole.treecot["seed"] == 7
    if model != "writer":
        assert all("\\boxed{42}" in choice.message.content for choice in whole.choices)
        assert all(max(votes, key=votes.get) == "42" for votes in whole.treecot["votes"])
    if n > 1:
        assert len({choice.message.reasoning_content for choice in whole.choices}) > 1


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("stream", [False, True])
def test_curl(stream):
    body = json.dumps(ask("writer:search", seed=1, stream=stream))
    with served(Writer()) as (url, _):
        command = ["curl", "--silent", "--no-buffer", "--fail", f"{url}{CHAT}", "--json", body]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    if not stream:
        assert json.loads(result.stdout)["choices"][0]["message"]["content"] == "The answer is: \\boxed{42}"
        return
    *events, done, end = result.stdout.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["treecot"]["trees"]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "The answer is: \\boxed{42}"


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_answer_and_another_another(model):
    with served(Writer()) as (url, _):
        create = client_of(url).chat.completions.create
        messages = [create(**ask(model), seed=seed).choices[0].message for seed in (1, 1, 2, -(2**63))]
        unseeded = [create(**ask(model)).treecot["seed"] for _ in range(2)]
    thoughts = [message.reasoning_content for message in messages]
    assert thoughts[0] == thoughts[1]
    assert len(set(thoughts)) == 3
    assert unseeded[0] != unseeded[1]


@pytest.mark.parametrize(
    ("model", "effort", "tokens"),
    [("writer:search", "minimal", 128), ("writer:search", "xhigh", 2048), ("writer:samples", "low", 256)],
)
def test_the_effort_is_the_budget(model, effort, tokens):
    engine = Writer()
    with served(engine) as (url, _):
        client_of(url).chat.completions.create(**ask(model), reasoning_effort=effort, temperature=1.5)
    assert engine.tokens <= tokens
    if model == "writer:samples":
        assert len(engine.requests) == 4
        assert {request.max_new_tokens for request in engine.requests} == {64}


@pytest.mark.parametrize("budget", [9, 23, 50, 111, 300])
def test_no_token_is_generated_beyond_those_that_were_asked_for(budget):
    engine = Writer()
    with served(engine) as (url, _):
        reply = HTTP.post(f"{url}{CHAT}", json=ask("writer:search", max_completion_tokens=budget, seed=3)).json()
    assert engine.tokens <= budget
    if "error" in reply:
        assert reply["error"]["code"] == "token_budget_too_small"
    else:
        assert reply["usage"]["completion_tokens"] == engine.tokens


@pytest.mark.parametrize("stop", [" .", ["zzz", "It"], ["\\boxed"]])
@pytest.mark.parametrize("model", MODELS)
def test_stop_strings_end_the_answer(model, stop):
    with served(Writer()) as (url, _):
        reply = HTTP.post(f"{url}{CHAT}", json=ask(model, stop=stop, seed=5))
    if reply.status_code == 200:
        content = reply.json()["choices"][0]["message"]["content"]
        assert not any(string in content for string in ([stop] if isinstance(stop, str) else stop))
    else:  # samples that end before their answer
        assert reply.json()["error"]["code"] == "token_budget_too_small"


def test_a_search_continues_the_conversation():
    engine = Writer()
    turns = [
        {"role": "developer", "content": "Be <answer> brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": QUESTION},
    ]
    with served(engine) as (url, _):
        for model in MODELS:
            assert HTTP.post(f"{url}{CHAT}", json=ask(model, messages=turns)).status_code == 200
    plain, search = engine.requests[0].prompt, engine.requests[-1].prompt
    assert plain == f"[system]Be <answer> brief.[user]Hello there[assistant]Hi[user]{QUESTION}[assistant]"
    system, _, rest = search.partition("[user]")
    assert "step by step" in system.lower() or "<thinking>" in system
    assert system.endswith("\n\nBe < answer> brief.")  # no tag of thoughts in what others say
    assert rest.startswith(f"Hello there[assistant]Hi[user]{QUESTION}[assistant]<")


IMAGE = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "https://a/b.png"}}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"model": "gpt-5"}, 404, "model", "model_not_found"),
        ({"model": "writer:mcts"}, 404, "model", "model_not_found"),
        ({"model": None}, 400, "model", "missing_required_parameter"),
        ({"model": 3}, 400, "model", "invalid_type"),
        ({"messages": None}, 400, "messages", "missing_required_parameter"),
        ({"messages": []}, 400, "messages", "invalid_type"),
        ({"messages": "Hello"}, 400, "messages", "invalid_type"),
        ({"messages": ["Hello"]}, 400, "messages.[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages.[0].content", "empty_string"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages.[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, 400, "messages.[0].content.[1].type", "invalid_value"),
        ({"messages": [{"role": "user"}]}, 400, "messages.[0].content", "invalid_type"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.[0].role", "invalid_value"),
        ({"messages": [{"role": [], "content": "x"}]}, 400, "messages.[0].role", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.[0].role", "invalid_value"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages", "invalid_value"),
        ({"tools": [TOOL]}, 400, "tools", "unsupported_parameter"),
        ({"tool_choice": "required"}, 400, "tool_choice", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "unsupported_parameter"),
        ({"logprobs": True}, 400, "logprobs", "unsupported_parameter"),
        ({"presence_penalty": 0.5}, 400, "presence_penalty", "unsupported_parameter"),
        ({"logit_bias": {"3": 1}}, 400, "logit_bias", "unsupported_parameter"),
        ({"top_k": 40}, 400, "top_k", "unsupported_parameter"),
        ({"temprature": 0.5}, 400, "temprature", "unknown_parameter"),
        ({"temperature": -0.1}, 400, "temperature", "decimal_below_min_value"),
        ({"temperature": 2.1}, 400, "temperature", "decimal_above_max_value"),
        ({"temperature": "hot"}, 400, "temperature", "invalid_type"),
        ({"temperature": True}, 400, "temperature", "invalid_type"),
        ({"model": "writer:samples", "temperature": 0}, 400, "temperature", "invalid_value"),
        ({"top_p": 0}, 400, "top_p", "decimal_below_min_value"),
        ({"top_p": 1.1}, 400, "top_p", "decimal_above_max_value"),
        ({"seed": 1.5}, 400, "seed", "invalid_type"),
        ({"seed": 2**63}, 400, "seed", "integer_above_max_value"),
        ({"n": 0}, 400, "n", "integer_below_min_value"),
        ({"n": 17}, 400, "n", "integer_above_max_value"),
        ({"n": 16, "max_tokens": 32_768}, 400, "n", "invalid_value"),
        ({"max_completion_tokens": 0}, 400, "max_completion_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": 10**9}, 400, "max_completion_tokens", "integer_above_max_value"),
        ({"max_tokens": -1}, 400, "max_tokens", "integer_below_min_value"),
        ({"model": "writer:search", "max_tokens": 1}, 400, "max_completion_tokens", "token_budget_too_small"),
        ({"model": "writer:samples", "max_tokens": 3}, 400, "max_tokens", "token_budget_too_small"),
        ({"model": "writer:search", "reasoning_effort": "none"}, 400, "reasoning_effort", "invalid_value"),
        ({"model": "writer:search", "reasoning_effort": 3}, 400, "reasoning_effort", "invalid_value"),
        ({"reasoning_effort": "high"}, 400, "reasoning_effort", "unsupported_parameter"),
        ({"stop": [""]}, 400, "stop", "invalid_type"),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, "stop", "array_above_max_length"),
        ({"stream": "yes"}, 400, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": {"x": 1}}, 400, "stream_options", "invalid_value"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_as_openai_does(change, status, param, code, endpoint):
    body = {name: value for name, value in {**ask(), **change}.items() if value is not None}
    check_error(HTTP.post(f"{endpoint}{CHAT}", json=body), status, param, code)


@pytest.fixture(scope="module")
def endpoint():
    with served(Writer()) as (url, _):
        yield url


def check_error(response, status, param=None, code=None):
    """OpenAI's format, and not a word about our code or of the question."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert "Traceback" not in response.text
    assert "secret" not in response.text
    return error


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[" * 100_000, 400), (b'{"model": NaN}', 400),
        (b'{"model": "\\ud800"}', 400), (b'{"seed": ' + b"9" * 10_000 + b"}", 400), (b" " * (2**20 + 1), 413),
    ],
    ids=range(9),
)  # fmt: skip
def test_bodies_that_are_no_requests(content, status, endpoint):
    check_error(HTTP.post(f"{endpoint}{CHAT}", content=content), status)


@pytest.mark.parametrize(
    ("method", "path", "status", "param", "code"),
    [
        ("GET", CHAT, 405, None, "method_not_supported"),
        ("GET", "/v1/nothing", 404, None, "unknown_url"),
        ("POST", "/", 404, None, "unknown_url"),
        ("GET", "/v1/models/other", 404, "model", "model_not_found"),
        ("GET", "/v1/trees/chatcmpl-1-0", 404, "id", "not_found"),
        ("GET", "/v1/trees/../../etc/passwd", 404, None, "unknown_url"),
    ],
)
def test_pages_that_are_not_there(method, path, status, param, code, endpoint):
    check_error(HTTP.request(method, f"{endpoint}{path}"), status, param, code)


def test_values_that_ask_for_nothing_are_taken(endpoint):
    nothing = {
        "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "logprobs": False, "tools": [],
        "tool_choice": "auto", "response_format": {"type": "text"}, "user": "me", "metadata": {"a": "b"},
        "store": False, "stop": None, "n": None, "top_k": -1, "stream_options": None, "service_tier": "auto",
    }  # fmt: skip
    assert HTTP.post(f"{endpoint}{CHAT}", json=ask(**nothing)).status_code == 200


def test_models_are_listed_and_found(endpoint):
    client = client_of(endpoint)
    assert tuple(model.id for model in client.models.list()) == MODELS
    assert client.models.retrieve("writer:search").parent == "writer"


KEY, OTHER_KEY = "key-of-one-client", "key-of-another"


def test_keys(caplog):
    caplog.set_level(logging.DEBUG)
    with served(Writer(), keys=(KEY, OTHER_KEY)) as (url, _):
        for headers, code in (
            ({}, None), ({"authorization": KEY}, None), ({"authorization": f"Basic {KEY}"}, None),
            ({"authorization": "Bearer wrong-key"}, "invalid_api_key"),
            ({"authorization": f"Bearer {KEY}{KEY}"}, "invalid_api_key"),
            ({"authorization": "Bearer \u00e9".encode("latin-1").decode("latin-1")}, "invalid_api_key"),
        ):  # fmt: skip
            headers = {name: value.encode("latin-1") for name, value in headers.items()}
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/v1/trees/x")):
                response = HTTP.request(method, f"{url}{path}", headers=headers)
                check_error(response, 401, None, code)
                assert "wrong-key" not in response.text
        with pytest.raises(openai.AuthenticationError):
            client_of(url, "wrong-key").models.list()
        assert HTTP.get(f"{url}/health").json()["status"] == "ok"
        reply = client_of(url, KEY).chat.completions.create(**ask("writer:search"))
        (tree,) = reply.treecot["trees"]
        for key, status in ((KEY, 200), (OTHER_KEY, 404)):  # a tree is its asker's alone
            response = HTTP.get(f"{url}/v1/trees/{tree}", headers={"authorization": f"bearer {key}"})
            assert response.status_code == status
    assert "key" not in caplog.text


async def leave(url, body, when):
    """Ask, and leave as soon as a condition holds."""
    async with httpx.AsyncClient(timeout=None) as client:
        asking = asyncio.ensure_future(client.post(f"{url}{CHAT}", json=body))
        await until(when)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_a_client_that_leaves_stops_its_search(model, stream):
    engine = Writer(blocks=True, good=0 if model != "writer:search" else 3)
    with served(engine) as (url, service):
        await leave(url, ask(model, stream=stream, n=2), lambda: engine.running >= 2)
        await until(lambda: not engine.running and not service.running)
        started = len(engine.requests)
        assert engine.cancelled == started - engine.good
        assert (await httpx.AsyncClient().get(f"{url}/health")).json() == {"status": "ok", "running": 0, "waiting": 0}
        assert len(engine.requests) == started
        assert figures(url)[f'treecot_requests_total{{"decoding": "{decoding(model)}", "status": "left"}}'] == 1


def decoding(model):
    return model.partition(":")[2] or "plain"


def figures(url):
    text = HTTP.get(f"{url}/metrics").text
    return {
        sample.name + (json.dumps(dict(sorted(sample.labels.items()))) if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_client_that_leaves_while_it_waits_is_forgotten():
    engine = Writer(blocks=True)
    with served(engine, limits=Limits(max_concurrent_requests=1, max_queue=2)) as (url, service):
        async with httpx.AsyncClient(timeout=None) as client:
            asking = []
            for _ in range(3):
                asking.append(asyncio.ensure_future(client.post(f"{url}{CHAT}", json=ask())))
                await until(lambda: service.running + service.waiting == len(asking))
            response = await client.post(f"{url}{CHAT}", json=ask())
            check_error(response, 429, None, "rate_limit_exceeded")
            assert int(response.headers["retry-after"]) > 0
            for task in asking[1:]:
                task.cancel()
            await until(lambda: service.waiting == 0)
            assert len(engine.requests) == 1
            asking[0].cancel()
        await until(lambda: not service.running)
    assert engine.cancelled == 1


@pytest.mark.parametrize("stream", [False, True])
def test_time_is_limited(stream):
    with served(Writer(blocks=True, good=8), limits=Limits(max_seconds=0.3)) as (url, service):
        found = HTTP.post(f"{url}{CHAT}", json=ask("writer:search", stream=stream, seed=1))
        assert found.status_code == 200  # with what there was
        assert "boxed" in found.text
        late = HTTP.post(f"{url}{CHAT}", json=ask(stream=stream))
        check_error(late, 504, None, "timeout")
        assert not service.running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineError(f"it said: {QUESTION}"), 500, "engine_error"),
        (TransientEngineError(f"it said: {QUESTION}"), 503, "engine_error"),
        (EnginesDownError("all down"), 503, "engine_error"),
        (RuntimeError(QUESTION), 500, "internal_error"),
    ],
)
def test_engines_that_fail(model, stream, error, status, code, caplog):
    caplog.set_level(logging.DEBUG)
    with served(Writer(error=error)) as (url, service):
        check_error(HTTP.post(f"{url}{CHAT}", json=ask(model, stream=stream)), status, None, code)
        assert not service.running
    assert "secret question" not in caplog.text
    assert str(status) in caplog.text


def test_an_engine_that_fails_within_a_stream(caplog):
    with served(Writer(error=EngineError("gone"), good=4)) as (url, _):
        with pytest.raises(openai.APIError, match="The model failed to answer"):
            read_stream(client_of(url).chat.completions.create(**ask("writer:search"), stream=True))
        text = HTTP.post(f"{url}{CHAT}", json=ask("writer:samples", stream=True)).text
    assert "[DONE]" not in text


def test_a_conversation_that_does_not_fit():
    from hf_treecot.errors import ContextLengthError

    with served(Writer(error=ContextLengthError(QUESTION))) as (url, _):
        for model in MODELS:
            response = HTTP.post(f"{url}{CHAT}", json=ask(model))
            check_error(response, 400, "messages", "context_length_exceeded")


def test_no_text_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    with served(Writer()) as (url, _):
        for model in MODELS:
            HTTP.post(f"{url}{CHAT}", json=ask(model, max_completion_tokens=500))
        HTTP.post(f"{url}{CHAT}", json=ask("my secret model"))
    assert "secret" not in caplog.text
    assert "boxed" not in caplog.text
    assert "chatcmpl-" in caplog.text


def test_trees_can_be_fetched_the_latest_ones():
    with served(Writer(), limits=Limits(max_trees=3)) as (url, _):
        create = client_of(url).chat.completions.create
        names = [name for n in (1, 3) for name in create(**ask("writer:search"), n=n).treecot["trees"]]
        statuses = [HTTP.get(f"{url}/v1/trees/{name}").status_code for name in names]
        record = HTTP.get(f"{url}/v1/trees/{names[-1]}").json()
    assert statuses == [404, 200, 200, 200]
    tree = Tree.from_record(record)
    assert tree.problem.prompt == QUESTION
    assert tree.provenance["generator_model"] == "writer"
    answers = [node for node in tree.nodes if node.reward is not None]
    assert sum({node.answer: node.reward for node in answers}.values()) == pytest.approx(1)


def test_figures():
    engine = Writer()
    with served(engine) as (url, _):
        usages = [HTTP.post(f"{url}{CHAT}", json=ask(model)).json()["usage"] for model in MODELS]
        HTTP.post(f"{url}{CHAT}", json=ask(temperature=9))
        found = figures(url)
    for model, usage in zip(MODELS, usages, strict=True):
        label = f'{{"decoding": "{decoding(model)}"}}'
        assert found[f"treecot_generated_tokens_total{label}"] == usage["completion_tokens"]
        assert found[f"treecot_prompt_tokens_total{label}"] == usage["prompt_tokens"]
        assert found[f"treecot_first_token_seconds_count{label}"] == 1
    assert found['treecot_requests_total{"decoding": "-", "status": "400"}'] == 1
    assert found["treecot_running_requests"] == found["treecot_waiting_requests"] == 0
    assert found["treecot_fetchable_trees"] == 1


async def test_our_own_engine_asks_it_as_any_server(tmp_path):
    """A tree that is grown through the endpoint's raw completions is the one that is grown without it."""
    backend = CountingBackend()
    backend.tokenizer.save_pretrained(tmp_path)
    config, pattern = SearchConfig(temperature=1.0), load_pattern("reflection")
    with served(backend) as (url, _):
        engine = await OpenAIEngine.connect(url, ServerOptions(tokenizer=str(tmp_path)))
        through = await search_answers(PROBLEM, engine, pattern, config, 200, reward="confidence")
        await engine.close()
    assert engine.identity.model == "writer"
    assert through == await search_answers(PROBLEM, backend, pattern, config, 200, reward="confidence")


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": "writer:search"}, "model", "invalid_value"),
        ({"prompt": ["a"]}, "prompt", "invalid_type"),
        ({"prompt": ""}, "prompt", "invalid_type"),
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": 5}, "logprobs", "invalid_value"),
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
    ],
)
def test_raw_prompts_that_are_refused(change, param, code, endpoint):
    body = {"model": "writer", "prompt": "Once", **change}
    check_error(HTTP.post(f"{endpoint}/v1/completions", json=body), 400, param, code)


ODD = (None, True, False, -1, 0, 1, 10**400, 1e308, -0.0, "", "x", [], [[]], [None], {}, {"a": []}, "\x00", "search")


@pytest.mark.parametrize("name", sorted(CHAT_PARAMETERS | UNSUPPORTED.keys()))
def test_any_value_is_read_or_refused(name):
    for value in ODD:
        for model in MODELS:
            with contextlib.suppress(RefusalError):
                assert isinstance(read_chat({**ask(model), name: value}, Defaults("writer")), Asked)
