"""What thinking is worth, from outputs within budgets: curves, areas under them, over- and underthinking.

Overthinking is what a right output thinks on after the first budget at which its forced answer is right; underthinking
is to give up a right answer: a wrong output that a budget would have made right. After OptimalThinkingBench (Aggarwal
et al. 2025, arXiv 2508.13141), `thrift` takes from a right output the share of the largest budget that it spent: the
area under its accuracy over all thresholds of tokens. It knows judged outputs, not who wrote them.
"""

import math
from collections.abc import Sequence

from ..base import Problem
from .budgets import Within
from .metrics import mean_known
from .replies import judge


OF_A_BUDGET = ("accuracy", "no_answer_rate", "tokens", "cut", "accuracy_complete", "accuracy_cut")
OF_ALL_BUDGETS = ("accuracy_area", "overthinking", "underthinking", "thrift")


def budget_names(budgets: Sequence[int]) -> list[str]:
    """The figures of some budgets."""
    if not budgets:
        return []
    return [f"{name}@{budget}" for name in OF_A_BUDGET for budget in budgets] + list(OF_ALL_BUDGETS)


def budget_figures(
    problem: Problem, samples: Sequence[Sequence[Within]], rewards: Sequence[float], budgets: Sequence[int]
) -> dict[str, float]:
    """
    The figures of the samples of one problem.

    Args:
        problem ([`Problem`]): The problem.
        samples (`Sequence[Sequence[Within]]`): Every sample within every budget.
        rewards (`Sequence[float]`): Of the samples as they are; NaN where the verifier failed.
        budgets (`Sequence[int]`): Tokens of thinking, increasing.

    Returns:
        `dict[str, float]`: Means over the samples; NaN where there is nothing to take the mean of.
    """
    flat = [within for sample in samples for within in sample]
    judged = judge([problem], [w.text for w in flat], [w.tokens for w in flat], [w.is_truncated for w in flat])
    figures: dict[str, float] = {}
    for place, budget in enumerate(budgets):
        outputs = [output[0] for output in judged[place :: len(budgets)]]
        cut = [sample[place].is_cut for sample in samples]
        right = [output.reward for output in outputs]
        figures |= {
            f"accuracy@{budget}": mean_known(right),
            f"no_answer_rate@{budget}": mean_known([float(bool(output.no_answer)) for output in outputs]),
            f"tokens@{budget}": mean_known([float(output.tokens) for output in outputs]),
            f"cut@{budget}": mean_known(list(map(float, cut))),
            f"accuracy_complete@{budget}": mean_known([r for r, is_cut in zip(right, cut, strict=True) if not is_cut]),
            f"accuracy_cut@{budget}": mean_known([r for r, is_cut in zip(right, cut, strict=True) if is_cut]),
        }
    figures["accuracy_area"] = area(budgets, [figures[f"accuracy@{budget}"] for budget in budgets])
    over, under = [], []
    for number, (sample, reward) in enumerate(zip(samples, rewards, strict=True)):
        outputs = judged[number * len(budgets) : (number + 1) * len(budgets)]
        right_at = [b for b, output in zip(budgets, outputs, strict=True) if output[0].reward > 0.5]
        if reward > 0.5:
            over.append(_overthinking(sample, right_at))
        elif reward <= 0.5:
            under.append(float(bool(right_at)))
    figures |= {"overthinking": mean_known(over), "underthinking": mean_known(under)}
    spent = [sample[-1].tokens for sample in samples]
    thrift = [reward * max(0.0, 1 - tokens / budgets[-1]) for reward, tokens in zip(rewards, spent, strict=True)]
    return figures | {"thrift": mean_known(thrift)}


def _overthinking(sample: Sequence[Within], right_at: Sequence[int]) -> float:
    """Of a right output, the share of its tokens that came after the first budget that was enough."""
    tokens = sample[-1].tokens
    return max(0.0, 1 - right_at[0] / tokens) if right_at and tokens else 0.0


def area(budgets: Sequence[int], accuracies: Sequence[float]) -> float:
    """
    The mean height of a curve over the logarithm of the budget: doubling it counts the same wherever it is.

    Args:
        budgets (`Sequence[int]`): Increasing; 0 counts as 1.
        accuracies (`Sequence[float]`): One for each.
    """
    places = [math.log2(max(budget, 1)) for budget in budgets]
    width = places[-1] - places[0]
    if not width:
        return mean_known(accuracies)
    steps = zip(places, places[1:], accuracies, accuracies[1:], strict=False)
    return sum((right - left) * (a + b) / 2 for left, right, a, b in steps) / width
