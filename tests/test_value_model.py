"""A value model that many ask at the same time."""

import asyncio

import pytest
import torch
from transformers import AutoModelForTokenClassification

from hf_treecot.engines.value_model import ValueModel
from hf_treecot.errors import InvalidInputError

from .tiny_models import save_tiny


CHAINS = [("How much?", "<thinking>" + "abc " * n + "</thinking>") for n in range(1, 6)]


@pytest.fixture
def model(tmp_path):
    path = save_tiny(tmp_path / "causal")
    torch.manual_seed(1)
    AutoModelForTokenClassification.from_pretrained(path, num_labels=1).save_pretrained(path)
    return ValueModel.from_pretrained(path)


def watch(model, monkeypatch):
    """What is scored together."""
    batches, score = [], model.score

    def scored(chains):
        batches.append(list(chains))
        return score(chains)

    monkeypatch.setattr(model, "score", scored)
    return batches


async def test_those_who_ask_at_the_same_time_are_one_batch(model, monkeypatch):
    expected = model.score(CHAINS)
    batches = watch(model, monkeypatch)
    assert await asyncio.gather(*(model.value(*chain) for chain in CHAINS)) == expected
    assert batches == [CHAINS]
    assert len(set(expected)) == len(CHAINS)
    assert await model.value(*CHAINS[2]) == pytest.approx(expected[2], abs=1e-6)


def test_a_value_does_not_depend_on_its_batch(model):
    together = model.score(CHAINS)
    model.max_tokens_per_batch = 1
    assert model.score(CHAINS) == pytest.approx(together, abs=1e-6)
    assert model.score([]) == []


def test_it_is_the_sigmoid_of_the_logit_of_the_last_token(model):
    text = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": CHAINS[0][0]}], tokenize=False, add_generation_prompt=True
    )
    ids = model.tokenizer(text + CHAINS[0][1], return_tensors="pt", add_special_tokens=False)["input_ids"]
    logit = model.model(input_ids=ids).logits[0, -1, 0]
    assert model.score(CHAINS[:1]) == pytest.approx([logit.sigmoid().item()], abs=1e-6)


def test_every_event_loop_may_ask(model):
    values = [asyncio.run(model.value(*CHAINS[0])) for _ in range(2)]
    assert values[0] == values[1]


async def test_a_failure_is_told_to_all_who_asked_and_to_nobody_else(model, monkeypatch):
    def fail(chains):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(model, "score", fail)
        results = await asyncio.gather(*(model.value(*chain) for chain in CHAINS), return_exceptions=True)
    assert [str(result) for result in results] == ["out of memory"] * len(CHAINS)
    assert 0 < await model.value(*CHAINS[0]) < 1


async def test_one_who_leaves_holds_up_nobody(model):
    leaving, staying = (asyncio.ensure_future(model.value(*chain)) for chain in CHAINS[:2])
    await asyncio.sleep(0)
    leaving.cancel()
    assert 0 < await staying < 1


def test_what_is_not_there_is_one_line():
    with pytest.raises(InvalidInputError, match="model 'nowhere/at/all' cannot be loaded"):
        ValueModel.from_pretrained("nowhere/at/all")
