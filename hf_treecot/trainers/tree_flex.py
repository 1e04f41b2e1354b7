"""Flex attention over packed tries: on a GPU one compiled kernel, which skips what no query of a block sees."""

from functools import cache

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad


SIZE = 128  # queries and keys of a block of the kernel
MIN_HEAD_DIM = 16  # the kernel's


def flex_mask(ends: torch.Tensor, positions: torch.Tensor, window: int | None = None) -> BlockMask:
    """
    Which blocks of keys every block of queries sees, worked out from the blocks: no pair of tokens is looked at.

    Args:
        ends (`torch.Tensor` of shape `(tokens,)`): Where what sees a token ends, of all rows laid end to end.
        positions (`torch.Tensor` of shape `(tokens,)`): Positions in their chains.
        window (`int`, *optional*): How many tokens back a query sees, itself included.

    Returns:
        `~torch.nn.attention.flex_attention.BlockMask`: For as many tokens as fill its blocks.
    """
    tokens, device = len(ends), ends.device
    filled = -(-tokens // SIZE) * SIZE
    ends = torch.cat([ends, torch.arange(tokens, filled, device=device) + 1])  # what fills a block sees itself
    positions = pad(positions, (0, filled - tokens))

    beyond = positions - (filled if window is None else window)  # the last position that a query does not see

    def may_see(batch, head, query, key):
        return (key <= query) & (query < ends[key]) & (positions[key] > beyond[query])

    blocks = ends.view(-1, SIZE)
    key = torch.arange(0, filled, SIZE, device=device)
    query = key[:, None]
    some = (key <= query) & (blocks.amax(1) > query)
    every = (key < query) & (blocks.amin(1) >= query + SIZE)
    if window is not None:
        lowest, highest = positions.view(-1, SIZE).aminmax(dim=1)
        some &= lowest[:, None] - highest < window
        every &= highest[:, None] - lowest < window
    return BlockMask.from_kv_blocks(*_listed(some & ~every), *_listed(every), BLOCK_SIZE=SIZE, mask_mod=may_see)


def attend_flex(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: BlockMask,
    scaling: float | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """
    Attention under a mask of blocks.

    Args:
        query, key, value (`torch.Tensor` of shape `(1, heads, tokens, head_dim)`): States of all rows, end to end.
        mask (`~torch.nn.attention.flex_attention.BlockMask`): Of [`flex_mask`].
        scaling (`float`, *optional*): Of scores. Default: one over the root of `head_dim`.
        softcap (`float`, *optional*): What scores are bounded by.

    Returns:
        `torch.Tensor` of shape `(1, heads, tokens, head_dim)`
    """
    tokens, dtype = query.shape[2], compute_dtype(query)
    fill = (0, 0, 0, mask.seq_lengths[0] - tokens)
    query, key, value = (pad(states.to(dtype), fill) for states in (query, key, value))
    score_mod = None if softcap is None else _capped(softcap)
    with torch.autocast(query.device.type, enabled=False):  # the kernel wants three states of one type
        output = _kernel(query.is_cuda)(query, key, value, score_mod=score_mod, block_mask=mask, scale=scaling)
    return output[:, :, :tokens]


def compute_dtype(states: torch.Tensor) -> torch.dtype:
    """What attention computes in: autocast's type, if it is on."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


@cache
def _kernel(is_compiled: bool):
    # Batches differ in length: compiled for each, the first steps would take seconds, and later ones not be compiled.
    return torch.compile(flex_attention, dynamic=True) if is_compiled else flex_attention


@cache
def _capped(softcap: float):
    def cap(score, batch, head, query, key):
        return softcap * torch.tanh(score / softcap)

    return cap


def _listed(is_seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For every block of queries how many blocks of keys it sees, and these first."""
    order = is_seen.int().argsort(dim=1, descending=True, stable=True)
    return is_seen.sum(1).int()[None, None], order.int()[None, None]
