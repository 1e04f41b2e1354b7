"""The mask of flex attention against its definition, and what is attended under it against attention in blocks."""

import random

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from hf_treecot.trainers import tree_attention, tree_flex
from hf_treecot.trainers.tree_attention import FLEX, TreePlan
from hf_treecot.trainers.tree_attention import tree_attention as attend
from hf_treecot.trainers.tree_packing import pack

from .test_tree_attention import dense
from .test_tree_packing import random_rows


def plan_of(seed, rows=40):
    sequences = random_rows(random.Random(seed), rows)
    batch = pack(sequences, [index % 3 for index in range(len(sequences))])
    return TreePlan(batch["tree_ends"], batch["tree_position_ids"])


def pairs_of(counts, blocks):
    """Whether a block of queries lists a block of keys."""
    listed = torch.zeros(blocks.shape[2:], dtype=torch.bool)
    for query, count in enumerate(counts[0, 0].tolist()):
        listed[query, blocks[0, 0, query, :count].long()] = True
    return listed


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_is_that_of_the_definition_and_no_block_that_is_seen_is_left_out(seed, window, monkeypatch):
    monkeypatch.setattr(tree_flex, "SIZE", 8)
    plan = plan_of(seed)
    mask = plan.flex_mask(window)
    width = mask.seq_lengths[0]
    tokens = plan.ends.numel()
    assert width % 8 == 0
    assert width - tokens < 8
    seen = create_mask(mask.mask_mod, 1, 1, width, width, device="cpu")[0, 0]
    assert torch.equal(seen[:tokens, :tokens], torch.block_diag(*dense(plan.ends, plan.positions, window)))
    in_blocks = seen.view(width // 8, 8, width // 8, 8)
    some = pairs_of(mask.kv_num_blocks, mask.kv_indices)
    every = pairs_of(mask.full_kv_num_blocks, mask.full_kv_indices)
    assert not (some & every).any()
    assert not (in_blocks.any(3).any(1) & ~(some | every)).any()
    assert in_blocks.all(3).all(1)[every].all()
    if window is None:  # none is listed in vain, and none looked into that is seen whole
        assert torch.equal(some | every, in_blocks.any(3).any(1))
        assert torch.equal(every, in_blocks.all(3).all(1))


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 4])
def test_it_attends_as_blocks_do(window, softcap, monkeypatch):
    """The kernel is not compiled here: that needs a GPU, and is in `test_gpu.py`."""
    plan = plan_of(1)
    rows, width = plan.ends.shape
    torch.manual_seed(0)
    query, key, value = (torch.randn(rows, heads, width, 16, dtype=torch.float64) for heads in (4, 2, 2))
    module = torch.nn.Module()
    module.config = type("Config", (), {"_attn_implementation": FLEX})

    def attended():
        with torch.no_grad():
            return attend(module, query, key, value, None, None, plan, window, softcap)[0]

    in_blocks = attended()
    monkeypatch.setattr(tree_attention, "_is_for_flex", lambda *_: True)
    torch.testing.assert_close(attended(), in_blocks)
    assert plan._flex
