"""The benchmarks as Inspect has tasks: models of all its providers, several turns, its logs; the figures are ours.

    inspect eval hf_treecot/letters --model treecot/starter
    inspect eval hf_treecot/gsm8k --model hf/Qwen/Qwen2.5-1.5B-Instruct --epochs 8 --temperature 0.7
    inspect eval hf_treecot/multi_if_english --model openai-api/vllm/NAME --limit 20

With several epochs, `pass@k`, `maj@k` and `test@k` are of that many samples. Of the same outputs the figures are those
of the lighteval tasks, row by row. This module must not know lighteval.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from ..base import Problem
from ..verifiers.agreement import shared_keys
from .metrics import REASONING, Figures, output_figures, problem_figures, summarize
from .replies import judge
from .tasks import BENCHMARKS, Benchmark, TaskOptions
from .tasks.benchmark import read_problems


REPLIES = "replies"  # in the store of a sample: the text, the tokens and the end of every reply


def samples_of(benchmark: Benchmark, options: TaskOptions) -> list[Sample]:
    """
    The rows of a benchmark as Inspect takes them.

    Args:
        benchmark ([`Benchmark`]): Which.
        options ([`TaskOptions`]): Where its rows are, and how they are put.

    Raises:
        InvalidInputError: A row cannot be read.
    """
    from datasets import load_dataset  # Inspect imports this module for every command

    dataset, subset = benchmark.source(options)
    rows = load_dataset(dataset, subset, split=benchmark.split)
    if benchmark.keep:
        rows = rows.filter(benchmark.keep)
    read = (read_problems(benchmark, {**row, "__index": index}) for index, row in enumerate(rows))
    return [_sample(benchmark, options.prompt, problems) for problems in read if problems]


def _sample(benchmark: Benchmark, prompt: str, problems: list[Problem]) -> Sample:
    turns = benchmark.turns(prompt, problems)
    metadata = {"problems": [asdict(problem) for problem in problems], "turns": turns}
    return Sample(input=turns[0], target=problems[-1].answer, id=problems[0].problem_id, metadata=metadata)


@solver
def converse() -> Solver:
    """Answer every turn, with the model's own replies as history."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        replies = []
        for number, turn in enumerate(state.metadata["turns"]):
            if number:
                state.messages.append(ChatMessageUser(content=turn))
            state = await generate(state)
            replies.append(_reply(state.output))
        state.store.set(REPLIES, replies)
        return state

    return solve


def _reply(output: ModelOutput) -> dict:
    """What was generated, with the thinking that a provider keeps apart."""
    content = output.message.content if output.choices else ""
    parts = [content] if isinstance(content, str) else [part.text for part in content if hasattr(part, "text")]
    is_cut = bool(output.choices) and output.stop_reason in ("max_tokens", "model_length")
    tokens = output.usage.output_tokens if output.usage else 0
    return {"text": "\n".join(parts), "tokens": tokens, "is_cut": is_cut}


@metric(scores="unreduced")
def figures() -> Metric:
    """All figures of a task, with their bootstrap intervals; of several epochs, those of so many samples."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        samples = defaultdict(list)
        for score in scores:
            samples[score.sample_id].append(score)
        k = min(map(len, samples.values()))
        problems = [_of_problem(of_one[:k]) for of_one in samples.values()]
        results: dict[str, float] = {}
        for name in dict.fromkeys(name for problem in problems for name in problem):
            results |= summarize(name, [problem[name] for problem in problems if name in problem])
        return results

    return compute


def _of_problem(scores: list[SampleScore]) -> Figures:
    """The figures of all outputs of one problem."""
    outputs = [score.score.metadata for score in scores]
    keys = [None]
    if len(outputs) > 1:
        problem = Problem(**scores[0].sample_metadata["problems"][-1])
        with ThreadPoolExecutor(1) as thread:  # Inspect's event loop runs in this one
            keys = thread.submit(asyncio.run, shared_keys([output["text"] for output in outputs], problem)).result()
    return problem_figures([output["figures"] for output in outputs], keys)


@scorer(metrics=[figures()])
def verified(kind: str = REASONING, generation_size: int | None = None) -> Scorer:
    """
    The verifier of each problem on the answer, and how the output fails if there is none.

    Args:
        kind (`str`): That of the benchmark.
        generation_size (`int`, *optional*): Tokens of a reply; models of transformers do not say what ended theirs.
    """

    async def score(state: TaskState, target: Target) -> Score:
        problems = [Problem(**problem) for problem in state.metadata["problems"]]
        replies = state.store.get(REPLIES)
        texts, tokens = [reply["text"] for reply in replies], [reply["tokens"] for reply in replies]
        truncated = [
            reply["is_cut"] or bool(generation_size and reply["tokens"] >= generation_size) for reply in replies
        ]
        (output,) = await asyncio.to_thread(judge, problems, texts, tokens, truncated)
        found = await asyncio.to_thread(output_figures, problems, output, kind)
        last = output[-1]
        return Score(
            value={name: value for name, value in found.items() if not isinstance(value, list)},
            answer=last.answer,
            explanation=last.verdict.reason if last.verdict else "the verifier failed",
            metadata={"figures": found, "text": last.text},
        )

    return score


def _register(benchmark: Benchmark) -> Callable[..., Task]:
    """Make a task of a benchmark, and let Inspect know it."""

    def make(data: str | None = None, prompt: str = "benchmark", max_new_tokens: int | None = None) -> Task:
        options = TaskOptions(data, prompt, generation_size=max_new_tokens)
        size = options.generation_size or benchmark.generation_size
        return Task(
            dataset=MemoryDataset(samples_of(benchmark, options), name=benchmark.name),
            solver=converse(),
            scorer=verified(benchmark.kind, size),
            config=GenerateConfig(max_tokens=size),
            version=benchmark.version,
        )

    make.__name__ = make.__qualname__ = benchmark.name
    return task(make)


TASKS = {name: _register(benchmark) for name, benchmark in BENCHMARKS.items()}


@modelapi(name="treecot")
def treecot() -> type[ModelAPI]:
    """A model in this process, imported only if it is asked for."""
    from .inspect_model import EngineAPI

    return EngineAPI
