"""What is measured of a model's outputs: accuracy, and how outputs fail, for one problem and summed up over problems.

It knows judged outputs, not who asked for them: lighteval and Inspect give the same figures of the same outputs. Every
figure is a mean over problems with a bootstrap interval. Verifiers run in killable processes; one that fails gives no
reward, which is not a reward of 0: such outputs are left out of accuracy and counted.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from ..base import Problem, Verdict
from ..verifiers.diagnostics import is_looping, is_over_reflecting, repetition
from ..verifiers.judging import NO_ANSWER, Judged
from .calibration import calibration_figures, calibration_names, confidences, selective_accuracy
from .replies import verify
from .statistics import estimate, pass_at_k, sample_counts
from .voting import Vote, elect


REASONING, INSTRUCTIONS, CONVERSATION = "reasoning", "instructions", "conversation"
PARTS = {"/8": 1 / 8, "/4": 1 / 4, "/2": 1 / 2, "": 1.0}  # of the tokens that were spent on a problem
# As lighteval's own IFEval calls them.
INSTRUCTION_ACCURACIES = (
    "prompt_level_strict_acc",
    "inst_level_strict_acc",
    "prompt_level_loose_acc",
    "inst_level_loose_acc",
)
TOKENS_PER_RIGHT = "tokens_per_right"  # of all problems: tokens, and right answers
MEAN = "mean_acc"  # of the four, over all problems: what Multi-IF's authors report of a turn


Figures = Mapping[str, float | list]  # lists where a problem has several values, as with instructions


def output_figures(problems: Sequence[Problem], output: Sequence[Judged], kind: str) -> Figures:
    """
    The figures of one output.

    Args:
        problems (`Sequence[Problem]`): Of every turn.
        output (`Sequence[Judged]`): A reply to every turn.
        kind (`str`): [`REASONING`], [`INSTRUCTIONS`] or [`CONVERSATION`].
    """
    figures = {"accuracy": mean_known([reply.reward for reply in output]), **failures(output)}
    figures["tokens"] = sum(reply.tokens for reply in output)
    return figures if kind == REASONING else figures | instruction_accuracies(problems, output)


def problem_figures(
    outputs: Sequence[Figures],
    keys: Sequence[str | None],
    ballot: Sequence[Vote] = (),
    answer_vote: str = "majority",
) -> Figures:
    """
    The figures of independent samples of one problem, together: tokens add up, the others are means.

    Args:
        outputs (`Sequence[Figures]`): As of [`output_figures`].
        keys (`Sequence[str]`): What every output answers; see [`~verifiers.agreement.shared_keys`].
        ballot (`Sequence[Vote]`): What every output may be weighed by in a vote, where that is known.
        answer_vote (`str`): How they are weighed; see [`~evaluation.voting.elect`].
    """
    figures = {}
    for name in outputs[0]:
        values = [output[name] for output in outputs]
        figures[name] = _together(values) if isinstance(values[0], list) else mean_known(values)
    figures["tokens"] = sum(output["tokens"] for output in outputs)
    rewards = [output["accuracy"] for output in outputs]
    figures[TOKENS_PER_RIGHT] = [figures["tokens"], sum(reward > 0.5 for reward in rewards)]
    if len(outputs) > 1:
        votes = [
            replace(vote, key=key) for vote, key in zip(ballot or [Vote(None, "")] * len(keys), keys, strict=True)
        ]
        figures |= sample_figures(rewards, votes, answer_vote)
        chosen, tokens = elect(votes, answer_vote), [output["tokens"] for output in outputs]
        right = 0.0 if chosen is None else rewards[chosen]
        figures |= calibration_figures(confidences(votes, tokens, chosen), right)
        figures |= within_tokens(rewards, list(accumulate(output["tokens"] for output in outputs)), figures["tokens"])
    return figures


def _together(lists: Sequence[list]) -> list:
    """The values of several outputs in one list; of lists of lists, list by list."""
    if lists[0] and isinstance(lists[0][0], list):
        return [[value for group in groups for value in group] for groups in zip(*lists, strict=True)]
    return [value for values in lists for value in values]


def failures(replies: Sequence[Judged]) -> dict[str, float]:
    """How often replies fail, and how; a share of them each."""
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


def sample_figures(rewards: Sequence[float], votes: Sequence[Vote], answer_vote: str) -> dict[str, float]:
    """What independent samples come to together; a sample whose verifier failed is not counted as right."""
    right = [reward > 0.5 for reward in rewards]
    figures = {}
    for count in sample_counts(len(rewards)):
        figures[f"pass@{count}"] = pass_at_k(len(right), sum(right), count)
        for name, how in (("maj", "majority"), ("vote", answer_vote)):
            chosen = elect(votes[:count], how)
            figures[f"{name}@{count}"] = float(chosen is not None and right[chosen])
        figures[f"test@{count}"] = float(any(right[:count]))
    return figures


def within_tokens(rewards: Sequence[float], found_at: Sequence[int], tokens: int) -> dict[str, float]:
    """Whether any output is right of those that were there, at so many tokens each, after a part of all tokens."""
    return {
        f"test@tokens{name}": float(
            any(r > 0.5 for r, at in zip(rewards, found_at, strict=True) if at <= part * tokens)
        )
        for name, part in PARTS.items()
    }


def instruction_accuracies(problems: Sequence[Problem], output: Sequence[Judged]) -> dict[str, list]:
    """IFEval's four accuracies, a value for each prompt or instruction; in a conversation by turn, with their mean."""
    loose = [replace(p, answer=json.dumps({**json.loads(p.answer), "loose": True})) for p in problems]
    verdicts = verify([reply.text for reply in output], loose)
    figures: dict[str, list] = {}
    for turn, (problem, reply, loose_verdict) in enumerate(zip(problems, output, verdicts, strict=True), start=1):
        prefix = f"turn_{turn}_" if len(problems) > 1 else ""
        for mode, verdict in (("strict", reply.verdict), ("loose", loose_verdict)):
            followed = verdict and followed_instructions(verdict, json.loads(problem.answer)["instructions"])
            figures[f"{prefix}prompt_level_{mode}_acc"] = [] if verdict is None else [float(all(followed))]
            figures[f"{prefix}inst_level_{mode}_acc"] = [] if verdict is None else list(map(float, followed))
        if len(problems) > 1:
            figures[f"{prefix}{MEAN}"] = [figures[f"{prefix}{name}"] for name in INSTRUCTION_ACCURACIES]
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
    names += ["repetition", "over_reflection_rate", "length", "tokens", TOKENS_PER_RIGHT]
    names += ["verifier_failures"]
    if kind == INSTRUCTIONS:
        names += INSTRUCTION_ACCURACIES
    if kind == CONVERSATION:
        names += [f"turn_{turn}_{name}" for turn in (1, 2, 3) for name in (*INSTRUCTION_ACCURACIES, MEAN)]
    names += [f"test@tokens{part}" for part in PARTS] + calibration_names()
    if k > 1:
        names += [f"{name}@{count}" for name in ("pass", "maj", "vote", "test") for count in sample_counts(k)]
    return names


def summarize(name: str, values: Sequence[float | Sequence[float]]) -> dict[str, float]:
    """
    A figure of a task: the mean, the bootstrap's standard error and 95 % interval.

    Args:
        name (`str`): Its name.
        values (`Sequence`): One a problem; lists where a problem has several, as with instructions; lists of lists
            for the mean of several figures; of tokens for a right answer, and of selective accuracy, both of them.
    """
    if name.startswith("selective_"):
        result = selective_accuracy(values)
    elif name == TOKENS_PER_RIGHT:
        result = estimate([tokens for tokens, _ in values], [right for _, right in values])
    else:
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


def mean_known(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN, of which there may be none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
