"""The chat engine against a loopback provider of `/v1/chat/completions`, over a real socket."""

import re
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines
from hf_treecot.engines.chat import ChatEngine
from hf_treecot.engines.chat_models import check_provider
from hf_treecot.engines.chat_thoughts import Question, Reply, read_prompt, split_reasoning, write_prompt
from hf_treecot.engines.cost import Prices
from hf_treecot.engines.engine import Completion, Request
from hf_treecot.engines.openai import OpenAIEngine
from hf_treecot.engines.pool import EnginePool, PoolConfig
from hf_treecot.engines.rate_limits import seconds_to_wait
from hf_treecot.engines.server import ServerOptions
from hf_treecot.errors import (
    ContextLengthError,
    CostLimitError,
    EngineError,
    EnginesDownError,
    InvalidInputError,
    TransientEngineError,
)
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.chat import Manner, RateLimit, make_app
from hf_treecot.testing.faults import Faults
from hf_treecot.testing.running import serve

from .worlds import verify_inline


BACKEND = ScriptedBackend()
TOKEN = "tok-secret-123"
SYSTEM = "Solve it.\n- <thinking>: reason openly\n- <answer>: the final answer\nBe brief."
CHAT = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "2 + 2?"}]
PROMPT = write_prompt(CHAT)
REQUEST = Request(f"{PROMPT}<thinking>", ("</thinking>",), 40, 0.7, 0.9, 3, len(PROMPT))
ANSWER = replace(REQUEST, prompt=f"{PROMPT}<thinking>4</thinking>\n<answer>The answer is:", stop=("</answer>",))
IN_WORDS = Manner(continues=False)


@asynccontextmanager
async def connected(manner=Manner(), options=ServerOptions(), **settings):
    app = make_app(BACKEND, manner=manner, **settings)
    with serve(app) as url:
        engine = await ChatEngine.connect(url, options, BACKEND.tokenizer)
        try:
            yield engine, app.state
        finally:
            await engine.close()


def world_prompt(text):
    """What the model behind the loopback provider sees."""
    tokenizer = BACKEND.tokenizer
    return tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True) + text


# How a thought is asked for


@pytest.mark.parametrize(
    "manner", [Manner(), IN_WORDS, Manner(strict=True), Manner(repeats=True), replace(IN_WORDS, has_stop_reason=True)]
)
@pytest.mark.parametrize("request_", [REQUEST, ANSWER], ids=["thinking", "answer"])
async def test_the_same_thought_continued_and_in_words(manner, request_):
    async with connected(manner) as (engine, state):
        completion = await engine.generate(request_)
        assert engine.identity.thoughts == ("continued" if manner.continues else "in_words")
    expected = BACKEND.write(replace(request_, prompt=world_prompt(request_.prompt.removeprefix(PROMPT))))
    assert (completion.text.strip(), completion.tokens) == (expected.text.strip(), expected.tokens)
    assert (completion.finish_reason, completion.malformed, completion.reasoning) == ("stop", 0, "")
    assert completion.prompt_tokens == len(
        BACKEND.tokenizer(world_prompt(request_.prompt.removeprefix(PROMPT)))["input_ids"]
    )
    body = state.bodies[-1]
    assert (body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == (0.7, 0.9, 3, 40)


async def test_what_is_sent_in_words():
    async with connected(IN_WORDS) as (engine, state):
        await engine.generate(REQUEST)
        first = state.bodies[-1]["messages"]
        await engine.generate(ANSWER)
        second = state.bodies[-1]["messages"]
    words = (
        "Write the next thought of the reasoning, and only this one: reason openly.\nPut it between <thinking> and "
    )
    assert first == [
        CHAT[0],
        {"role": "user", "content": f"2 + 2?\n\n{words}</thinking>, and write nothing before or after them."},
    ]
    assert second[:3] == [*CHAT, {"role": "assistant", "content": "<thinking>4</thinking>"}]
    assert 'the final answer. Begin it with "The answer is:"\n' in second[3]["content"]


def read(text, finish_reason="stop", has_stop=False, prefill="", reasoning=""):
    question = Question.about(CHAT, f"<thinking>{prefill}", ("</thinking>",))
    return question.read(Reply(text, reasoning, finish_reason, 9, 5), has_stop)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<thinking>four</thinking>", "four"),
        ("Sure:\n<thinking> four </thinking> Shall I go on?", "four"),
        ("<thinking>four", None),
        ("four</thinking>", None),
        ("four", None),
        ("", None),
        ("<answer>4</answer>", None),
        ("<answer>4</answer><thinking>four</thinking>", None),
        ("<thinking>four</thinking>\n<answer>4</answer>", "four"),
    ],
)
def test_a_thought_is_cut_out_of_its_tag_and_anything_else_is_malformed(text, expected):
    completion = read(text)
    assert (completion and completion.text) == expected
    if expected:
        assert (completion.finish_reason, completion.tokens, completion.prompt_tokens) == ("stop", 5, 9)


