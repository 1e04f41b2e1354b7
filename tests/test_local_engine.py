import asyncio
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.engines.sampling import sample
from hf_treecot.engines.slot_cache import PathCache
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError
from hf_treecot.starter.tokenizer import build_tokenizer


TAGS = ["<thinking>", "</thinking>", "<answer>", "</answer>"]
CONFIGS = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2}),
    "qwen2": (Qwen2Config, {"num_key_value_heads": 4}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 1, "head_dim": 16}),
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
        assert completion.text == tokenizer.decode(expected).removesuffix(tokenizer.eos_token)
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


async def test_cancelled_requests_leave_the_batch(tokenizer):
    engine = engine_of(tokenizer)
    task = asyncio.create_task(engine.generate(Request("x", (), 240, 1.0, 1.0, 0)))
    await asyncio.sleep(0.05)
    task.cancel()
    completion = await engine.generate(Request("the", (), 5, 1.0, 1.0, 0))
    assert completion.tokens <= 5
    for _ in range(100):
        if not engine._rows:
            break
        await asyncio.sleep(0.01)
    assert not engine._rows
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
