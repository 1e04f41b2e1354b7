import asyncio
import inspect
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3TextConfig,
    GPTNeoConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from hf_treecot.engines.engine import Completion, Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.engines.local_model import cache_argument
from hf_treecot.engines.sampling import sample
from hf_treecot.engines.slot_cache import PathCache
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError
from hf_treecot.starter.tokenizer import build_tokenizer

from .tiny_models import save_tiny
from .worlds import until


TAGS = ["<thinking>", "</thinking>", "<answer>", "</answer>"]
CONFIGS = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2}),
    "qwen2": (Qwen2Config, {"num_key_value_heads": 4}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 1, "head_dim": 16}),
    "mistral": (MistralConfig, {"num_key_value_heads": 2, "sliding_window": 7}),
}


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["the total is and the count of the letters"] * 200
    return build_tokenizer(texts, TAGS, 256)


def tiny_model(tokenizer, name="llama", **overrides):
    torch.manual_seed(0)
    config_class, extra = CONFIGS[name]
    config = config_class(
        **{
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 256, "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.3, **extra, **overrides,
        }
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).double()


def engine_of(tokenizer, name="llama", **options):
    return LocalEngine(tiny_model(tokenizer, name), tokenizer, **options)


def requests(count, seed=0):
    """Requests of all lengths and settings; many share prefixes, as in a search."""
    rng = random.Random(seed)
    stems = ["the count", "the letters of the total and the rest: " * 5, "x"]
    return [
        Request(
            prompt=rng.choice(stems) + rng.choice(["", " and more", " b" * rng.randrange(20)]),
            stop=rng.choice([("</thinking>",), (" the", "q"), ()]),
            max_new_tokens=rng.randrange(1, 30),
            temperature=rng.choice([0.0, 0.7, 1.0, 1.5]),
            top_p=rng.choice([0.5, 0.9, 1.0]),
            seed=rng.randrange(1000),
        )
        for _ in range(count)
    ]


async def one_by_one(engine, todo):
    return [await engine.generate(request) for request in todo]


async def at_once(engine, todo):
    return list(await asyncio.gather(*(engine.generate(request) for request in todo)))


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
async def test_a_model_may_call_its_keys_and_values_by_either_name(tokenizer, name):
    model = tiny_model(tokenizer)
    forward, own = model.forward, cache_argument(model)

    def renamed(input_ids, **inputs):
        if name in inputs:
            inputs[own] = inputs.pop(name)
        return forward(input_ids, **inputs)

    renamed.__signature__ = inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)])
    model.forward = renamed
    engines = LocalEngine(model, tokenizer), engine_of(tokenizer)
    assert cache_argument(model) == name
    of_renamed, of_own = [[c.text for c in await at_once(engine, requests(20))] for engine in engines]
    assert of_renamed == of_own
    for engine in engines:
        engine.close()


@pytest.mark.training
@pytest.mark.parametrize("name", CONFIGS)
async def test_completions_do_not_depend_on_the_batch(tokenizer, name):
    todo = requests(60)
    results = []
    for run, options in (
        (one_by_one, {"path_cache_bytes": 0}),
        (at_once, {"path_cache_bytes": 0}),
        (at_once, {"max_batch_size": 7}),
        (at_once, {"path_cache_bytes": 200_000}),
    ):
        engine = engine_of(tokenizer, name, **options)
        results.append([(c.text, c.finish_reason, c.tokens) for c in await run(engine, todo)])
        again = [(c.text, c.finish_reason, c.tokens) for c in await run(engine, todo)]  # now from the path cache
        engine.close()
        assert again == results[-1]
    assert all(result == results[0] for result in results)
    assert {reason for _, reason, _ in results[0]} >= {"stop", "length"}


@pytest.mark.parametrize("name", CONFIGS)
async def test_greedy_equals_generate(tokenizer, name):
    model = tiny_model(tokenizer, name)
    engine = LocalEngine(model, tokenizer)
    for prompt in ("the count of", "x", "the letters of the total and " * 8):
        ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        expected = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
        completion = await engine.generate(Request(prompt, (), 20, 0.0, 1.0, 0))
        assert completion.text == tokenizer.decode(expected).removesuffix(tokenizer.eos_token).rstrip("\ufffd")
        assert completion.prompt_tokens == ids["input_ids"].shape[1]
        # Log-probability, against one plain forward call.
        whole = torch.cat([ids["input_ids"][0], expected])
        scores = model(whole[None]).logits[0].log_softmax(-1)
        start = ids["input_ids"].shape[1]
        by_hand = sum(scores[i - 1, whole[i]].item() for i in range(start, len(whole)))
        assert completion.log_probability == pytest.approx(by_hand, abs=1e-6)
    engine.close()


