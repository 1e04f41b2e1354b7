import json
import random

import pytest

from hf_treecot.building.builder import BuildReport
from hf_treecot.building.estimate import compare, describe, estimate, save
from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.tree import Tree

from .worlds import PROBLEM


def tree(requests, tokens=100):
    return Tree(PROBLEM, "p", requests=requests, prompt_tokens=10 * tokens, generated_tokens=tokens)


def steady(count, tokens=10, rate=100.0):
    """Completions of so many tokens each, one after the other."""
    return [((i + 1) * tokens / rate, tokens) for i in range(count)]


def test_sums_time_and_cost():
    # 4 trees of 100 tokens at 100 tokens a second, of which the second half took twice as long.
    written = steady(20) + [(2.0 + (i + 1) * 0.2, 10) for i in range(20)]
    result = estimate([tree(10), tree(20), tree(10), tree(20)], written, 0.0, 6.0, 400, price_per_hour=36.0)
    assert (result.requests, result.generated_tokens, result.prompt_tokens) == (6000, 40_000, 400_000)
    assert result.seconds == pytest.approx(40_000 / 100 + 2.0)  # the slow end comes once
    assert result.cost == pytest.approx(result.seconds / 100)
    assert result.margins["generated_tokens"] == 0  # all were alike
    text = "\n".join(describe(result))
    assert "for 400 problems, from a sample of 4:" in text
    assert "requests: 6,000 (± " in text
    assert "cost: 4.02" in text


def test_the_margin_holds_nine_of_ten():
    rng = random.Random(0)
    population = [int(rng.expovariate(1 / 40)) + 1 for _ in range(1000)]
    held = 0
    for _ in range(300):
        sample = [tree(n) for n in rng.sample(population, 100)]
        result = estimate(sample, steady(10), 0.0, 1.0, 1000)
        held += abs(result.requests - sum(population)) <= result.margins["requests"]
    assert 0.85 <= held / 300 <= 0.95


def test_a_sample_of_everything_is_exact():
    result = estimate([tree(3), tree(9)], steady(10), 0.0, 1.0, 2)
    assert (result.requests, result.margins["requests"]) == (12, 0)


def test_a_sample_without_trees():
    with pytest.raises(InvalidInputError, match="no tree of the sample could be grown"):
        estimate([], [], 0.0, 1.0, 5)


def test_compared_with_the_build(tmp_path):
    path = tmp_path / "e.json"
    statistics = {"requests": 50, "prompt_tokens": 2000, "generated_tokens": 200}
    report = BuildReport(trees=2, statistics=statistics, seconds=4.0, asked=50)
    assert compare(path, report) == []
    save(estimate([tree(20), tree(20)], steady(20), 0.0, 2.0, 2), path)
    lines = compare(path, report)
    assert "  requests: 40 estimated, 50 taken (-20.0%)" in lines
    assert "  generated tokens: 200 estimated, 200 taken (+0.0%)" in lines
    assert "  seconds: 2 estimated, 4 taken (-50.0%)" in lines
    assert not any("seconds" in line for line in compare(path, BuildReport(trees=2, statistics=statistics, asked=9)))
    assert compare(path, BuildReport(trees=3, statistics=statistics)) == []
    assert json.loads(path.read_text())["sample"] == 2
