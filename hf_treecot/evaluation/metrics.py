"""What is measured of a model's outputs: accuracy, and how outputs fail, for one problem, in lighteval's terms.

Every figure is a mean over problems with a bootstrap interval. Verifiers run in killable processes; one that fails
gives no reward, which is not a reward of 0: such outputs are left out of accuracy and counted.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from lighteval.metrics.metrics_sample import SampleLevelComputation, SamplingMetric
from lighteval.metrics.utils.metric_utils import SampleLevelMetricGrouping
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc, SamplingMethod

from ..base import Problem, Verdict
from ..errors import InvalidInputError
from ..verifiers.diagnostics import is_looping, is_over_reflecting, repetition
from ..verifiers.judging import NO_ANSWER, Judged, answer_key
from .replies import judge, verify
from .statistics import estimate, pass_at_k, sample_counts


REASONING, INSTRUCTIONS, CONVERSATION = "reasoning", "instructions", "conversation"
PARTS = {"/8": 1 / 8, "/4": 1 / 4, "/2": 1 / 2, "": 1.0}  # of the tokens that were spent on a problem
# As lighteval's own IFEval calls them.
INSTRUCTION_ACCURACIES = (
    "prompt_level_strict_acc",
    "inst_level_strict_acc",
    "prompt_level_loose_acc",
    "inst_level_loose_acc",
)
MEAN = "mean_acc"  # of the four, over all problems: what Multi-IF's authors report of a turn


@dataclass
class OutputMetrics(SampleLevelComputation, SamplingMetric):
    """
    The figures of one problem.

    Args:
        kind (`str`): [`REASONING`], [`INSTRUCTIONS`] or [`CONVERSATION`].
        k (`int`): Samples of every problem.
    """

    kind: str = REASONING
    k: int = 1

    def num_samples(self) -> int:
        """How many samples lighteval asks a model for."""
        return self.k

    def compute(self, doc: Doc, model_response: ModelResponse, **kwargs) -> dict[str, float | list[float]]:
        """
        Judge what a model said to one problem.

        Raises:
            InvalidInputError: There are fewer outputs than the figures need, or no replies to all turns.
        """
        problems = [Problem(**problem) for problem in doc.specific["problems"]]
        outputs = judge(problems, doc, model_response)
        is_search = getattr(model_response, "is_search", False)
        if len(outputs) < self.k and not is_search:
            raise InvalidInputError(f"k={self.k} needs as many samples; the model gave {len(outputs)}: lower k")
        rewards = [_mean([reply.reward for reply in output]) for output in outputs]
        chosen = outputs[:1] if is_search else outputs
        figures = {"accuracy": _mean(rewards[: len(chosen)]), **failures(chosen)}
        # Chains of one tree share tokens, so that theirs cannot be added up.
        spent = model_response.budget if is_search else sum(reply.tokens for output in outputs for reply in output)
        figures["tokens"] = spent
        if self.kind != REASONING:
            figures |= instruction_accuracies(problems, chosen)
        if self.k > 1 and not is_search:
            keys = [answer_key(output[-1].text, problems[-1].verifier) for output in outputs]
            figures |= sample_figures(rewards, keys, self.k)
        if self.k > 1 or is_search:
            figures |= within_tokens(rewards, model_response, figures["tokens"], outputs)
        return figures


def failures(outputs: Sequence[Sequence[Judged]]) -> dict[str, float]:
    """How often outputs fail, and how; a share of the replies each."""
    replies = [reply for output in outputs for reply in output]
    kinds = Counter(reply.no_answer for reply in replies)
    count = len(replies)
    return {
        "no_answer_rate": 1 - kinds[""] / count,
        **{f"no_answer_{kind}": kinds[kind] / count for kind in NO_ANSWER},
        "repetition_rate": sum(is_looping(reply.text) for reply in replies) / count,
        "repetition": sum(repetition(reply.text) for reply in replies) / count,
        "over_reflection_rate": sum(is_over_reflecting(reply.text) for reply in replies) / count,
        "length": sum(reply.tokens for reply in replies) / count,
        "verifier_failures": sum(reply.verdict is None for reply in replies) / count,
    }


def sample_figures(rewards: Sequence[float], keys: Sequence[str | None], k: int) -> dict[str, float]:
    """What independent samples come to together; a sample whose verifier failed is not counted as right."""
    right = [reward > 0.5 for reward in rewards]
    figures = {}
    for count in sample_counts(k):
        votes = Counter(key for key in keys[:count] if key is not None)
        winner = votes.most_common(1)[0][0] if votes else None
        figures[f"pass@{count}"] = pass_at_k(len(right), sum(right), count)
        figures[f"maj@{count}"] = float(winner is not None and right[keys.index(winner)])
        figures[f"test@{count}"] = float(any(right[:count]))
    return figures


def within_tokens(rewards, response: ModelResponse, tokens: int, outputs: Sequence[Sequence[Judged]]) -> dict:
    """Whether any output is right of those that were there after a part of the tokens."""
    found_at = getattr(response, "found_at", None)
    if not found_at:
        found_at, total = [], 0
        for output in outputs:
            total += sum(reply.tokens for reply in output)
            found_at.append(total)
    return {
        f"test@tokens{name}": float(
            any(r > 0.5 for r, at in zip(rewards, found_at, strict=True) if at <= part * tokens)
        )
        for name, part in PARTS.items()
    }


def instruction_accuracies(problems: Sequence[Problem], outputs: Sequence[Sequence[Judged]]) -> dict[str, list]:
    """IFEval's four accuracies, a value for each prompt or instruction; in a conversation by turn, with their mean."""
    loose = [replace(p, answer=json.dumps({**json.loads(p.answer), "loose": True})) for p in problems]
    replies = [reply for output in outputs for reply in output]
    verdicts = verify([reply.text for reply in replies], loose * len(outputs))
    figures: dict[str, list[float]] = {}
    for index, (reply, loose_verdict) in enumerate(zip(replies, verdicts, strict=True)):
        turn = index % len(problems)
        prefix = f"turn_{turn + 1}_" if len(problems) > 1 else ""
        for mode, verdict in (("strict", reply.verdict), ("loose", loose_verdict)):
            if verdict is not None:
                followed = followed_instructions(verdict, json.loads(problems[turn].answer)["instructions"])
                figures.setdefault(f"{prefix}prompt_level_{mode}_acc", []).append(float(all(followed)))
                figures.setdefault(f"{prefix}inst_level_{mode}_acc", []).extend(map(float, followed))
    if len(problems) > 1:
        for turn in range(1, len(problems) + 1):
            figures[f"turn_{turn}_{MEAN}"] = [
                figures.get(f"turn_{turn}_{name}", []) for name in INSTRUCTION_ACCURACIES
            ]
    return figures