async def test_stop_strings_are_cut_and_counted(tokenizer):
    engine = engine_of(tokenizer)
    whole = await engine.generate(Request("the count", (), 40, 1.0, 1.0, 3))
    stop = whole.text[7:10]  # in the middle of whatever tokens there are
    cut = await engine.generate(Request("the count", (stop,), 40, 1.0, 1.0, 3))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.tokens <= whole.tokens
    engine.close()


async def test_budget_and_context(tokenizer):
    engine = engine_of(tokenizer)
    assert (await engine.generate(Request("1" * 250, (), 100, 1.0, 1.0, 0))).tokens <= 6
    with pytest.raises(ContextLengthError, match="a prompt of 300 tokens does not fit"):
        await engine.generate(Request("1" * 300, (), 1, 1.0, 1.0, 0))
    engine.close()


async def test_a_model_that_fails_fails_the_requests_and_lives_on(tokenizer):
    engine = engine_of(tokenizer)
    forward, engine._forward = engine._forward, lambda *_: (_ for _ in ()).throw(MemoryError("no memory"))
    with pytest.raises(EngineError, match="MemoryError: no memory"):
        await engine.generate(Request("x", (), 3, 1.0, 1.0, 0))
    engine._forward = forward
    assert (await engine.generate(Request("x", (), 3, 1.0, 1.0, 0))).tokens == 3
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(Request("x", (), 3, 1.0, 1.0, 0))


async def finished(engine, todo):
    results = await asyncio.gather(*(engine.generate(request) for request in todo), return_exceptions=True)
    return [(r.text, r.finish_reason, r.tokens) if isinstance(r, Completion) else type(r) for r in results]


@pytest.mark.training
async def test_a_forward_that_raises_at_random_steps_fails_no_other_request(tokenizer):
    """In the last layer, so that the first ones have written their keys; once, or twice so that a retry fails too."""
    todo = [replace(r, max_new_tokens=min(r.max_new_tokens, 8)) for r in requests(6, seed=3)]
    engine = engine_of(tokenizer, max_batch_size=4)
    expected = await finished(engine, todo)
    rng, calls, failing = random.Random(0), 0, range(0)

    def fail(*_):
        nonlocal calls
        calls += 1
        if calls in failing:
            raise MemoryError("no memory")

    engine.model.model.layers[-1].register_forward_pre_hook(fail)
    failures = []
    for _ in range(200):
        start, count = rng.randint(1, 16), rng.choice((1, 1, 1, 2, 3))
        calls, failing = 0, range(start, start + count)
        results = await finished(engine, todo)
        failures.append(results.count(EngineError))
        assert all(r in (e, EngineError) for r, e in zip(results, expected, strict=True))
        assert failures[-1] <= count - 1  # a row fails only when it has failed alone
    assert set(failures) == {0, 1, 2}
    assert await finished(engine, todo) == expected
    engine.close()


async def test_one_request_that_the_model_cannot_bear_fails_alone(tokenizer, caplog):
    engine = engine_of(tokenizer)
    todo = [*requests(8, seed=5), Request("the bad one\x07", (), 8, 1.0, 1.0, 0)]
    expected = await finished(engine, todo[:-1])
    bell = tokenizer("\x07", add_special_tokens=False)["input_ids"][0]

    def fail(module, args):
        if bool((args[0] == bell).any()):
            raise ValueError("not this token")

    engine.model.get_input_embeddings().register_forward_pre_hook(fail)
    assert await finished(engine, todo) == [*expected, EngineError]
    assert "its requests go on one by one" in caplog.text
    engine.close()


async def test_two_equal_requests_of_one_token_on_a_fresh_engine(tokenizer):
    engine = engine_of(tokenizer)
    assert len(set(await finished(engine, [Request("x", (), 4, 1.0, 1.0, 0)] * 2))) == 1
    engine.close()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("window", [None, 5])
