"""Tiny models of several families, built from their configs, and preference pairs for them."""

import random

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from hf_treecot.starter.tokenizer import build_tokenizer


TAGS = ["<thinking>", "</thinking>", "<answer>", "</answer>"]
SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256,
}  # fmt: skip
SLIDING = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
CONFIGS = {
    "llama": (LlamaConfig, {}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {}),
    "mistral_sliding": (MistralConfig, {"sliding_window": 5}),
    "gemma3_sliding": (Gemma3TextConfig, {**SLIDING, "query_pre_attn_scalar": 8}),
}


def tiny_tokenizer():
    """A tokenizer of bytes and tags."""
    return build_tokenizer(["the count of"] * 100, TAGS, 256)


def save_tiny(directory, family: str = "llama", dtype=torch.float32) -> str:
    """Save a tiny model with random weights and its tokenizer; where it is."""
    tokenizer = tiny_tokenizer()
    config_class, extra = CONFIGS[family]
    config = config_class(
        **{**SHAPE, **extra}, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def token_pairs(num_trees: int = 3, pairs_of_a_tree: int = 4, seed: int = 0) -> Dataset:
    """Tokenized pairs of random trees, whose chains share prefixes of many lengths."""
    rng = random.Random(seed)
    rows = []
    for _ in range(num_trees):
        prompt = [rng.randrange(20, 60) for _ in range(rng.randint(3, 8))]
        chains: list[list[int]] = [[]]
        while len(chains) < 2 * pairs_of_a_tree + 1:
            stem = rng.choice(chains)
            chain = stem[: rng.randint(0, len(stem))] + [rng.randrange(20, 60) for _ in range(rng.randint(2, 9))]
            if chain not in chains:
                chains.append(chain)
        for i in range(pairs_of_a_tree):
            rows.append({"prompt_ids": prompt, "chosen_ids": chains[2 * i + 1], "rejected_ids": chains[2 * i + 2]})
    return Dataset.from_list(rows)


def text_pairs(**options) -> Dataset:
    """The pairs of [`token_pairs`] as texts, a letter for every token."""

    def spell(tokens):
        return "".join(chr(ord("A") + token - 20) for token in tokens)

    rows = token_pairs(**options)
    return Dataset.from_list([{key.removesuffix("_ids"): spell(row[key]) for key in row} for row in rows])
