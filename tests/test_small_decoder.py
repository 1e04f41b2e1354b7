import asyncio

import pytest
import torch

from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.engines.small_decoder import SmallDecoder, can_decode

from .test_local_engine import CONFIGS, at_once, one_by_one, requests, tiny_model, tokenizer  # noqa: F401


@pytest.mark.parametrize("name", CONFIGS)
async def test_it_writes_what_the_model_writes(tokenizer, name):  # noqa: F811
    """In batches of many lengths, that come and go; scores to the last digits, since a mask that is wrong is seen."""
    extra = {"attention_bias": True, "mlp_bias": True} if name == "llama" else {}
    model = tiny_model(tokenizer, name, **extra).float()
    engine, plain = LocalEngine(model, tokenizer, max_batch_size=5), LocalEngine(model, tokenizer)
    assert isinstance(engine._decoder, SmallDecoder)
    plain._decoder = None
    todo = requests(16)
    expected = await one_by_one(plain, todo)
    for completions in (await at_once(engine, todo), await at_once(engine, todo)):  # then from the path cache
        for ours, theirs in zip(completions, expected, strict=True):
            assert (ours.text, ours.tokens, ours.finish_reason) == (theirs.text, theirs.tokens, theirs.finish_reason)
            assert ours.log_probability == pytest.approx(theirs.log_probability, abs=1e-3)
    engine.close()
    plain.close()


def test_models_with_other_sums_are_left_to_transformers(tokenizer):  # noqa: F811
    assert can_decode(tiny_model(tokenizer).float())
    assert not can_decode(tiny_model(tokenizer))  # its norms are float32 in a model of float64
    assert not can_decode(tiny_model(tokenizer, hidden_act="gelu").float())
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    assert not can_decode(tiny_model(tokenizer, rope_parameters=dynamic).float())
    hooked = tiny_model(tokenizer).float()
    hooked.model.layers[-1].register_forward_pre_hook(lambda *_: None)
    assert not can_decode(hooked)
    quantised = tiny_model(tokenizer).float()
    quantised.model.layers[0].mlp.up_proj = torch.nn.Sequential(quantised.model.layers[0].mlp.up_proj)
    assert not can_decode(quantised)


async def test_adapters_are_part_of_the_sums(tokenizer):  # noqa: F811
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(tiny_model(tokenizer).float(), LoraConfig(target_modules=["q_proj"]))
    assert not can_decode(adapted)
    assert not can_decode(adapted.base_model.model)


async def test_one_that_fails_in_the_middle_fails_alone(tokenizer):  # noqa: F811
    engine = LocalEngine(tiny_model(tokenizer).float(), tokenizer)
    expected = await engine.generate(Request("the count", (), 8, 1.0, 1.0, 0))
    calls, decoder = 0, engine._decoder

    def fail(*arguments):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError("no memory")
        return decoder(*arguments)

    engine._decoder = fail
    both = await asyncio.gather(*(engine.generate(Request("the count", (), 8, 1.0, 1.0, 0)) for _ in range(2)))
    assert [completion.text for completion in both] == [expected.text] * 2
    engine.close()
