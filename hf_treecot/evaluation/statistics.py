"""Figures with their uncertainty: estimators over several samples, bootstrap intervals, paired comparison.

Plain functions of numbers. The problems are what is resampled: samples of one problem are not independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy
from scipy.stats import permutation_test


RESAMPLES = 2_000
PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Estimate:
    """
    A mean over problems with its uncertainty.

    Args:
        value (`float`): The mean.
        low, high (`float`): The percentile bootstrap interval; the value itself where it cannot be had.
        standard_error (`float`): Of the bootstrap.
    """

    value: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True)
class Comparison:
    """
    Two models on the same problems.

    Args:
        difference (`Estimate`): Mean of the second minus the first.
        p_value (`float`): Two-sided, of the paired permutation test: how often a difference at least as large comes
            about if the names of the models are swapped at random, problem by problem.
    """

    difference: Estimate
    p_value: float


def estimate(
    values: Sequence[float], weights: Sequence[float] | None = None, *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """
    The mean over problems, with a percentile bootstrap interval.

    Args:
        values (`Sequence[float]`, or an array of shape (problems, figures) or (seeds, problems, 1)): One a problem;
            NaN is left out. With weights, sums. Of several figures, the mean of their means. Of several seeds of one
            experiment on the same problems, seeds and problems are both drawn, each with all of its outcomes.
        weights (*optional*): How many things each value is the sum of, if not one; of the same shape.
        level (`float`): Of the interval.
        seed (`int`): Of the resampling.

    Returns:
        [`Estimate`]: NaN everywhere if there are no values.
    """
    values = numpy.asarray(values, dtype=float)
    weights = numpy.ones_like(values) if weights is None else numpy.asarray(weights, dtype=float)
    shape = {1: (1, -1, 1), 2: (1, *values.shape), 3: values.shape}[values.ndim]
    values, weights = values.reshape(shape), weights.reshape(shape)
    known = ~numpy.isnan(values).any(axis=(0, 2))
    values, weights = values[:, known], weights[:, known]
    if not values.size or not weights.sum(axis=(0, 1)).all():
        return Estimate(*[float("nan")] * 4)
    mean = float((values.sum(axis=(0, 1)) / weights.sum(axis=(0, 1))).mean())
    if values.shape[1] < 2 or all(numpy.ptp(array) == 0 for array in (values, weights)):
        return Estimate(mean, mean, mean, 0.0)
    rng = numpy.random.default_rng(seed)
    drawn = [rng.multinomial(size, [1 / size] * size, RESAMPLES) for size in values.shape[:2]]  # how often each
    sums, counts = (numpy.einsum("rs,rp,spf->rf", *drawn, array, optimize=True) for array in (values, weights))
    means = (sums / numpy.maximum(counts, 1e-12)).mean(axis=1)
    low, high = numpy.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high), float(means.std(ddof=1)))


def bootstrap(
    problems: numpy.ndarray, figure: Callable[[numpy.ndarray], float], *, level: float = 0.95, seed: int = 0
) -> Estimate:
    """
    Any figure of all problems together, with a percentile bootstrap interval.

    Args:
        problems (`numpy.ndarray`): One row a problem.
        figure (`Callable`): Of such an array.
        level (`float`): Of the interval.
        seed (`int`): Of the resampling.

    Returns:
        [`Estimate`]: NaN everywhere if there are no problems.
    """
    if not len(problems):
        return Estimate(*[float("nan")] * 4)
    rng = numpy.random.default_rng(seed)
    drawn = [figure(problems[rng.integers(len(problems), size=len(problems))]) for _ in range(RESAMPLES)]
    low, high = numpy.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(figure(problems), float(low), float(high), float(numpy.std(drawn, ddof=1)))


def compare(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Comparison:
    """
    Whether a second model differs from a first one.

    Args:
        first, second (`Sequence[float]`): One value a problem, the same problems in the same order. Problems for which
            one of them is NaN are left out.
        seed (`int`): Of the resampling and the permutations.

    Raises:
        ValueError: They are not of one length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    differences = numpy.asarray(second, dtype=float) - numpy.asarray(first, dtype=float)
    differences = differences[~numpy.isnan(differences)]
    difference = estimate(differences, seed=seed)
    if differences.size < 2 or not differences.any():  # of one problem, swapped or not, nothing is rare
        return Comparison(difference, 1.0)
    result = permutation_test(
        (differences,), lambda d, axis: d.mean(axis), permutation_type="samples", vectorized=True,
        n_resamples=PERMUTATIONS, rng=numpy.random.default_rng(seed),
    )  # fmt: skip
    return Comparison(difference, float(result.pvalue))


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """
    The chance that at least one of k samples is right, without bias (Chen et al. 2021, equation 1).

    Args:
        num_samples, num_right (`int`): What was drawn, and how many of them were right.
        k (`int`): At most `num_samples`.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"k={k} must be at least 1 and at most the number of samples, {num_samples}")
    return 1.0 - comb(num_samples - num_right, k) / comb(num_samples, k)


def sample_counts(k: int) -> list[int]:
    """The numbers of samples that figures are given for: the powers of two below k, and k."""
    return [2**i for i in range(k.bit_length()) if 2**i < k] + [k]
