"""Key-value memory of the local engine: a slot per row of the running batch, and an LRU of finished paths.

Rows are left-aligned in their slots and know their own lengths, so rows of any length join and leave the batch without
padding each other, and tokens are appended in place.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


BLOCK = 16  # tokens: prefixes are looked up at multiples of it


@dataclass
class Window:
    """What the next forward call writes and sees: rows [start, stop), at `positions`, up to `length`."""

    start: int = 0
    stop: int = 0
    length: int = 0
    positions: torch.Tensor | None = None  # (rows, new tokens)
    rows: torch.Tensor | None = None  # (rows, 1), counted from `start`


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, each of shape `(slots, heads, capacity, head_dim)`."""

    def __init__(self, window: Window, slots: int):
        super().__init__()
        self.window, self.slots, self.capacity = window, slots, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for the shape of the first states."""
        self.keys = key_states.new_zeros(self.slots, key_states.shape[1], self.capacity, key_states.shape[3])
        self.values = value_states.new_zeros(self.slots, value_states.shape[1], self.capacity, value_states.shape[3])
        self.is_initialized = True

    def reserve(self, capacity: int) -> None:
        """Make room for rows of `capacity` tokens."""
        if self.is_initialized:
            self.keys = torch.nn.functional.pad(self.keys, (0, 0, 0, capacity - self.capacity))
            self.values = torch.nn.functional.pad(self.values, (0, 0, 0, capacity - self.capacity))
        self.capacity = capacity

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Write the new tokens of the window's rows in place; return all that these rows may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        w = self.window
        keys, values = self.keys[w.start : w.stop], self.values[w.start : w.stop]
        keys[w.rows, :, w.positions] = key_states.transpose(1, 2)
        values[w.rows, :, w.positions] = value_states.transpose(1, 2)
        return keys[:, :, : w.length], values[:, :, : w.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what is visible."""
        return self.window.length, 0

    def get_seq_length(self) -> int:
        """Tokens that the longest row holds, the new ones included."""
        return self.window.length

    def get_max_length(self) -> int:
        """No maximum: rows grow as they must."""
        return -1


class SlotCache(Cache):
    """
    Keys and values of the running batch.

    Args:
        num_layers (`int`): Layers of the model.
        slots (`int`): Rows that fit.
    """

    def __init__(self, num_layers: int, slots: int):
        self.window, self.capacity = Window(), 0
        super().__init__(layers=[SlotLayer(self.window, slots) for _ in range(num_layers)])

    def open(self, start: int, stop: int, positions: torch.Tensor, length: int) -> None:
        """
        Point the next forward call at some rows.

        Args:
            start, stop (`int`): The rows.
            positions (`torch.Tensor` of shape `(stop - start, new_tokens)`): Where the new tokens go.
            length (`int`): The longest row, new tokens included.
        """
        if length > self.capacity:
            self.capacity = max(2 * self.capacity, length, 256)
            for layer in self.layers:
                layer.reserve(self.capacity)
        self.window.start, self.window.stop, self.window.length = start, stop, length
        self.window.positions = positions
        self.window.rows = torch.arange(stop - start, device=positions.device).unsqueeze(1)

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row to another."""
        if not length:
            return  # there may be no keys and values yet
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def read_row(self, row: int, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """A copy of a row's first `length` tokens."""
        return [(x.keys[row, :, :length].clone(), x.values[row, :, :length].clone()) for x in self.layers]

    def write_row(self, row: int, states: list[tuple[torch.Tensor, torch.Tensor]], length: int) -> None:
        """Put what [`read_row`] gave back into a row."""
        for layer, (keys, values) in zip(self.layers, states, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys.unsqueeze(0), values.unsqueeze(0))
            layer.keys[row, :, :length] = keys[:, :length]
            layer.values[row, :, :length] = values[:, :length]


class PathCache:
    """
    Keys and values of finished paths, the least recently used dropped first.

    A search comes back to its paths: the prompt of a child is its parent's prompt and text, and a little more.

    Args:
        budget (`int`): Bytes that it may hold.
    """

    def __init__(self, budget: int):
        self.budget, self.size = budget, 0
        self.paths: OrderedDict[int, tuple[list[int], list, int]] = OrderedDict()  # id -> tokens, states, bytes
        self.blocks: dict[int, tuple[int, int]] = {}  # hash of a prefix -> path id, its length
        self.next_id = 0

    def store(self, tokens: list[int], states: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Keep the states of a path of tokens."""
        size = sum(t.nbytes for pair in states for t in pair)
        if size > self.budget:
            return
        self.paths[self.next_id] = (tokens, states, size)
        for prefix_hash, length in _prefix_hashes(tokens):
            self.blocks[prefix_hash] = (self.next_id, length)
        self.next_id += 1
        self.size += size
        while self.size > self.budget:
            path_id, (old, _, old_size) = self.paths.popitem(last=False)
            self.size -= old_size
            for prefix_hash, _ in _prefix_hashes(old):
                if self.blocks.get(prefix_hash, (None,))[0] == path_id:
                    del self.blocks[prefix_hash]

    def find(self, tokens: list[int]) -> tuple[int, list[tuple[torch.Tensor, torch.Tensor]] | None]:
        """The longest stored prefix of `tokens`: its length and states, or (0, None)."""
        for prefix_hash, _ in reversed(_prefix_hashes(tokens)):
            if prefix_hash not in self.blocks:
                continue
            path_id, length = self.blocks[prefix_hash]
            stored, states, _ = self.paths[path_id]
            if stored[:length] == tokens[:length]:  # not a collision of hashes
                self.paths.move_to_end(path_id)
                while length < min(len(stored), len(tokens)) and stored[length] == tokens[length]:
                    length += 1
                return length, states
        return 0, None


def _prefix_hashes(tokens: list[int]) -> list[tuple[int, int]]:
    """(hash, length) of the prefixes whose lengths are multiples of the block."""
    hashes, running = [], 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        running = hash((running, *tokens[end - BLOCK : end]))
        hashes.append((running, end))
    return hashes
