"""Attention over packed tries in blocks: no mask of all pairs of tokens is ever made.

A trie is laid out depth first, so a block of queries `[start, end)` sees those tokens before it that are still open,
`ends[key] > start`, and itself. These keys are gathered, and attended to under a small mask. Time and memory grow with
the tokens times the depth of the trie, and not with the square of its tokens.

It is registered with transformers as attention `"tree_blocks"`. A batch comes with a [`TreePlan`], made once for all
layers and for policy and reference; one without a plan (generation, padded rows) is attended to as by `"sdpa"`.
`"tree_flex"` is the same, but for flex attention where that is faster: on a GPU, in half precision.
"""

from dataclasses import dataclass, field

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from ..attention_kernels import kernels_for_any_length
from ..errors import InvalidInputError
from .tree_flex import MIN_HEAD_DIM, attend_flex, compute_dtype, flex_mask


NAME = "tree_blocks"
FLEX = "tree_flex"
# Queries of a block: more compute what nobody sees, fewer gather more often, which a GPU waits for.
BLOCK, BLOCK_ON_GPU = 256, 1024


@dataclass(frozen=True)
class Blocks:
    """
    Queries that are attended together, of all rows laid end to end.

    Args:
        sizes (`list[int]`): Queries of every block, in order.
        keys (`torch.Tensor` of shape `(sum(keys_of),)`): What they see, block by block.
        keys_of (`list[int]`): How many of them are a block's.
        masks (`list[torch.Tensor]` of shapes `(queries, keys)`): Which query of a block sees which key.
    """

    sizes: list[int]
    keys: torch.Tensor
    keys_of: list[int]
    masks: list[torch.Tensor]


@dataclass
class TreePlan:
    """
    How a packed batch is attended to.

    Args:
        ends (`torch.Tensor` of shape `(rows, width)`): `tree_ends` of [`~tree_packing.pack`].
        positions (`torch.Tensor` of shape `(rows, width)`): `tree_position_ids` of it.
        block (`int`, *optional*): Queries of a block, at most. Default: what is fast on the device.
    """

    ends: torch.Tensor
    positions: torch.Tensor
    block: int | None = None
    _by_window: dict[int | None, Blocks] = field(default_factory=dict, repr=False)
    _flex: dict = field(default_factory=dict, repr=False)

    def blocks(self, window: int | None = None) -> Blocks:
        """
        The blocks of a kind of layer, made when it is first asked for.

        Args:
            window (`int`, *optional*): How many tokens back a layer sees, itself included.
        """
        if window not in self._by_window:
            device, width = self.ends.device, self.ends.shape[1]
            block = self.block or (BLOCK_ON_GPU if device.type == "cuda" else BLOCK)
            rows = zip(self.ends.cpu(), self.positions.cpu(), strict=True)  # planned on the CPU: many small steps
            found = [
                (size, keys + row * width, mask.to(device))
                for row, (ends, positions) in enumerate(rows)
                for size, keys, mask in _blocks_of_row(ends, positions, window, block)
            ]
            sizes, keys, masks = zip(*found, strict=True)
            keys_of = [len(some) for some in keys]
            self._by_window[window] = Blocks(list(sizes), torch.cat(keys).to(device), keys_of, list(masks))
        return self._by_window[window]

    def flex_mask(self, window: int | None = None):
        """The same for flex attention; see [`~tree_flex.flex_mask`]."""
        if window not in self._flex:
            rows, width = self.ends.shape
            starts = torch.arange(rows, device=self.ends.device)[:, None] * width
            self._flex[window] = flex_mask((self.ends + starts).flatten(), self.positions.flatten(), window)
        return self._flex[window]


