import pytest

from hf_treecot.trainers.tree_batches import TreeBatchSampler, TreeCollator
from hf_treecot.trainers.tree_packing import fold

from .tiny_models import token_pairs


PAIRS = list(token_pairs(7, 5))
EXAMPLES = [(row["prompt_ids"], [row["chosen_ids"], row["rejected_ids"]]) for row in PAIRS]


def tokens_of(pairs):
    groups = {}
    for index in pairs:
        row = PAIRS[index]
        groups.setdefault(tuple(row["prompt_ids"]), []).extend(
            row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")
        )
    return sum(len(fold(rows).tokens) for rows in groups.values())


@pytest.mark.parametrize("batch_size", [1, 4, 5, 12, 100])
@pytest.mark.parametrize("max_tokens", [None, 30, 120])
@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_every_pair_is_in_one_batch_within_the_limits(batch_size, max_tokens, num_processes):
    sampler = TreeBatchSampler(EXAMPLES, batch_size, max_tokens, num_processes)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert len(batches) % num_processes == 0
    seen = [pair for batch in batches for pair in batch]
    assert set(seen) == set(range(len(PAIRS)))
    assert len(seen) - len(PAIRS) < num_processes  # twice only if nothing can be split
    for batch in batches:
        assert len(batch) <= batch_size
        assert max_tokens is None or len(batch) == 1 or tokens_of(batch) <= max_tokens


def test_pairs_of_a_tree_stay_together_where_they_fit():
    sampler = TreeBatchSampler(EXAMPLES, 5)
    assert all(len({tuple(PAIRS[i]["prompt_ids"]) for i in batch}) == 1 for batch in sampler)
    assert len(list(TreeBatchSampler(EXAMPLES, 10))) == 4  # two trees a batch


def test_epochs_differ_and_seeds_repeat():
    sampler, same, other = (
        TreeBatchSampler(EXAMPLES, 4),
        TreeBatchSampler(EXAMPLES, 4),
        TreeBatchSampler(EXAMPLES, 4, seed=1),
    )
    first = list(sampler)
    assert first == list(sampler) == list(same) != list(other)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(index for batch in second for index in batch) == sorted(index for batch in first for index in batch)
    assert len(second) == len(first) == len(sampler)
    assert sorted(map(sorted, second)) != sorted(map(sorted, first))  # drawn anew, not the same in another order
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_the_last_round_may_be_dropped():
    assert len(TreeBatchSampler(EXAMPLES, 5, num_processes=2, drop_last=True)) == 6  # of 7


def test_rows_padded_to_a_multiple_have_an_index_of_their_width():
    batch = TreeCollator(pad_token_id=0, pad_to_multiple_of=16)(PAIRS[:3])
    assert batch["input_ids"].shape[1] % 16 == 0
    assert batch["tree_index"].shape == (6, batch["input_ids"].shape[1] - 1)
    tokens = batch["tree_input_ids"].view(-1).roll(-1)
    for ids, mask, index in zip(batch["input_ids"], batch["attention_mask"], batch["tree_index"], strict=True):
        length = int(mask.sum())
        assert tokens[index[: length - 1]].tolist() == ids[1:length].tolist()
