"""Three ways of answering a conversation: one output, a vote over samples, a search. Thoughts are told as they come.

They work with every engine, never generate more tokens than they may, and stop in it when they are cancelled. This
module must not know who asks, nor over which protocol.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..base import Problem
from ..engines.chat_template import digest
from ..engines.engine import Completion, Engine, Request, Valuer, seed_of
from ..evaluation.judges import valued
from ..evaluation.search_answers import MAX_SIMULATIONS, AnswerTree, default_vote, grow_answers, values_of, votes
from ..evaluation.voting import Vote, elect, is_untempered
from ..mcts.pattern import Pattern
from ..mcts.search import SearchConfig
from ..mcts.tree import ROOT, Tree
from ..verifiers.agreement import shared_keys
from .branches import Branches, Budget
from .thoughts import Tell, Telling, opened_by, split_thoughts
from .writing import cut, write


FINISH_REASONS = {"length": "length", "refused": "content_filter"}
Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Sampling:
    """
    How an answer is drawn.

    Args:
        temperature, top_p (`float`): 0 is greedy; a nucleus of 1 is off.
        seed (`int`): The same conversation and seed give the same answer.
        stop (`tuple[str]`): The answer ends before the first of these.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """
    What was answered.

    Args:
        content (`str`): The answer; empty if none was found.
        reasoning (`str`): All thoughts that were told before it.
        finish_reason (`str`): `"stop"`, `"length"` if the tokens were spent before an end, or `"content_filter"`.
        prompt_tokens (`int`): Tokens of the conversation, with the pattern's system prompt.
        tokens (`int`): All that were generated, those of dropped branches and of other samples too.
        chain_tokens (`int`): Those of the chain or sample that gives the answer.
        answer_tokens (`int`): Those of the answer itself.
        votes (`dict[str, int]`): How many chains or samples came to each answer, the most frequent first.
        answer_vote (`str`): How they were weighed; see [`~evaluation.voting.elect`].
        tree ([`Tree`], *optional*): Of a search.
        log_probability (`float`, *optional*): Of one output, where the engine gives it.
    """

    content: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    chain_tokens: int
    answer_tokens: int = 0
    votes: dict[str, int] = field(default_factory=dict)
    answer_vote: str = ""
    tree: Tree | None = None
    log_probability: float | None = None


async def answer_plainly(
    engine: Engine, messages: Messages, sampling: Sampling, tokens: int, tell: Tell | None = None
) -> Answer:
    """
    Answer by one output.

    Args:
        engine ([`Engine`]): Who writes.
        messages (`Sequence[dict]`): The conversation, with `role` and `content`.
        sampling ([`Sampling`]): How.
        tokens (`int`): At most so many are generated.
        tell (`Callable`, *optional*): Called with `"reasoning"` or `"content"`, and what is new of it.

    Raises:
        ContextLengthError: The conversation does not fit.
        EngineError: The engine failed.
    """
    telling = Telling(tell)
    request = _request(engine, messages, sampling, tokens, sampling.seed)
    opened = opened_by(request.prompt)
    told = tell and (lambda text, _: telling.grow(*split_thoughts(opened + text, is_whole=False)))
    completion = await write(engine, request, told)
    thoughts, content = split_thoughts(opened + completion.text)
    telling.grow(completion.reasoning + thoughts, content)
    return Answer(
        telling.content, telling.reasoning, FINISH_REASONS.get(completion.finish_reason, "stop"),
        completion.prompt_tokens, completion.tokens, completion.tokens,
        _count(engine, telling.content, completion.tokens),
    )  # fmt: skip


