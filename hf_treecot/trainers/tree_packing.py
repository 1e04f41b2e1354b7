"""Tree packing: the rows of a batch folded into token tries, so that every token they share is forwarded once.

A trie is laid out depth first in one sequence. A token attends to its ancestors only and stands at its depth, so its
hidden state is what it would be in a row of its own. Where a row leaves the one before it, the last token that they
share is repeated: then every token but a trie's first is predicted by the one on its left, and ordinary next-token
labels work. That costs one token a fork.

This module knows tokens and models, nothing of preferences or losses.
"""

import inspect
from dataclasses import dataclass

import numpy
import torch

from .tree_attention import FLEX
from .tree_attention import NAME as BLOCKS


@dataclass(frozen=True)
class Trie:
    """
    Sequences folded into one; all arrays have shape `(unique_tokens,)` but those of `places`.

    Args:
        tokens (`numpy.ndarray`): Token ids, depth first.
        depths (`numpy.ndarray`): Their positions in the sequences that they belong to.
        ends (`numpy.ndarray`): One past the last token that may attend to a token.
        places (`list[numpy.ndarray]`): For every sequence, where its tokens are (of repeated ones, the first).
    """

    tokens: numpy.ndarray
    depths: numpy.ndarray
    ends: numpy.ndarray
    places: list[numpy.ndarray]


def shared_length(a: numpy.ndarray, b: numpy.ndarray) -> int:
    """How many tokens two sequences have in common at their beginning."""
    shortest = min(len(a), len(b))
    differs = a[:shortest] != b[:shortest]
    return int(differs.argmax()) if differs.any() else shortest


def fold(sequences: list[list[int]]) -> Trie:
    """
    Fold sequences of token ids into a trie.

    Args:
        sequences (`list[list[int]]`): None of them empty.

    Returns:
        [`Trie`]
    """
    arrays = [numpy.asarray(sequence, dtype=numpy.int64) for sequence in sequences]
    tokens, depths, places = [], [], [numpy.empty(0, numpy.int64)] * len(arrays)
    ends = numpy.zeros(sum(len(a) for a in arrays) + len(arrays), numpy.int64)
    size, previous = 0, numpy.empty(0, numpy.int64)
    path = place = numpy.empty(0, numpy.int64)  # what the current row attends to, and where it is predicted
    # In sorted order, what a row shares with any row before it, it shares with its neighbour.
    for index in sorted(range(len(arrays)), key=lambda i: sequences[i]):
        row = arrays[index]
        shared = shared_length(previous, row)
        if shared < len(row):
            start = max(shared - 1, 0)  # repeated: its next token is another one now
            ends[path[start:]] = size
            new = numpy.arange(size, size + len(row) - start)
            path = numpy.concatenate([path[:start], new])
            place = numpy.concatenate([place[:shared], new[shared - start :]])
            tokens.append(row[start:])
            depths.append(numpy.arange(start, len(row)))
            size += len(new)
        places[index], previous = place[: len(row)], row
    ends[path] = size
    return Trie(numpy.concatenate(tokens), numpy.concatenate(depths), ends[:size], places)


def pack(sequences: list[list[int]], groups: list) -> dict[str, torch.Tensor]:
    """
    Fold each group of sequences into a trie, and lay the tries side by side in as few rows as they fill.

    Args:
        sequences (`list[list[int]]`): Token ids.
        groups (`list`): For every sequence, a hashable key; only sequences with the same key are folded together.

    Returns:
        `dict[str, torch.Tensor]`: `tree_input_ids`, `tree_position_ids` and `tree_ends`, of shape `(rows, width)`;
        `tree_index` of shape `(sequences, longest - 1)`: for token t + 1 of every sequence, where the token that
        predicts it is in the flattened `(rows, width)`, 0 beyond its end; and `tree_size`, the tokens of all
        tries.
    """
    members: dict = {}
    for index, key in enumerate(groups):
        members.setdefault(key, []).append(index)
    tries = {key: fold([sequences[i] for i in indices]) for key, indices in members.items()}
    width = max(len(trie.tokens) for trie in tries.values())
    used: list[int] = []  # tokens in every row
    where: dict = {}
    for key in sorted(tries, key=lambda k: -len(tries[k].tokens)):  # first fit, the largest first
        size = len(tries[key].tokens)
        row = next((i for i, taken in enumerate(used) if taken + size <= width), len(used))
        if row == len(used):
            used.append(0)
        where[key] = (row, used[row])
        used[row] += size
    input_ids, positions = numpy.zeros((2, len(used), width), numpy.int64)
    ends = numpy.tile(numpy.arange(1, width + 1), (len(used), 1))  # padding is seen by itself alone
    index = numpy.zeros((len(sequences), max(map(len, sequences)) - 1), numpy.int64)
    for key, trie in tries.items():
        row, start = where[key]
        here = slice(start, start + len(trie.tokens))
        input_ids[row, here], positions[row, here], ends[row, here] = trie.tokens, trie.depths, trie.ends + start
        for i, place in zip(members[key], trie.places, strict=True):
            index[i, : len(place) - 1] = row * width + start + place[1:] - 1
    return {
        "tree_input_ids": torch.from_numpy(input_ids),
        "tree_position_ids": torch.from_numpy(positions),
        "tree_ends": torch.from_numpy(ends),
        "tree_index": torch.from_numpy(index),
        "tree_size": torch.tensor(sum(used)),
    }


def packing_obstacle(model, disable_dropout: bool = True) -> str | None:
    """
    Why a model cannot be given packed trees, or None if it can.

    Args:
        model (`~transformers.PreTrainedModel` or `~peft.PeftModel`): The model.
        disable_dropout (`bool`): Whether dropout is off: packed tokens share one draw, rows have one each.
    """
    if any(peft_config.is_prompt_learning for peft_config in getattr(model, "peft_config", {}).values()):
        return "prompt-learning PEFT puts virtual tokens before every row"
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    config = base.config.get_text_config()
    other = set(getattr(config, "layer_types", None) or []) - {"full_attention", "sliding_attention"}
    if other or getattr(base, "_is_stateful", False):
        return (
            f"{type(base).__name__} has layers that are not plain attention ({', '.join(sorted(other)) or 'a state'})"
        )
    if any(name.endswith("sinks") for name, _ in base.named_parameters()):
        return f"{type(base).__name__} has attention sinks"
    if getattr(config, "alibi", False) or "position_ids" not in inspect.signature(type(base).forward).parameters:
        return f"{type(base).__name__} does not take the positions of tokens from outside"
    if not base._supports_attention_backend:
        return f"{type(base).__name__} does not let its attention be chosen"
    if config._attn_implementation not in ("sdpa", "eager", "flex_attention", BLOCKS, FLEX):
        return f"attention {config._attn_implementation!r} was asked for, which knows no trees: leave it out"
    if "local" in getattr(config, "attention_layers", []):
        return f"{type(base).__name__} has layers with a local window of its own kind"
    if not disable_dropout or getattr(config, "attention_dropout", 0):
        return "dropout is on"  # that of attention is not among what TRL's disable_dropout turns off
    return None
