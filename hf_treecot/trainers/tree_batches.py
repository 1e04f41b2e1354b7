"""Batches for tree packing: which pairs or chains go together, and how a batch of them is laid out.

Those of one tree have the same prompt; they go into the same batch as far as its limits allow.
"""

import bisect
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
import torch
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
        return {**batch, **_packed(batch, rows, [tuple(example["prompt_ids"]) for example in examples] * 2)}


@dataclass
class ChainCollator:
    """
    Rows as another collator makes them, and beside them the same tokens packed as trees.

    Args:
        collator (`Callable`): TRL's, for rows of `input_ids` and `labels`.
    """

    collator: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate some chains."""
        batch = self.collator(examples)
        groups = [tuple(split_chain(example)[0]) for example in examples]
        return {**batch, **_packed(batch, [example["input_ids"] for example in examples], groups)}


def first_pairs(batch: dict[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """
    A collated batch of pairs with only some of them.

    Args:
        batch (`dict[str, torch.Tensor]`): Of `(2 * pairs, …)` rows, chosen before rejected, and of figures of pairs.
        count (`int`): How many are kept, the first ones. Tries stay as they are: no row refers to the others.
    """
    pairs = len(batch["input_ids"]) // 2
    kept = torch.cat([torch.arange(count), torch.arange(pairs, pairs + count)])
    rows = {"input_ids", "attention_mask", "completion_mask", "tree_index"}
    figures = {"ref_chosen_logps", "ref_rejected_logps"}
    return {
        name: value[kept.to(value.device)] if name in rows else value[:count] if name in figures else value
        for name, value in batch.items()
    }


def split_chain(example: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    """The prompt of a tokenized chain, which nothing is learnt of, and its completion."""
    length = next((i for i, label in enumerate(example["labels"]) if label != -100), 0)
    return example["input_ids"][:length], example["input_ids"][length:]


def _packed(batch: dict[str, Any], rows: list[list[int]], groups: list) -> dict[str, torch.Tensor]:
    packed = pack(rows, groups)
    width = batch["input_ids"].shape[1] - 1  # wider than the index if rows are padded to a multiple
    index = packed["tree_index"]
    packed["tree_index"] = index.new_zeros(index.shape[0], width)
    packed["tree_index"][:, : index.shape[1]] = index
    return packed


class TreeBatchSampler(Sampler[list[int]]):
    """
    Batches of examples that keep those of one tree together, the same in every process.

    Args:
        examples (`Iterable[tuple[list[int], list[list[int]]]]`): Token ids: the prompt of every example, and what
            follows it: the two sides of a pair, or one chain.
        batch_size (`int`): Examples of a batch, at most.
        max_tokens (`int`, *optional*): Unique tokens of a batch, at most; a single example may have more.
        num_processes (`int`): The number of batches is a multiple of it; batches are dealt out in turn.
        seed (`int`): Of the order of trees and, with the epoch, of batches.
        drop_last (`bool`): Leave batches out that do not fill a round of all processes, rather than splitting some.
    """

    OPEN_BATCHES = 64  # that a tree may still join

    def __init__(
        self,
        examples: Iterable[tuple[list[int], list[list[int]]]],
        batch_size: int,
        max_tokens: int | None = None,
        num_processes: int = 1,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.seed, self.epoch, self.limits = seed, 0, (batch_size, max_tokens)
        self.num_processes, self.drop_last = num_processes, drop_last
        trees: dict[bytes, list[_Example]] = {}
        for index, (prompt_ids, completions) in enumerate(examples):
            prompt = _as_bytes(prompt_ids)
            rows = tuple(prompt + _as_bytes(completion) for completion in completions)
            trees.setdefault(prompt, []).append(_Example(rows, index))
        pieces = [piece for tree in trees.values() for piece in _cut(tree, batch_size, max_tokens)]
        random.Random(seed).shuffle(pieces)
        self.batches: list[list[_Piece]] = []
        for piece in pieces:  # first fit
            for batch in self.batches[-self.OPEN_BATCHES :]:
                if self._fits([*batch, piece]):
                    batch.append(piece)
                    break
            else:
                self.batches.append([piece])

    def _fits(self, batch: list["_Piece"]) -> bool:
        batch_size, max_tokens = self.limits
        return sum(len(piece.indices) for piece in batch) <= batch_size and (
            max_tokens is None or len(batch) == 1 or sum(piece.tokens for piece in batch) <= max_tokens
        )

    def set_epoch(self, epoch: int) -> None:
        """Other batches in another order for another epoch."""
        self.epoch = epoch

    def __iter__(self):
        """Lists of indices, drawn for this epoch: pieces of trees change places where they fit."""
        rng = random.Random(f"{self.seed}/{self.epoch}")
        batches = [list(batch) for batch in self.batches]
        places = [(batch, place) for batch in batches for place in range(len(batch))]
        for _ in places:
            (one, place), (other, another) = rng.choice(places), rng.choice(places)
            one[place], other[another] = other[another], one[place]
            if not (self._fits(one) and self._fits(other)):
                one[place], other[another] = other[another], one[place]
        found = [[index for piece in batch for index in piece.indices] for batch in batches]
        found = _even(found, self.num_processes, self.drop_last)
        rng.shuffle(found)
        return iter(found)

    def __len__(self) -> int:
        """The number of batches of all processes together, the same in every epoch."""
        rounds, rest = divmod(len(self.batches), self.num_processes)
        return (rounds + (rest > 0 and not self.drop_last)) * self.num_processes


class _Piece(NamedTuple):
    indices: list[int]
    tokens: int  # unique ones


class _Example(NamedTuple):
    rows: tuple[bytes, ...]
    index: int


def _as_bytes(ids: list[int]) -> bytes:
    """Token ids in 4 bytes each, which sort as the ids do."""
    return numpy.asarray(ids, ">i4").tobytes()


def _cut(tree: list[_Example], batch_size: int, max_tokens: int | None):
    """The examples of one tree in pieces within the limits, neighbours together."""
    piece: list[int] = []
    rows: list[bytes] = []
    size = 0
    for example in sorted(tree):
        added = sum(_insert(rows, row) for row in example.rows)
        if piece and (len(piece) == batch_size or (max_tokens is not None and size + added > max_tokens)):
            yield _Piece(piece, size)
            piece, rows, size = [], [], 0
            added = sum(_insert(rows, row) for row in example.rows)
        piece.append(example.index)
        size += added
    yield _Piece(piece, size)


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
        batch = batches[largest]
        if len(batch) == 1:  # nothing to split: one example is seen twice
            batches.append(batch)
        else:
            batches[largest : largest + 1] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return batches
