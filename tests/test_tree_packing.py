import random

import pytest
from transformers import AutoModelForCausalLM, BloomConfig, GptOssConfig, LlamaConfig, MambaConfig

from hf_treecot.trainers.tree_packing import fold, pack, packing_obstacle

from .tiny_models import SHAPE


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
        (flash, "'flash_attention_2' was asked for, which knows no trees"),
    ):
        assert reason in packing_obstacle(model)
    assert packing_obstacle(llama(), disable_dropout=False) == "dropout is on"
    assert packing_obstacle(llama()) is None
    assert packing_obstacle(get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", r=2))) is None