def test_a_closing_tag_that_may_be_missing():
    assert read("<thinking>four", has_stop=True).finish_reason == "stop"  # it was a stop string, which is left out
    assert read("<thinking>four", "eos", has_stop=True) is None  # the server tells that it was not
    assert read("<thinking>four and", "length").finish_reason == "length"
    assert read("", "length", reasoning="hm").finish_reason == "length"  # it could have gone on reasoning for ever
    assert read("four and", "length") is None


def test_a_thought_of_any_kind():
    stop = ("</thinking>", "</answer>")
    question = Question.about(CHAT, "<thinking>four</thinking>\n", stop)
    assert "in a tag of its kind (<thinking>, <answer>)" in question.messages[-1]["content"]
    read = partial(question.read, has_stop=True)
    assert read(Reply("<answer>4", "", "stop", 9, 5)).text == "<answer>4"
    assert read(Reply("So: <answer>4</answer>.", "", "stop", 9, 5)).text == "<answer>4"
    assert read(Reply("<aside>4</aside>", "", "stop", 9, 5)) is None


@pytest.mark.parametrize("text", ["Firstly, let me see. Two", "firstly, let me see. Two", "Two"])
def test_a_prefill_is_written_once(text):
    assert read(f"<thinking>{text}</thinking>", prefill="Firstly, let me see.").text == " Two"


def test_a_prompt_carries_its_messages():
    messages = [{"role": "user", "content": 'a "b" \\ {数}]<|im_end|>'}]
    found, so_far = read_prompt(f"{write_prompt(messages)}<thinking>[1]")
    assert found == [{"role": "user", "content": 'a "b" \\ {数}]< |im_end|>'}]  # control tokens are text
    assert so_far == "<thinking>[1]"


async def test_a_turn_without_a_tag(caplog):
    async with connected(IN_WORDS) as (engine, _):
        completion = await engine.generate(replace(REQUEST, prompt=PROMPT, stop=()))
        assert completion.text
        with pytest.raises(EngineError, match="does not continue an answer"):
            await engine.generate(replace(REQUEST, prompt=f"{PROMPT}4 is", stop=()))
    async with connected() as (engine, _):
        assert (await engine.generate(replace(REQUEST, prompt=f"{PROMPT}4 is", stop=()))).text


# What is found out at the start


@pytest.mark.parametrize("strict", [False, True])
async def test_what_a_user_says_is_not_asked(strict):
    async with connected(replace(IN_WORDS, strict=strict), ServerOptions(continues=False)) as (_, state):
        assert not any("continue_final_message" in body for body in state.bodies)


@pytest.mark.parametrize(
    ("manner", "seeds"), [(Manner(), "honoured"), (Manner(keeps_seeds=False), "ignored: not reproducible")]
)
async def test_whether_seeds_are_kept_is_in_the_provenance_of_every_tree(manner, seeds, tmp_path):
    async with connected(manner) as (engine, _):
        await build(engine, tmp_path, 2)
    provenance = next(load_trees(tmp_path)).provenance
    assert (provenance["generator_seeds"], provenance["critic_seeds"]) == (seeds, seeds)
    assert provenance["generator_thoughts"] == "continued"
    assert provenance["generator_engine"] == "chat"


