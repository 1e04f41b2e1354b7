"""Attention in blocks against rows by themselves: the same values and gradients, no mask of all pairs of tokens."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config, MixtralConfig

from hf_treecot.trainers.tree_attention import NAME, TreePlan, attend_as_tree
from hf_treecot.trainers.tree_packing import pack

from .test_tree_packing import random_rows
from .tiny_models import CONFIGS, SHAPE, SLIDING


FAMILIES = {
    **CONFIGS,
    "gemma2_capped": (Gemma2Config, {**SLIDING, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0}),
    "mixtral": (MixtralConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
}


def packed(rows, groups=None):
    batch = pack(rows, groups or [0] * len(rows))
    return batch["tree_input_ids"], batch["tree_position_ids"], batch["tree_ends"], batch["tree_index"]


def dense(ends, positions, window=None):
    """Which token sees which, by definition."""
    order = torch.arange(ends.shape[1])
    seen = (order[None, :] <= order[:, None]) & (order[:, None] < ends[:, None, :])
    return seen if window is None else seen & (positions[:, :, None] - positions[:, None, :] < window)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("block", [1, 5, 256])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_see_what_a_mask_of_all_pairs_would(seed, block, window):
    rows = random_rows(random.Random(seed), 12)
    _, positions, ends, _ = packed(rows, [index % 3 for index in range(len(rows))])
    blocks = TreePlan(ends, positions, block).blocks(window)
    seen = torch.zeros(ends.numel(), ends.numel(), dtype=torch.bool)
    start = 0
    for size, keys, mask in zip(blocks.sizes, blocks.keys.split(blocks.keys_of), blocks.masks, strict=True):
        seen[torch.arange(start, start + size)[:, None], keys] = mask
        start += size
    assert torch.equal(seen, torch.block_diag(*dense(ends, positions, window)))


def test_what_blocks_hold_grows_with_the_tokens():
    """Chains of 100 tokens: twice as many of them need twice as much, not four times."""

    def held(count):
        rows = [[*range(60), *([1000 + chain] * 40)] for chain in range(count)]
        _, positions, ends, _ = packed(rows)
        blocks = TreePlan(ends, positions, 32).blocks()
        return sum(mask.numel() for mask in blocks.masks) + sum(blocks.keys_of)

    assert held(64) < 2.1 * held(32)


def exact(model):
    """A model whose norms and routers do not compute in float32, as transformers' do in a model of any precision."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            gemma = type(module).__name__.startswith("Gemma")
            eps = module.eps if gemma else module.variance_epsilon

            def forward(x, module=module, gemma=gemma, eps=eps):
                weight = 1 + module.weight if gemma else module.weight
                return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight

            module.forward = forward
    return model


def build(family, monkeypatch):
    config_class, extra = FAMILIES[family]
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "float32", torch.float64)  # softmax of routers and of capped scores
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    config = config_class(**{**SHAPE, **extra}, vocab_size=100, initializer_range=0.3)
    attention = "eager" if family == "gemma2_capped" else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).double().eval()
    if family == "mixtral":
        model.set_experts_implementation("eager")  # the fused one does not compute in float64
    return exact(model)


def row_log_probs(model, rows):
    """Of every row by itself."""
    result = []
    for row in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids).logits[0, :-1]
        result.append(logits.log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1))
    return result


def packed_log_probs(model, rows, groups, block=4):
    ids, positions, ends, index = packed(rows, groups)
    inputs = attend_as_tree(model, TreePlan(ends, positions, block))
    logits = model(input_ids=ids, position_ids=positions, use_cache=False, **inputs).logits
    flat = logits.log_softmax(-1).gather(2, ids.roll(-1, 1)[:, :, None]).reshape(-1)
    return [flat[place[: len(row) - 1]] for row, place in zip(rows, index, strict=True)]


def gradients(model, log_probs):
    """Of a sum that weighs every token otherwise."""
    flat = torch.cat(log_probs)
    (flat * torch.linspace(-1, 2, len(flat), dtype=flat.dtype)).sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_have_the_log_probabilities_and_gradients_of_rows_alone(family, adapters, monkeypatch):
    model = build(family, monkeypatch)
    if adapters:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
        model = model.double()
    rows = [[20 + token for token in row] for row in random_rows(random.Random(1), 12) if len(row) > 1]
    groups = [index % 2 for index in range(len(rows))]
    alone = row_log_probs(model, rows)
    expected = gradients(model, alone)
    model.set_attn_implementation(NAME)
    together = packed_log_probs(model, rows, groups)
    found = gradients(model, together)
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-11, atol=1e-12 * float(gradient.abs().max()))


@pytest.mark.parametrize("family", ["llama", "gemma3_sliding", "gemma2_capped"])
def test_without_a_plan_it_is_the_attention_that_it_was(family, monkeypatch):
    model = build(family, monkeypatch)
    ids = torch.tensor([[7, 8, 9, 10, 11, 12, 13], [0, 0, 7, 8, 9, 10, 11]])
    arguments = {"attention_mask": (ids > 0).long(), "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    expected = model(input_ids=ids[:1]).logits, model.generate(ids, **arguments)
    model.set_attn_implementation(NAME)
    torch.testing.assert_close(model(input_ids=ids[:1]).logits, expected[0], rtol=0, atol=1e-12)
    assert torch.equal(model.generate(ids, **arguments), expected[1])