async def answer_by_samples(
    engine: Engine,
    messages: Messages,
    sampling: Sampling,
    tokens: int,
    count: int,
    *,
    answer_vote: str | None = None,
    value_model: Valuer | None = None,
    verifier: str = "",
    seconds: float | None = None,
    tell: Tell | None = None,
) -> Answer:
    """
    Answer by a vote: what the samples come to that weigh most, as the heaviest of them says it.

    Args:
        engine, messages, sampling, tell: As of [`answer_plainly`].
        tokens (`int`): At most so many are generated; each sample has an equal share.
        count (`int`): Samples.
        answer_vote (`str`, *optional*): How they are weighed, `"majority"`, `"log_probability"`, or `"value"` with
            a value model; default: log-probabilities, if the engine gives those of the model itself.
        value_model ([`ValueModel`], *optional*): Whose values the vote `"value"` is by.
        verifier (`str`): Whose notion of equality makes two answers one; default: that of their normalized texts.
        seconds (`float`, *optional*): After so long those vote that are there.

    Raises:
        ContextLengthError, EngineError: As of [`answer_plainly`].
    """
    telling = Telling(tell)
    share = tokens // count
    requests = [_request(engine, messages, sampling, share, seed_of(sampling.seed, i)) for i in range(count)]
    opened = opened_by(requests[0].prompt)
    samples: list[Completion] = []
    tasks = [asyncio.ensure_future(engine.generate(request)) for request in requests]
    try:
        async with asyncio.timeout(seconds):
            for task in tasks:  # in order, so that the same seed tells the same
                samples.append(await task)
                whole = f"{samples[-1].reasoning}\n{samples[-1].text}".strip()
                telling.add("reasoning", f"{len(samples)} {whole}\n")
    except TimeoutError:
        pass
    finally:
        await _end(tasks)
    contents = [split_thoughts(opened + sample.text)[1] for sample in samples]
    keys = await shared_keys(contents, Problem("", messages[-1]["content"], "", verifier))
    ballot = [Vote(key, sample.text, sample.log_probability) for key, sample in zip(keys, samples, strict=True)]
    if answer_vote == "value" and value_model is not None:
        chains = (opened + sample.text for sample in samples)
        ballot = await valued(ballot, value_model, messages[-1]["content"], chains)
    usable = is_untempered(engine.identity, sampling.temperature, sampling.top_p)
    answer_vote = answer_vote or default_vote([vote for vote in ballot if vote.key is not None], "majority", usable)
    spent, prompt_tokens = sum(s.tokens for s in samples), max((s.prompt_tokens for s in samples), default=0)
    if (chosen := elect(ballot, answer_vote)) is None:
        return Answer("", telling.reasoning, "length", prompt_tokens, spent, 0)
    telling.add("content", contents[chosen])
    counted = Counter(key for key in keys if key is not None)
    return Answer(
        telling.content, telling.reasoning, "stop", prompt_tokens, spent, samples[chosen].tokens,
        _count(engine, telling.content, samples[chosen].tokens), dict(counted.most_common()), answer_vote,
    )  # fmt: skip