async def test_a_server_with_a_will_of_its_own(caplog):
    """It refuses fields of other servers, a system's turn, and calls the budget otherwise."""
    manner = Manner(continues=False, strict=True, system=False, budget_field="max_completion_tokens")
    async with connected(manner) as (engine, state):
        completion = await engine.generate(REQUEST)
        body = state.bodies[-1]
    assert completion.text
    assert body["max_completion_tokens"] == 40
    assert body["messages"][0]["content"].startswith(f"{SYSTEM}\n\n2 + 2?\n\nWrite the next thought")
    assert ": reason openly." in body["messages"][0]["content"]
    assert "refuses dry_multiplier" in caplog.text


# Reasoning models


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "think"])
@pytest.mark.parametrize("continues", [True, False])
async def test_reasoning_is_told_apart_from_the_thought(field, continues, tmp_path):
    async with connected(Manner(continues=continues, reasoning=field)) as (engine, state):
        completion = await engine.generate(REQUEST)
        assert completion.reasoning == "Let me see."
        assert "see." not in completion.text
        expected = BACKEND.write(replace(REQUEST, prompt=world_prompt("<thinking>")))
        assert completion.tokens > expected.tokens  # the budget counts it
        if not continues:  # its closing tag could stand in the reasoning
            assert "stop" not in state.bodies[-1]
        for keep in (False, True):
            await build(engine, tmp_path / str(keep), 2, keep_reasoning=keep)
            nodes = [node for tree in load_trees(tmp_path / str(keep)) for node in tree.nodes[1:]]
            assert {node.reasoning for node in nodes if node.tokens} == {"Let me see." if keep else ""}
            assert not any("see." in node.text for node in nodes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think>\n\nb", ("a", "b")),
        ("\n<think>\na\n</think>b", ("\na\n", "b")),
        ("a</think>b", ("a", "b")),  # the template has opened it
        ("<think>a", ("a", "")),
        ("b", ("", "b")),
        ("<thinking>b</thinking>", ("", "<thinking>b</thinking>")),
    ],
)
def test_reasoning_within_the_text(text, expected):
    assert split_reasoning(text) == expected


# Faults


async def build(engine, output_dir, count, max_cost=None, **search):
    config = SearchConfig(
        num_simulations=3, min_right=1, max_right=2, give_up_factor=1, max_new_tokens=40, max_depth=6, **search
    )
    return await build_trees(
        list(generate_problems("letters", count, seed=3)), [load_pattern("double_check")],
        {"generator": engine, "critic": engine}, verify_inline, Selector(str.split), output_dir,
        BuildConfig(config, seed=5, trees_in_flight=8, show_progress=False, max_cost=max_cost),
    )  # fmt: skip


@pytest.mark.parametrize("fault", ["reset", "garbage", "overloaded", "overloaded_later", "error"])
async def test_every_fault_that_may_pass_is_transient(fault):
    faults = Faults(kinds=(fault,))
    async with connected(faults=faults) as (engine, _):
        faults.rate = 1.0
        with pytest.raises(TransientEngineError) as error:
            await engine.generate(REQUEST)
        assert error.value.retry_after == (1.0 if fault == "overloaded_later" else 0.0)
        faults.rate = 0.0
        assert (await engine.generate(REQUEST)).text


@pytest.mark.parametrize("kind", ["other_tag", "no_tag", "unclosed"])
async def test_a_malformed_thought_is_asked_for_twice_more_and_counted(kind, tmp_path):
    faults = Faults(kinds=(kind,))
    async with connected(replace(IN_WORDS, has_stop_reason=True), faults=faults) as (engine, state):
        faults.rate, before, billed = 1.0, len(state.bodies), state.tokens
        completion = await engine.generate(REQUEST)
        assert len(state.bodies) - before == 3
        assert len({body["seed"] for body in state.bodies[before:]}) == 3
        assert (completion.text, completion.finish_reason, completion.malformed) == ("", "malformed", 3)
        assert completion.tokens == state.tokens - billed  # all of them are paid for
        faults.rate = 0.4
        report = await build(engine, tmp_path, 8)
    trees = list(load_trees(tmp_path))
    assert report.statistics["malformed"] == sum(tree.malformed for tree in trees) > 8
    assert report.statistics["malformed"] == faults.counts[kind] - 3
    ends = [node.dead_end for tree in trees for node in tree.nodes if node.finish_reason == "malformed"]
    assert set(ends) == {"malformed"}
    assert not any("aside" in node.text for tree in trees for node in tree.nodes)


