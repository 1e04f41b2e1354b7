"""The benchmarks as lighteval has tasks: documents, metrics, and what a model of ours answers.

Everything that is measured is in `evaluation.metrics`; here it is put into lighteval's terms.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from lighteval.metrics.metrics_sample import SampleLevelComputation, SamplingMetric
from lighteval.metrics.utils.metric_utils import SampleLevelMetricGrouping
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

from ..base import Problem
from ..errors import InvalidInputError
from ..verifiers.agreement import shared_keys
from ..verifiers.judging import Judged
from .budget_figures import budget_figures, budget_names
from .budgets import Within
from .calibration import calibration_figures, confidences
from .metrics import (
    REASONING,
    TOKENS_PER_RIGHT,
    Figures,
    mean_known,
    metric_names,
    output_figures,
    problem_figures,
    summarize,
    within_tokens,
)
from .replies import judge
from .tasks.benchmark import Benchmark, TaskOptions, read_problems
from .voting import Vote


LOWER_IS_BETTER = (
    "no_answer", "repetition", "over_reflection", "length", "tokens", "verifier_failures", "cut", "overthinking",
    "underthinking", "brier",
)  # fmt: skip


@dataclass
class Outputs(ModelResponse):
    """
    What our models answer: outputs, and what lighteval's own response does not say of them.

    Args:
        token_counts (`list[int]`): Generated tokens of every text.
        finish_reasons (`list[str]`): `"length"` for a text that ran into its limit.
        is_search (`bool`): The outputs are those of one search, the one it chose first; else independent samples.
        found_at (`list[int]`): Tokens that had been generated for the problem when an output was there.
        budget (`int`): Tokens that could be spent on the problem.
        ballot (`list[Vote]`): What every output may be weighed by in a vote, of samples without keys; may be empty.
        answer_vote (`str`): How the samples are weighed.
        within (`list[list[Within]]`): Every output within every budget of thinking; may be empty.
    """

    token_counts: list[int] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    is_search: bool = False
    found_at: list[int] = field(default_factory=list)
    budget: int = 0
    ballot: list[Vote] = field(default_factory=list)
    answer_vote: str = "majority"
    within: list[list[Within]] = field(default_factory=list)


def make_tasks(benchmarks: Iterable[Benchmark], options: TaskOptions) -> list[LightevalTaskConfig]:
    """Benchmarks as lighteval takes them."""
    return [make_task(benchmark, options) for benchmark in benchmarks]


def make_task(benchmark: Benchmark, options: TaskOptions) -> LightevalTaskConfig:
    """A benchmark as lighteval takes it."""
    dataset, subset = benchmark.source(options)
    return LightevalTaskConfig(
        name=benchmark.task_name,
        prompt_function=partial(to_doc, benchmark, options.prompt),
        hf_repo=dataset,
        hf_subset=subset,
        hf_avail_splits=[benchmark.split],
        evaluation_splits=[benchmark.split],
        hf_filter=benchmark.keep,
        metrics=[metrics(benchmark.kind, options.num_samples, options.budgets)],
        generation_size=options.generation_size or benchmark.generation_size,
        stop_sequence=[],
        version=benchmark.version,
    )


def to_doc(benchmark: Benchmark, prompt: str, row: dict, task_name: str) -> Doc | None:
    """
    A row of a benchmark's dataset as lighteval takes it.

    Args:
        benchmark ([`Benchmark`]): Whose row it is.
        prompt (`str`): `"benchmark"` or `"training"`.
        row (`dict`): The row.
        task_name (`str`): Name of the task.

    Returns:
        [`~lighteval.tasks.requests.Doc`]: Its `specific` holds the problems, one for every turn. None for a row that
        no verifier can check.

    Raises:
        InvalidInputError: The row cannot be read.
    """
    problems = read_problems(benchmark, row)
    if not problems:
        return None
    return Doc(
        task_name=task_name,
        query=benchmark.turns(prompt, problems)[0],
        choices=[problems[-1].answer],
        gold_index=0,
        specific={"problems": [asdict(problem) for problem in problems]},
    )


@dataclass
class OutputMetrics(SampleLevelComputation, SamplingMetric):
    """
    The figures of one problem.

    Args:
        kind (`str`): [`REASONING`], [`INSTRUCTIONS`] or [`CONVERSATION`].
        k (`int`): Samples of every problem.
        budgets (`tuple[int]`): Of thinking, in which outputs are looked at.
    """

    kind: str = REASONING
    k: int = 1
    budgets: tuple[int, ...] = ()

    def num_samples(self) -> int:
        """How many samples lighteval asks a model for."""
        return self.k

    def compute(self, doc: Doc, model_response: ModelResponse, **kwargs) -> Figures:
        """
        Judge what a model said to one problem.

        Raises:
            InvalidInputError: There are fewer outputs than the figures need, or no replies to all turns.
        """
        problems = [Problem(**problem) for problem in doc.specific["problems"]]
        outputs = judge_response(problems, doc, model_response)
        if getattr(model_response, "is_search", False):
            return self._of_search(problems, outputs, model_response)
        if len(outputs) < self.k:
            raise InvalidInputError(f"k={self.k} needs as many samples; the model gave {len(outputs)}: lower k")
        outputs = outputs[: self.k]
        figures = [output_figures(problems, output, self.kind) for output in outputs]
        keys = asyncio.run(shared_keys([output[-1].text for output in outputs], problems[-1]))
        ballot = getattr(model_response, "ballot", [])[: self.k]
        result = problem_figures(figures, keys, ballot, getattr(model_response, "answer_vote", "majority"))
        if within := getattr(model_response, "within", []):
            rewards = [output["accuracy"] for output in figures]
            result |= budget_figures(problems[0], within[: self.k], rewards, self.budgets)
        return result

    def _of_search(
        self, problems: Sequence[Problem], outputs: Sequence[Sequence[Judged]], response: "Outputs"
    ) -> Figures:
        """The figures of the output that was chosen; chains of one tree share tokens: theirs cannot be added up."""
        rewards = [mean_known([reply.reward for reply in output]) for output in outputs]
        figures = output_figures(problems, outputs[0], self.kind) | {"tokens": response.budget}
        figures |= {TOKENS_PER_RIGHT: [response.budget, int(rewards[0] > 0.5)]}
        chosen = 0 if response.ballot else None
        confidence = confidences(response.ballot, response.token_counts, chosen)
        figures |= calibration_figures(confidence, rewards[0] if response.ballot else 0.0)
        return figures | within_tokens(rewards, response.found_at, response.budget)


def judge_response(problems: Sequence[Problem], doc: Doc, response: ModelResponse) -> list[list[Judged]]:
    """The outputs of a response, each with a judged reply for every turn."""
    texts, turns = response.text, len(problems)
    if not texts or len(texts) % turns:
        raise InvalidInputError(
            f"task {doc.task_name!r} is a conversation of {turns} turns, but the model answered only the first: "
            "evaluate it with `treecot evaluate` or `inspect eval`"
        )
    counts = getattr(response, "token_counts", None) or [len(_unpadded(t)) for t in response.output_tokens]
    counts = counts or [0] * len(texts)
    reasons = getattr(response, "finish_reasons", None)
    if not reasons:
        reasons = ["length" if doc.generation_size and n >= doc.generation_size else "stop" for n in counts]
    return judge(problems, texts, counts, [reason == "length" for reason in reasons])


def _unpadded(tokens: Sequence[int]) -> Sequence[int]:
    """Tokens without padding: lighteval's models fill a batch with one token at the end, and do not say which."""
    tokens = list(tokens)
    while len(tokens) > 1 and tokens[-1] == tokens[-2]:
        tokens.pop()
    return tokens


def metrics(kind: str, k: int = 1, budgets: tuple[int, ...] = ()) -> SampleLevelMetricGrouping:
    """
    The metrics of a task, for lighteval.

    Args:
        kind (`str`): [`REASONING`], [`INSTRUCTIONS`] or [`CONVERSATION`].
        k (`int`): Samples of every problem.
        budgets (`tuple[int]`): Of thinking.
    """
    names = metric_names(kind, k) + budget_names(budgets)
    return SampleLevelMetricGrouping(
        metric_name=names,
        higher_is_better={name: not name.startswith(LOWER_IS_BETTER) for name in names},
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=OutputMetrics(kind, k, budgets),
        corpus_level_fn={name: partial(summarize, name) for name in names},
    )