async def test_attention_is_the_models_own(tokenizer, attention, window):
    """Against transformers' `generate`, one by one; a batch of many lengths, so that masks matter."""
    model = tiny_model(tokenizer, "mistral", sliding_window=window)
    model.set_attn_implementation(attention)
    engine = LocalEngine(model, tokenizer, max_batch_size=4)
    prompts = ["the count of", "x", "the letters of the total and " * 4, "a b c d e f"]
    for _ in range(2):  # the second time from the path cache
        completions = await at_once(engine, [Request(prompt, (), 20, 0.0, 1.0, 0) for prompt in prompts])
        for prompt, completion in zip(prompts, completions, strict=True):
            ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
            expected = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
            text = tokenizer.decode(expected).removesuffix(tokenizer.eos_token).rstrip("\ufffd")
            assert completion.text == text
    engine.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            GPTNeoConfig(num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]),
            "differ by",
        ),  # its window
        (BloomConfig(n_layer=2, n_head=4, max_position_embeddings=256), "cannot be run here .ValueError"),
    ],
)
def test_models_that_heed_no_mask_are_refused(tokenizer, config, message):
    config.update({"hidden_size": 32, "vocab_size": len(tokenizer), "initializer_range": 0.3, "window_size": 6})
    config.update({"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with pytest.raises(InvalidInputError, match=f"{message}.*serve it with text-generation-inference"):
        LocalEngine(model, tokenizer)


async def test_scores_that_are_not_numbers_are_a_failure(tokenizer):
    engine = engine_of(tokenizer)
    engine._forward = lambda tokens, *_: torch.full((len(tokens), len(tokenizer)), torch.nan)
    with pytest.raises(EngineError, match="its scores are not numbers"):
        await engine.generate(Request("x", (), 1, 1.0, 1.0, 0))
    engine.close()


def test_attention_that_reads_no_mask_is_refused(tokenizer):
    model = tiny_model(tokenizer)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(InvalidInputError, match="attention 'flash_attention_2'.*attn_implementation='sdpa'"):
        LocalEngine(model, tokenizer)


async def test_a_budget_that_ends_inside_a_character(tokenizer):
    engine = engine_of(tokenizer)
    first, *_ = tokenizer("é", add_special_tokens=False)["input_ids"]  # a byte of two

    def only_first(*_):
        logits = torch.zeros(1, len(tokenizer), dtype=torch.float64)
        logits[0, first] = 1.0
        return logits

    engine._forward = only_first
    completion = await engine.generate(Request("x", (), 1, 0.0, 1.0, 0))
    assert (completion.text, completion.finish_reason, completion.tokens) == ("", "length", 1)
    engine.close()


async def test_a_text_is_told_while_it_is_written(tokenizer):
    engine = engine_of(tokenizer)
    told = []
    asked = Request("the count", (), 40, 1.0, 1.0, 3)
    completion = await engine.generate(asked, lambda text, tokens: told.append((text, tokens)))
    assert completion == await engine.generate(asked)  # telling changes nothing
    engine.close()
    assert [tokens for _, tokens in told] == list(range(1, completion.tokens, 4))
    assert all(completion.text.startswith(text.rstrip("\N{REPLACEMENT CHARACTER}")) for text, _ in told)


async def test_cancelled_requests_leave_the_batch(tokenizer):
    engine = engine_of(tokenizer)
    task = asyncio.create_task(engine.generate(Request("x", (), 240, 1.0, 1.0, 0)))
    await until(lambda: engine._rows)
    task.cancel()
    completion = await engine.generate(Request("the", (), 5, 1.0, 1.0, 0))
    assert completion.tokens <= 5
    await until(lambda: not engine._rows)
    engine.close()


def test_models_it_cannot_run_are_refused(tokenizer):
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="sliding_attention.*serve this model with"):
        LocalEngine(AutoModelForCausalLM.from_config(config), tokenizer)
    with pytest.raises(InvalidInputError, match="'/no/such/model' cannot be loaded"):
        LocalEngine.from_pretrained("/no/such/model")


def test_sampling_follows_the_distribution():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(20_000, 1)
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    for temperature, top_p in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.7), (0.0, 1.0)):
        settings = torch.full((20_000,), temperature), torch.full((20_000,), top_p)
        tokens, log_probabilities = sample(logits, *settings, uniform)
        expected = torch.softmax(logits[0].double() / max(temperature, 1e-9), 0)
        if top_p == 0.7:
            expected = torch.tensor([0.7311, 0.2689, 0.0, 0.0])  # 0.644 < 0.7 <= 0.644 + 0.237: the first two
        shares = torch.bincount(tokens, minlength=4) / 20_000
        assert torch.allclose(shares.double(), expected.double(), atol=1e-3)
        assert torch.allclose(log_probabilities, logits[0].double().log_softmax(0)[tokens])