async def test_a_content_filter_ends_its_chain_alone(tmp_path):
    async with connected(faults=(faults := Faults(kinds=("filtered",)))) as (engine, _):
        faults.rate = 0.2
        report = await build(engine, tmp_path, 3)
    assert report.failures == {}
    refused = [node for tree in load_trees(tmp_path) for node in tree.nodes if node.dead_end == "refused"]
    assert refused
    assert {(node.text, node.finish_reason) for node in refused if node.kind == "thinking"} == {("", "refused")}


async def test_a_prompt_that_a_filter_refuses():
    body = {
        "error": {"message": "The response was filtered due to content management policy", "code": "content_filter"}
    }
    async with answering(JSONResponse(body, 400)) as engine:
        assert (await engine.generate(REQUEST)).finish_reason == "refused"


async def test_a_prompt_longer_than_the_context():
    async with connected(max_model_len=200) as (engine, _):
        with pytest.raises(ContextLengthError, match="context length is 200"):
            await engine.generate(replace(REQUEST, prompt=f"{PROMPT}<thinking>{'1' * 300}"))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (402, "You have exceeded your monthly included credits for Inference Providers."),
        (429, "You exceeded your current quota, please check your plan and billing details."),
    ],
)
async def test_an_account_without_money_ends_the_build(status, message):
    async with answering(JSONResponse({"error": message}, status)) as engine:
        with pytest.raises(EnginesDownError, match="run the same command again"):
            await engine.generate(REQUEST)


@pytest.mark.parametrize(
    "content",
    [
        b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
        b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "cut o',
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": null}], "usage": {}}',
        b'{"choices": [{"message": {"content": ["x"]}, "finish_reason": "stop"}], "usage": {}}',
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_transient(content):
    async with answering(Response(content, media_type="application/json")) as engine:
        with pytest.raises(TransientEngineError):
            await engine.generate(REQUEST)


async def test_tokens_that_a_server_does_not_count_are_counted_here():
    content = {"choices": [{"message": {"content": "one two</thinking>"}, "finish_reason": "stop"}]}
    async with answering(JSONResponse(content)) as engine:
        completion = await engine.generate(REQUEST)
    assert (completion.text, completion.tokens) == ("one two", 3)
    assert completion.prompt_tokens > 10


@asynccontextmanager
async def answering(response):
    """An engine of a server that always answers the same."""
    async with connected() as (engine, _):
        pass

    async def answer(request):
        return response

    with serve(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        engine = ChatEngine(url, engine.identity, BACKEND.tokenizer, engine.limits, TOKEN)
        yield engine
        await engine.close()


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ServerOptions(), "and you named none: set model"),
        (
            ServerOptions(model="gpt-5"),
            r"model='gpt-5' is refused .*set model to one that it has \(it lists 'loopback/scripted', 'a'",
        ),
        (ServerOptions(model="a"), "does not exist"),
    ],
)
async def test_a_model_that_the_server_does_not_have(options, message):
    with serve(make_app(BACKEND, models=("a", "b"))) as url, pytest.raises(InvalidInputError, match=message):
        await ChatEngine.connect(url, options, BACKEND.tokenizer)


