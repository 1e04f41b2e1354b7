import random

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, GptOssConfig, LlamaConfig, MambaConfig

from hf_treecot.trainers.tree_packing import attention_mask, fold, pack, packing_obstacle

from .tiny_models import CONFIGS, SHAPE, save_tiny


def test_a_trie_by_hand():
    trie = fold([[1, 2, 4], [5], [1, 2, 3], [1, 2, 4]])
    #            row 1 2 3     2 again, 4   5
    assert trie.tokens.tolist() == [1, 2, 3, 2, 4, 5]
    assert trie.depths.tolist() == [0, 1, 2, 1, 2, 0]
    assert trie.ends.tolist() == [5, 3, 3, 5, 5, 6]  # 1 is seen by both rows, the first 2 by 3 alone
    assert [place.tolist() for place in trie.places] == [[0, 1, 4], [5], [0, 1, 2], [0, 1, 4]]


def random_rows(rng: random.Random, count: int) -> list[list[int]]:
    rows = []
    for _ in range(count):
        stem = rng.choice(rows) if rows else []
        rows.append(stem[: rng.randint(0, len(stem))] + [rng.randrange(4) for _ in range(rng.randint(1, 6))])
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_every_token_sees_exactly_the_row_that_it_ends(seed):
    rng = random.Random(seed)
    rows = random_rows(rng, rng.randint(1, 12))
    trie = fold(rows)
    prefixes = {tuple(row[: i + 1]) for row in rows for i in range(len(row))}
    distinct = {tuple(row) for row in rows}
    assert len(prefixes) <= len(trie.tokens) < len(prefixes) + len(distinct)  # one more a fork
    for row, place in zip(rows, trie.places, strict=True):
        for depth, at in enumerate(place):
            seen = [k for k in range(at + 1) if at < trie.ends[k]]
            assert trie.tokens[seen].tolist() == row[: depth + 1]
            assert trie.depths[seen].tolist() == list(range(depth + 1))
            if depth:  # what predicts it stands on its left, and has seen the same
                left = [k for k in range(at) if at - 1 < trie.ends[k]]
                assert trie.tokens[left].tolist() == row[:depth]


def test_only_what_belongs_together_is_folded():
    rows = [[1, 2, 3], [1, 2, 4], [1, 2, 3]]
    assert pack(rows, ["a", "a", "a"])["tree_size"] == 5
    packed = pack(rows, ["a", "a", "b"])
    assert packed["tree_size"] == 8
    assert packed["tree_input_ids"].tolist() == [[1, 2, 3, 2, 4], [1, 2, 3, 0, 0]]


def row_log_probs(model, rows):
    """Of every row by itself."""
    result = []
    for row in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids).logits[0, :-1]
        result.append(logits.log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1))
    return result


def packed_log_probs(model, rows, groups):
    packed = pack(rows, groups)
    ids, positions = packed["tree_input_ids"], packed["tree_position_ids"]
    mask = attention_mask(model.config, packed["tree_ends"], positions, model.dtype)
    logits = model(input_ids=ids, position_ids=positions, attention_mask=mask).logits[:, :-1]
    flat = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).reshape(-1)
    return [flat[index[: len(row) - 1]] for row, index in zip(rows, packed["tree_index"], strict=True)]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", CONFIGS)
def test_packed_rows_have_the_log_probabilities_of_rows_alone(tmp_path, family, attention):
    path = save_tiny(tmp_path, family)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation=attention).eval()
    rng = random.Random(1)
    rows = random_rows(rng, 12)
    rows = [[20 + token for token in row] for row in rows if len(row) > 1]
    groups = [index % 2 for index in range(len(rows))]
    alone, packed = row_log_probs(model, rows), packed_log_probs(model, rows, groups)
    for a, b in zip(alone, packed, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)  # some layers compute in float32


def test_flex_attention_takes_the_same_mask(tmp_path):
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    path = save_tiny(tmp_path, "gemma3_sliding")
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="flex_attention")
    packed = pack([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 9]], [0, 0])
    ends, positions = packed["tree_ends"], packed["tree_position_ids"]
    blocks = attention_mask(model.config, ends, positions, torch.float32)
    model.set_attn_implementation("sdpa")
    dense = attention_mask(model.config, ends, positions, torch.float32)
    width = ends.shape[1]
    for kind in ("full_attention", "sliding_attention"):
        seen = flex.create_mask(blocks[kind].mask_mod, 1, 1, width, width, device="cpu")
        assert torch.equal(seen, dense[kind])


def llama(**extra):
    return AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE, vocab_size=100, **extra))


def test_models_that_cannot_be_packed_are_told_apart():
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    small = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1}
    mamba = AutoModelForCausalLM.from_config(MambaConfig(**small, state_size=4))
    bloom = AutoModelForCausalLM.from_config(BloomConfig(vocab_size=100, hidden_size=16, n_layer=1, n_head=2))
    sinks = AutoModelForCausalLM.from_config(
        GptOssConfig(**{**SHAPE, "num_hidden_layers": 1}, vocab_size=100, num_local_experts=2, num_experts_per_tok=1)
    )
    prompt_tuning = get_peft_model(llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    flash = llama()
    flash.config._attn_implementation = "flash_attention_2"
    for model, reason in (
        (mamba, "not plain attention"),
        (bloom, "positions"),
        (sinks, "attention sinks"),
        (prompt_tuning, "virtual tokens"),
        (flash, "'flash_attention_2' takes no mask of this kind"),
    ):
        assert reason in packing_obstacle(model)
    assert packing_obstacle(llama(), disable_dropout=False) == "dropout is on"
    assert packing_obstacle(llama()) is None
    assert packing_obstacle(get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", r=2))) is None
