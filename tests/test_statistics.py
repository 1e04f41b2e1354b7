import math
import random

import numpy
import pytest


pytest.importorskip("scipy")
from hf_treecot.evaluation.statistics import compare, estimate, pass_at_k, sample_counts


def test_estimate_of_what_is_known():
    assert estimate([1.0] * 10).value == estimate([1.0] * 10).low == 1.0
    assert math.isnan(estimate([]).value)
    assert math.isnan(estimate([math.nan]).value)
    assert estimate([0.0]).high == 0.0
    assert estimate([1.0, math.nan, 0.0]).value == 0.5
    assert estimate([3.0, 0.0], [3, 1]).value == 0.75  # of four things three


def test_seeds_and_problems_are_both_drawn():
    outcomes = numpy.array([[1] * 60 + [0] * 140], dtype=float)[..., None]
    half = 1.96 * (0.3 * 0.7 / 200) ** 0.5
    one = estimate(outcomes)
    assert one.value == 0.3
    assert (one.low, one.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.012)
    assert one == estimate(outcomes[0, :, 0])  # a single seed is no seed
    # Seeds that agree on every problem say no more than one; those that disagree widen the interval.
    agreeing = estimate(numpy.repeat(outcomes, 5, axis=0))
    assert (agreeing.low, agreeing.high) == pytest.approx((one.low, one.high), abs=0.012)
    disagreeing = estimate(numpy.array([[1.0] * 100, [0.0] * 100])[..., None])
    assert (disagreeing.value, disagreeing.low, disagreeing.high) == (0.5, 0.0, 1.0)


def test_the_mean_of_several_figures():
    """Of prompts one in two, of instructions three in four."""
    result = estimate([[1, 3], [0, 0]], [[1, 3], [1, 1]])
    assert result.value == (0.5 + 0.75) / 2
    assert (result.low, result.high) == (0.0, 1.0)
    assert math.isnan(estimate([[1.0, 0.0]], [[1, 0]]).value)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = random.Random(0)
    held = 0
    for _ in range(200):
        result = estimate([float(rng.random() < 0.7) for _ in range(100)])
        held += result.low <= 0.7 <= result.high
    assert 0.89 < held / 200 < 0.99


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not():
    rng = random.Random(1)
    base = [float(rng.random() < 0.5) for _ in range(200)]
    better = [1.0 if value or rng.random() < 0.4 else 0.0 for value in base]
    found = compare(base, better)
    assert found.p_value < 0.001
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert compare(base, base).p_value == 1.0
    shuffled = rng.sample(base, len(base))
    assert compare(base, shuffled).p_value > 0.05
    with pytest.raises(ValueError, match="2 and 1 values"):
        compare([1.0, 0.0], [1.0])


def test_the_paired_test_is_exact_where_it_can_be():
    # Five problems, all better: of the 32 ways to swap names, two are as extreme.
    assert compare([0.0] * 5, [1.0] * 5).p_value == pytest.approx(2 / 32)
    assert compare([0.0], [1.0]).p_value == 1.0  # one problem shows nothing


@pytest.mark.parametrize(
    ("n", "right", "k", "expected"), [(4, 2, 1, 0.5), (4, 2, 2, 5 / 6), (4, 0, 4, 0.0), (4, 1, 4, 1.0)]
)
def test_pass_at_k(n, right, k, expected):
    assert pass_at_k(n, right, k) == pytest.approx(expected)


def test_k_beyond_the_samples_is_refused():
    with pytest.raises(ValueError, match="k=5 must be"):
        pass_at_k(4, 1, 5)


def test_sample_counts():
    assert sample_counts(1) == [1]
    assert sample_counts(8) == [1, 2, 4, 8]
    assert sample_counts(12) == [1, 2, 4, 8, 12]