async def test_keys(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    app = make_app(BACKEND, token=TOKEN)
    with serve(app) as url:
        for token in (None, "sk-of-another"):
            with pytest.raises(
                InvalidInputError, match="refuses the token, or wants one.*TREECOT_SERVER_TOKEN"
            ) as error:
                await ChatEngine.connect(url, ServerOptions(token=token), BACKEND.tokenizer)
            assert "sk-of" not in str(error.value)
        engine = await ChatEngine.connect(url, ServerOptions(token=TOKEN), BACKEND.tokenizer)
        await engine.generate(REQUEST)
        await engine.close()
    assert "secret" not in str(app.state.headers).replace(TOKEN, "")


async def test_a_model_without_a_tokenizer():
    with serve(make_app(BACKEND)) as url, pytest.raises(InvalidInputError, match="set tokenizer to that of"):
        await ChatEngine.connect(url, ServerOptions())


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        ("nobody", ServerOptions(model="m", token=TOKEN), "provider='nobody' offers no chat: use auto, or one of"),
        ("fal-ai", ServerOptions(model="m", token=TOKEN), "offers no chat"),
        ("together", ServerOptions(token=TOKEN), "needs a model"),
        ("together", ServerOptions(model="m"), "wants a key: set TREECOT_SERVER_TOKEN"),
        ("openai", ServerOptions(model="m", token="hf_x"), "cannot be asked for model='m'.*or another key"),
        ("auto", ServerOptions(model="m", token=TOKEN), "cannot be asked for model='m'.*or another key"),
    ],
)
def test_providers_that_cannot_be_asked(provider, options, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        check_provider(provider, options)
    assert TOKEN not in str(error.value)


async def test_a_provider_through_the_hubs_router(monkeypatch):
    """With a token of the Hub it is the router that is asked, under the provider's name for the model."""
    from huggingface_hub import constants
    from huggingface_hub.hf_api import InferenceProviderMapping
    from huggingface_hub.inference._providers import _common

    mapping = InferenceProviderMapping(
        provider="together",
        hf_model_id="mine/model",
        providerId="loopback/scripted",
        status="live",
        task="conversational",
    )
    monkeypatch.setitem(_common.HARDCODED_MODEL_INFERENCE_MAPPING, "together", {"mine/model": mapping})
    monkeypatch.setattr(_common, "_fetch_inference_provider_mapping", lambda model: [mapping])
    app = Starlette()
    app.mount("/together", inner := make_app(BACKEND, token="hf_mine", manner=IN_WORDS))
    with serve(app) as url:
        monkeypatch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", f"{url}/{{provider}}")
        arguments = EngineArguments(
            engine="chat", provider="together", model="mine/model", tokenizer="starter", server_token="hf_mine",
            start_timeout=0.0,
        )  # fmt: skip
        async with open_engines(arguments) as engines:
            completion = await engines["generator"].generate(REQUEST)
    assert completion.text
    assert inner.state.bodies[-1]["model"] == "loopback/scripted"
    identity = engines["generator"].identity
    assert (identity.model, identity.version, identity.thoughts) == ("mine/model", "provider together", "in_words")
    with pytest.raises(InvalidInputError, match="provider='groq' cannot be asked for model='mine/model'"):
        check_provider("groq", ServerOptions(model="mine/model", token=TOKEN))


async def test_the_engine_of_completions_says_that_a_server_has_chat_alone():
    with serve(make_app(BACKEND)) as url, pytest.raises(InvalidInputError, match="or engine to chat"):
        await OpenAIEngine.connect(url, ServerOptions(), BACKEND.tokenizer)


# Rate limits


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "999999999"}, 86_400),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m1.5s"}, 361.5),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m1.5s"}, 0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(10**9)}, 0),  # long ago
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "4102444800000"}, 86_400),  # far away
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86_400),
    ],
)
def test_how_long_a_server_asks_to_be_left_alone(headers, seconds):
    assert seconds_to_wait(headers) == pytest.approx(seconds)


def served(url, **options):
    return EngineArguments(engine="chat", servers=[url], tokenizer="starter", start_timeout=0.0, **options)