async def answer_by_search(
    engine: Engine,
    messages: Messages,
    sampling: Sampling,
    tokens: int,
    pattern: Pattern,
    config: SearchConfig,
    *,
    reward: str = "majority",
    answer_vote: str | None = None,
    value_model: Valuer | None = None,
    verifier: str = "",
    critic: Engine | None = None,
    max_simulations: int = MAX_SIMULATIONS,
    seconds: float | None = None,
    tell: Tell | None = None,
    observe: Callable[[Tree], None] | None = None,
) -> Answer:
    """
    Answer by search: grow a tree, and give what its chains vote for. The Space's Talk tab searches with it.

    Args:
        engine, messages, sampling: As of [`answer_plainly`].
        tokens (`int`): At most so many are generated, in all branches together.
        pattern ([`Pattern`]): Which thoughts may follow which.
        config ([`SearchConfig`]): Depth, exploration, stopping, tokens of a thought; sampling is not its own.
        reward, answer_vote (`str`), value_model: As of [`~search_answers.search_answers`].
        verifier (`str`): As of [`answer_by_samples`].
        critic ([`Engine`], *optional*): Who writes in the critic's role; default: the same.
        max_simulations (`int`): Simulations after which it ends.
        seconds (`float`, *optional*): After so long the answers vote that are there.
        tell (`Callable`, *optional*): As of [`answer_plainly`]. Thoughts are told in the order in which they were
            added, each with its place in the tree: `1.2` is the second one under the first.
        observe (`Callable`, *optional*): Called with the tree whenever it has grown.

    Raises:
        ContextLengthError, EngineError: As of [`answer_plainly`].
    """
    telling, places, seen = Telling(tell), {ROOT: ""}, Tree(Problem("", "", ""), pattern.name)
    siblings = (sum(pattern.next_kinds(kind).values()) for kind in (None, *pattern.thoughts))
    budget = Budget(tokens, max(siblings) * config.simulations_in_flight)

    def watch(tree: Tree) -> None:
        nonlocal seen
        seen = tree
        for node_id in range(len(places), len(tree.nodes)):
            node = tree.nodes[node_id]
            number = 1 + tree.nodes[node.parent].children.index(node_id)
            places[node_id] = f"{places[node.parent]}.{number}".lstrip(".")
            telling.add("reasoning", f"{places[node_id]} {node.rendered}\n")
        if observe is not None:
            observe(tree)

    try:
        async with asyncio.timeout(seconds):
            await grow_answers(
                Problem(f"chat-{digest(list(messages))}", messages[-1]["content"], "", verifier, "chat"),
                Branches(engine, messages, pattern, budget), pattern,
                replace(config, temperature=sampling.temperature, top_p=sampling.top_p), tokens, reward=reward,
                value_model=value_model, seed=sampling.seed, max_simulations=max_simulations, observe=watch,
                critic=Branches(critic, messages, pattern, budget) if critic else None,
            )  # fmt: skip
    except TimeoutError:
        pass  # what there is so far votes
    answers = _answers(seen) or await _unvisited_answers(seen, pattern)
    all_in_time = AnswerTree(
        seen, dict.fromkeys(answers, 0), [0] * len(seen.simulations), config.branching == "root",
        await values_of(value_model, seen, answers),
    )  # fmt: skip
    _, ballot = all_in_time.ballot(0)
    usable = is_untempered(engine.identity, sampling.temperature, sampling.top_p)
    answer_vote = answer_vote or default_vote(ballot, reward, usable)
    if (elected := elect(ballot, answer_vote)) is None:
        if budget.too_long is not None and not budget.spent:
            raise budget.too_long
        return Answer("", telling.reasoning, "length", budget.prompt_tokens, budget.spent, 0, tree=seen)
    chosen = answers[elected]
    text = seen.nodes[chosen].text  # a whole reply has thoughts of its own
    telling.add("content", cut(text if seen.nodes[chosen].tag else split_thoughts(text)[1], sampling.stop))
    chain = sum(seen.nodes[i].tokens for i in seen.path(chosen))
    return Answer(
        telling.content, telling.reasoning, "stop", budget.prompt_tokens, budget.spent, chain,
        seen.nodes[chosen].tokens, dict(votes(seen).most_common()), answer_vote, seen,
    )  # fmt: skip


def _answers(tree: Tree) -> list[int]:
    """The answers to which simulations came, in their order."""
    return [end for end in dict.fromkeys(tree.simulations) if tree.nodes[end].answer is not None]


async def _unvisited_answers(tree: Tree, pattern: Pattern) -> list[int]:
    """Answers that were written, and to which no simulation came before the end: better than none."""
    terminal = {kind for kind, spec in pattern.thoughts.items() if spec.terminal}
    written = [
        i for i, node in enumerate(tree.nodes)
        if node.kind in terminal and node.reward is None and not node.dead_end
    ]  # fmt: skip
    keys = await shared_keys([tree.render(i) for i in written], tree.problem)
    for i, key in zip(written, keys, strict=True):
        tree.nodes[i].answer, tree.nodes[i].reward, tree.nodes[i].reason = key, 0.0, "unverified: unvisited"
    return [i for i in written if tree.nodes[i].answer is not None]


def _request(engine: Engine, messages: Messages, sampling: Sampling, tokens: int, seed: int) -> Request:
    prompt = engine.render_chat(list(messages))
    return Request(
        prompt, sampling.stop, tokens, sampling.temperature, sampling.top_p if sampling.temperature else 1.0, seed,
        len(prompt),
    )  # fmt: skip


def _count(engine: Engine, text: str, most: int) -> int:
    """Tokens of a part of what was generated, as far as they are known."""
    tokenizer = getattr(engine, "tokenizer", None)
    return 0 if tokenizer is None else min(len(tokenizer(text, add_special_tokens=False)["input_ids"]), most)


async def _end(tasks: Sequence[asyncio.Future]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