def test_sampling_with_a_nucleus_of_more_than_256_tokens():
    logits = torch.zeros(1, 1000, dtype=torch.float64)
    logits[0, :10] = -9.0
    tokens, _ = sample(logits, torch.tensor([1.0]), torch.tensor([0.99]), torch.tensor([0.5], dtype=torch.float64))
    assert 490 <= tokens.item() <= 520


def test_path_cache_finds_the_longest_prefix_and_forgets_the_oldest():
    def states(tokens):
        return [(torch.tensor(tokens, dtype=torch.float32).reshape(1, -1, 1),) * 2]

    cache = PathCache(budget=2 * 2 * 4 * 40)
    first, second = list(range(40)), [*range(20), *range(100, 120)]
    cache.store(first, states(first))
    cache.store(second, states(second))
    assert cache.find(first[:33])[0] == 33
    assert cache.find(second[:33])[0] == 33
    assert cache.find([*range(20), 7])[0] == 20
    assert cache.find([7, 8, 9])[0] == 0
    cache.find(first)  # used again, so the second is the oldest
    cache.store(list(range(200, 240)), states(list(range(40))))
    assert cache.find(first)[0] == 40
    assert cache.find(second)[0] in (0, 20)
    assert cache.size <= cache.budget
    cache.store(list(range(1000)), states(list(range(1000))))  # larger than the budget: not kept
    assert cache.find(list(range(500)))[0] == 40


# What a completion depends on


def identity_of(path, **options):
    engine = LocalEngine.from_pretrained(str(path), name="mine", **options)
    engine.close()
    return engine.identity


def test_the_identity_holds_all_that_a_completion_depends_on(tmp_path):
    import transformers

    path = Path(save_tiny(tmp_path / "model"))
    identity = identity_of(path)
    assert (identity.engine, identity.model, identity.dtype, identity.quantization) == ("local", "mine", "float32", "")
    assert identity.version == f"transformers {transformers.__version__}, torch {torch.__version__}"
    assert str(tmp_path) not in str(identity)
    copy = shutil.copytree(path, tmp_path / "copy")
    assert identity_of(copy) == identity  # wherever it lies
    assert identity_of(copy, dtype="float64") == replace(identity, dtype="float64")
    template = copy / "chat_template.jinja"
    template.write_text(f"{template.read_text()} ")
    other = identity_of(copy)
    assert other == replace(identity, revision=other.revision, chat_template=other.chat_template)
    assert other.chat_template != identity.chat_template
    words = json.loads((copy / "tokenizer.json").read_text())
    words["added_tokens"][-1]["lstrip"] = True
    (copy / "tokenizer.json").write_text(json.dumps(words))
    assert identity_of(copy).tokenizer != identity.tokenizer


def test_the_identity_of_a_quantised_model(tokenizer):
    model = tiny_model(tokenizer)
    model.config.quantization_config = {"quant_method": "awq", "bits": 4}
    four = LocalEngine(model, tokenizer).identity.quantization
    model.config.quantization_config = {"quant_method": "awq", "bits": 8}
    eight = LocalEngine(model, tokenizer).identity.quantization
    assert four.startswith("awq ")
    assert eight.startswith("awq ")
    assert four != eight


async def test_the_identity_of_a_tokenizer_does_not_follow_its_use(tokenizer):
    before = LocalEngine(tiny_model(tokenizer), tokenizer).identity
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=8)
    assert LocalEngine(tiny_model(tokenizer), tokenizer).identity == before


@pytest.mark.parametrize("damage", ["no weights", "cut weights", "no model"])
def test_a_directory_that_holds_no_model_is_refused_in_one_line(tmp_path, damage):
    path = Path(save_tiny(tmp_path / "model"))
    weights = path / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (path / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="cannot be loaded .*: give a directory or a Hub name") as error:
        LocalEngine.from_pretrained(str(path))
    assert "\n" not in str(error.value)