def followed_instructions(verdict: Verdict, instructions: Sequence[dict]) -> list[bool]:
    """Which instructions a verdict of the `instructions` verifier says were followed."""
    if verdict.reason == "right":
        return [True] * len(instructions)
    broken = Counter(verdict.reason.partition(": ")[2].split(", ")) if verdict.reason.startswith("wrong") else None
    if broken is None:
        return [False] * len(instructions)
    followed = []
    for instruction in instructions:
        followed.append(not broken[instruction["id"]])
        broken[instruction["id"]] -= not followed[-1]
    return followed


def metric_names(kind: str, k: int) -> list[str]:
    """The figures of a task."""
    names = ["accuracy", "no_answer_rate", *(f"no_answer_{name}" for name in NO_ANSWER), "repetition_rate"]
    names += ["repetition", "over_reflection_rate", "length", "tokens", "verifier_failures"]
    if kind == INSTRUCTIONS:
        names += INSTRUCTION_ACCURACIES
    if kind == CONVERSATION:
        names += [f"turn_{turn}_{name}" for turn in (1, 2, 3) for name in (*INSTRUCTION_ACCURACIES, MEAN)]
    names += [f"test@tokens{part}" for part in PARTS]
    if k > 1:
        names += [f"{name}@{count}" for name in ("pass", "maj", "test") for count in sample_counts(k)]
    return names


def metrics(kind: str, k: int = 1) -> SampleLevelMetricGrouping:
    """
    The metrics of a task, for lighteval.

    Args:
        kind (`str`): [`REASONING`], [`INSTRUCTIONS`] or [`CONVERSATION`].
        k (`int`): Samples of every problem.
    """
    names = metric_names(kind, k)
    lower = ("no_answer", "repetition", "over_reflection", "length", "tokens", "verifier_failures")
    return SampleLevelMetricGrouping(
        metric_name=names,
        higher_is_better={name: not name.startswith(lower) for name in names},
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=OutputMetrics(kind, k),
        corpus_level_fn={name: partial(summarize, name) for name in names},
    )


def summarize(name: str, values: Sequence[float | Sequence[float]]) -> dict[str, float]:
    """
    A figure of a task: the mean, the bootstrap's standard error and 95 % interval.

    Args:
        name (`str`): Its name.
        values (`Sequence`): One a problem; lists where a problem has several, as with instructions; lists of lists
            for the mean of several figures.
    """
    lists = [value if isinstance(value, list) else [value] for value in values]
    if not name.endswith(MEAN):
        lists = [[[v for v in group if not math.isnan(v)]] for group in lists]
    sums = [[sum(group) for group in groups] for groups in lists]
    result = estimate(sums, [[len(group) for group in groups] for groups in lists])
    return {
        name: result.value,
        f"{name}_stderr": result.standard_error,
        f"{name}_low": result.low,
        f"{name}_high": result.high,
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