def _blocks_of_row(ends: torch.Tensor, positions: torch.Tensor, window: int | None, size: int):
    order = torch.arange(len(ends))
    forks = torch.zeros(len(ends) + 1, dtype=torch.bool)
    forks[ends] = True  # where some chain has ended: what follows sees less
    start = 0
    while start < len(ends):
        end = min(start + size, len(ends))
        # A block that ends where a chain does needs fewer keys, if that makes it not much smaller.
        if end < len(ends) and (inside := forks[end - size // 4 : end + 1].nonzero()).numel():
            end = end - size // 4 + int(inside[-1])
        is_open = ends[:start] > start
        if window is not None:
            is_open &= positions[:start] > positions[start:end].min() - window
        keys = torch.cat([order[:start][is_open], order[start:end]])
        query = order[start:end, None]
        mask = (keys <= query) & (query < ends[keys])
        if window is not None:
            mask &= positions[start:end, None] - positions[keys] < window
        yield end - start, keys, mask
        start = end


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    tree_plan: TreePlan | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """
    Attention of a layer, as transformers' `AttentionInterface` wants it.

    Args:
        module (`torch.nn.Module`): The layer.
        query (`torch.Tensor` of shape `(rows, heads, width, head_dim)`): Queries.
        key, value (`torch.Tensor` of shape `(rows, key_value_heads, width, head_dim)`): Keys and values.
        attention_mask (`torch.Tensor`, *optional*): Of a batch without a plan; with one it is not looked at.
        scaling (`float`, *optional*): Of scores. Default: one over the root of `head_dim`.
        tree_plan ([`TreePlan`], *optional*): Of the batch.
        sliding_window (`int`, *optional*): Of the layer.
        softcap (`float`, *optional*): What scores are bounded by.
    """
    if tree_plan is None:
        if softcap is None:
            return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        if attention_mask is None:
            width = query.shape[2], key.shape[2]
            attention_mask = query.new_ones(width, dtype=torch.bool).tril(width[1] - width[0])
        return _attend(query, key, value, attention_mask, scaling, softcap).transpose(1, 2).contiguous(), None
    rows, heads, width, _ = query.shape
    query, key, value = (states.transpose(0, 1).flatten(1, 2)[None] for states in (query, key, value))
    if _is_for_flex(module, query):
        groups = heads // key.shape[1]
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
        outputs = attend_flex(query, key, value, tree_plan.flex_mask(sliding_window), scaling, softcap)
    else:
        outputs = _attend_in_blocks(query, key, value, tree_plan.blocks(sliding_window), scaling, softcap)
    return outputs.view(heads, rows, width, -1).permute(1, 2, 0, 3).contiguous(), None


def _is_for_flex(module: torch.nn.Module, query: torch.Tensor) -> bool:
    is_half = compute_dtype(query) in (torch.bfloat16, torch.float16)
    return module.config._attn_implementation == FLEX and is_half and query.is_cuda and query.shape[-1] >= MIN_HEAD_DIM


def _attend_in_blocks(query, key, value, blocks: Blocks, scaling: float | None, softcap: float | None) -> torch.Tensor:
    # All that is gathered, at once: the gradients of many small pieces would each be as large as the whole.
    pieces = zip(
        query.split(blocks.sizes, 2),
        *(states.index_select(2, blocks.keys).split(blocks.keys_of, 2) for states in (key, value)),
        blocks.masks,
        strict=True,
    )
    with kernels_for_any_length():
        return torch.cat([_attend(*piece, scaling, softcap) for piece in pieces], 2)


def attend_as_tree(model, plan: TreePlan) -> dict:
    """
    What a packed batch has to bring to a model beside its tokens and positions.

    Args:
        model (`~transformers.PreTrainedModel`): Its attention is `"tree_blocks"` or `"tree_flex"`.
        plan ([`TreePlan`]): Of the batch.

    Returns:
        `dict`: Arguments of its `forward`.

    Raises:
        InvalidInputError: Its attention is another one.
    """
    attention = model.config.get_text_config()._attn_implementation
    if attention not in (NAME, FLEX):
        raise InvalidInputError(
            f"the model's attention is {attention!r} now, which knows no trees: leave it as the trainer set it, or "
            "train with tree_packing='off'"
        )
    # A mask of four dimensions is taken as it is: none is made. It is not looked at.
    return {"tree_plan": plan, "attention_mask": plan.ends.new_zeros(1, 1, 1, 1, dtype=torch.bool)}


def _attend(query, key, value, mask, scaling: float | None, softcap: float | None) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    if softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1, dtype=torch.float32)
    return weights.to(value.dtype) @ value


for name in (NAME, FLEX):
    AttentionInterface.register(name, tree_attention)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
