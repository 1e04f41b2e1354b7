"""Batches for tree packing: which pairs go together, and how a batch of them is laid out.

Pairs of one tree have the same prompt; they go into the same batch as far as its limits allow.
"""

import bisect
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from torch.utils.data import Sampler
from trl.trainer.dpo_trainer import DataCollatorForPreference

from .tree_packing import pack, shared_length


@dataclass
class TreeCollator(DataCollatorForPreference):
    """TRL's rows, and beside them the same tokens packed as trees (see [`~tree_packing.pack`])."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate some pairs; rows are `[chosen…, rejected…]`."""
        batch = super().torch_call(examples)
        lengths = batch["attention_mask"].sum(1).tolist()
        rows = [ids[:length] for ids, length in zip(batch["input_ids"].tolist(), lengths, strict=True)]
        packed = pack(rows, [tuple(example["prompt_ids"]) for example in examples] * 2)
        width = batch["input_ids"].shape[1] - 1  # wider than the index if rows are padded to a multiple
        index = packed["tree_index"]
        packed["tree_index"] = index.new_zeros(index.shape[0], width)
        packed["tree_index"][:, : index.shape[1]] = index
        return {**batch, **packed}


class TreeBatchSampler(Sampler[list[int]]):
    """
    Batches of pairs that keep the pairs of one tree together, the same in every process.

    Args:
        examples (`Iterable[dict]`): Tokenized pairs: `prompt_ids`, `chosen_ids`, `rejected_ids`.
        batch_size (`int`): Pairs of a batch, at most.
        max_tokens (`int`, *optional*): Unique tokens of a batch, at most; a single pair may have more.
        num_processes (`int`): The number of batches is a multiple of it; batches are dealt out in turn.
        seed (`int`): Of the order of trees and, with the epoch, of batches.
        drop_last (`bool`): Leave batches out that do not fill a round of all processes, rather than splitting some.
    """

    OPEN_BATCHES = 64  # that a tree may still join

    def __init__(
        self,
        examples: Iterable[dict[str, list[int]]],
        batch_size: int,
        max_tokens: int | None = None,
        num_processes: int = 1,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.seed, self.epoch = seed, 0
        trees: dict[bytes, list[_Pair]] = {}
        for index, example in enumerate(examples):
            prompt = _as_bytes(example["prompt_ids"])
            chosen, rejected = (prompt + _as_bytes(example[f"{side}_ids"]) for side in ("chosen", "rejected"))
            trees.setdefault(prompt, []).append(_Pair(chosen, rejected, index))
        pieces = [piece for pairs in trees.values() for piece in _cut(pairs, batch_size, max_tokens)]
        random.Random(seed).shuffle(pieces)
        batches: list[tuple[list[int], int]] = []
        for pairs, tokens in pieces:  # first fit
            for place in range(max(0, len(batches) - self.OPEN_BATCHES), len(batches)):
                held, size = batches[place]
                fits = max_tokens is None or size + tokens <= max_tokens
                if len(held) + len(pairs) <= batch_size and fits:
                    batches[place] = (held + pairs, size + tokens)
                    break
            else:
                batches.append((pairs, tokens))
        self.batches = _even([pairs for pairs, _ in batches], num_processes, drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Another order for another epoch."""
        self.epoch = epoch

    def __iter__(self):
        """Lists of indices, in this epoch's order."""
        order = list(range(len(self.batches)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)
        return iter([self.batches[i] for i in order])

    def __len__(self) -> int:
        """The number of batches of all processes together."""
        return len(self.batches)


class _Pair(NamedTuple):
    chosen: bytes
    rejected: bytes
    index: int


def _as_bytes(ids: list[int]) -> bytes:
    """Token ids in 4 bytes each, which sort as the ids do."""
    return numpy.asarray(ids, ">i4").tobytes()


def _cut(pairs: list[_Pair], batch_size: int, max_tokens: int | None):
    """The pairs of one tree in pieces within the limits, neighbours together: (indices, unique tokens)."""
    piece: list[int] = []
    rows: list[bytes] = []
    size = 0
    for pair in sorted(pairs):
        added = _insert(rows, pair.chosen) + _insert(rows, pair.rejected)
        if piece and (len(piece) == batch_size or (max_tokens is not None and size + added > max_tokens)):
            yield piece, size
            piece, rows, size = [], [], 0
            added = _insert(rows, pair.chosen) + _insert(rows, pair.rejected)
        piece.append(pair.index)
        size += added
    yield piece, size


def _insert(rows: list[bytes], row: bytes) -> int:
    """Put a row into its place among sorted rows; returns how many tokens that adds to their folded trie."""
    place = bisect.bisect(rows, row)
    before = rows[place - 1] if place else b""
    after = rows[place] if place < len(rows) else None
    rows.insert(place, row)
    added = _new_tokens(before, row)
    return added if after is None else added + _new_tokens(row, after) - _new_tokens(before, after)


def _new_tokens(before: bytes, row: bytes) -> int:
    """What a row adds to a trie after the one before it: all that they do not share, and the fork."""
    shared = shared_length(numpy.frombuffer(before, ">i4"), numpy.frombuffer(row, ">i4"))
    length = len(row) // 4
    return 0 if shared == length else length - max(shared - 1, 0)


def _even(batches: list[list[int]], num_processes: int, drop_last: bool) -> list[list[int]]:
    """As many batches as there are processes, or a multiple: large ones are split, or the last left out."""
    if drop_last:
        return batches[: len(batches) // num_processes * num_processes]
    while len(batches) % num_processes:
        largest = max(range(len(batches)), key=lambda i: len(batches[i]))
        pairs = batches[largest]
        if len(pairs) == 1:  # nothing to split: one pair is seen twice
            batches.append(pairs)
        else:
            batches[largest : largest + 1] = [pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]]
    return batches