async def test_a_rate_limit_costs_time_and_nothing_else(tmp_path):
    app = make_app(BACKEND, rate_limit=RateLimit(20, 0.05))
    with serve(app) as url:
        async with open_engines(served(url, max_concurrent_requests=32, max_attempts=1)) as engines:
            report = await build(engines["generator"], tmp_path, 2)
            assert engines["generator"].replicas[0].failures == 0
    assert (report.failures, report.trees) == ({}, 2)
    # Requests that run when the last one is taken may be refused; after that nobody asks until there are more.
    assert app.state.limited < len(app.state.bodies) / 2


async def test_a_limit_that_lasts_too_long_ends_the_build():
    async with connected() as (engine, _):
        pass
    late = JSONResponse({"error": "Rate limit reached"}, 429, {"retry-after": "4000"})
    async with answering(late) as engine:

        async def connect(url, tokenizer):
            return engine

        pool = await EnginePool.connect(["a"], connect, PoolConfig(start_timeout=0.0))
        with pytest.raises(EnginesDownError, match=r"it takes no request for \d+ s more; run the same command again"):
            await pool.generate(REQUEST)
        await pool.close()


# Costs


async def test_costs_are_those_of_the_provider_and_end_a_build_that_can_go_on(tmp_path):
    prices = {"prompt_price": 2.0, "completion_price": 10.0}
    app = make_app(
        BACKEND, manner=replace(IN_WORDS, has_stop_reason=True), faults=(faults := Faults(kinds=("no_tag",)))
    )

    def billed():
        return (2.0 * app.state.prompt_tokens + 10.0 * app.state.tokens) / 1e6

    with serve(app) as url:
        async with open_engines(served(url, **prices)) as engines:
            faults.rate, start = 0.2, billed()
            for limit in (0.004, 0.008):
                with pytest.raises(CostLimitError, match=f"max_cost={limit:g} is reached .*raise it to go on"):
                    await build(engines["generator"], tmp_path, 12, max_cost=limit)
                assert limit <= billed() - start < limit + 0.002  # some thoughts, and what was malformed
            report = await build(engines["generator"], tmp_path, 12)
    assert (report.trees, report.failures) == (12, {})
    assert report.replayed > 0
    assert report.cost == pytest.approx(billed() - start)  # to the token, malformed replies and all
    assert report.cost == pytest.approx(Prices(2.0, 10.0).of(Completion("", "", *(
        report.statistics[name] for name in ("prompt_tokens", "generated_tokens")
    ))))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_price": 1.0}, "one of two prices is missing: set both"),
        ({"prompt_price": -1.0, "completion_price": 0.0}, "prompt_price=-1.0 is out of range"),
        (
            {"engine": "local", "servers": [], "prompt_price": 1.0, "completion_price": 1.0},
            "prices are given but engine",
        ),
    ],
)
async def test_bad_prices(change, message):
    with pytest.raises(InvalidInputError, match=message):
        async with open_engines(replace(served("http://127.0.0.1:9"), **change)):
            pass


def test_the_command_knows_what_it_will_cost_and_stops_in_time(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = (
        "--problems letters --num_problems 6 --num_simulations 3 --min_right 1 --max_right 2 --give_up_factor 1 "
        "--max_new_tokens 40 --max_depth 6 --output_dir run --engine chat --tokenizer starter"
    ).split()
    prices = "--prompt_price 2 --completion_price 10".split()
    with serve(make_app(BACKEND)) as url:
        result = run("build", *common, "--servers", url, "--max_cost", "1")
        assert result.returncode == 2
        assert "max_cost=1.0 cannot be kept without prices" in result.stderr
        result = run("build", *common, *prices, "--servers", url, "--dry-run", "--dry_run_problems", "6")
        assert (result.returncode, "(the sample has cost 0.0" in result.stdout) == (0, True)
        cost = float(re.search(r"cost: ([\d.]+) ", result.stdout)[1])
        result = run("build", *common, *prices, "--servers", url, "--max_cost", "0.001")
        assert (result.returncode, "run the same command again" in result.stderr) == (3, True)
        result = run("build", *common, *prices, "--servers", url)
    assert result.returncode == 0
    assert float(re.search(r"cost\s+│\s+([\d.]+)", result.stdout)[1]) == pytest.approx(cost, abs=0.011)
