"""Search as a way of decoding: a tree is grown without the gold answer, and one of its answers is chosen.

What rewards an answer is a judge of the tree itself: how many other answers agree with it, how sure the model was of
its chain, or a function of yours. The budget is in generated tokens, all that were drawn included, so that it can be
compared with sampling at the same cost; an answer that came after the budget was spent does not count.
"""

import asyncio
import importlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..base import Problem, Verdict
from ..engines.engine import Engine
from ..errors import EngineError, InvalidInputError
from ..mcts.pattern import Pattern
from ..mcts.search import Judge, SearchConfig, search
from ..mcts.tree import ROOT, Tree
from ..verifiers.judging import answer_key


MAX_SIMULATIONS = 1_000  # a tree whose answers are all found gains nothing from more
REWARDS = ("majority", "confidence")


@dataclass(frozen=True)
class FoundAnswers:
    """
    What a search found.

    Args:
        chains (`list[str]`): Chains with an answer, the chosen one first, the others in the order in which they were
            found. A chain without an answer if there is none.
        tokens (`list[int]`): Generated tokens of every chain.
        found_at (`list[int]`): Generated tokens of the tree when a chain was complete.
        has_answer (`bool`): Whether there is any answer.
        spent (`int`): Generated tokens of the tree; the last simulation may go beyond the budget.
    """

    chains: list[str]
    tokens: list[int]
    found_at: list[int]
    has_answer: bool
    spent: int


async def search_answers(
    problem: Problem,
    engine: Engine,
    pattern: Pattern,
    config: SearchConfig,
    token_budget: int,
    *,
    reward: str = "majority",
    seed: int = 0,
    max_simulations: int = MAX_SIMULATIONS,
    observe: Callable[[Tree], None] | None = None,
) -> FoundAnswers:
    """
    Answer a problem by search.

    Args:
        problem ([`Problem`]): Its gold answer is not looked at.
        engine ([`Engine`]): Who writes, in both roles.
        pattern ([`Pattern`]): Which thoughts may follow which.
        config ([`SearchConfig`]): Depth, sampling, exploration; its stopping rule is not used.
        token_budget (`int`): Generated tokens.
        reward (`str`): `"majority"`, `"confidence"`, or a function `package.module:function` that takes a prompt and a
            chain and gives a reward from 0 to 1, such as that of a reward model.
        seed (`int`): With the problem's id, the seed of the tree.
        max_simulations (`int`): Simulations after which it ends, whatever is left of the budget.
        observe (`Callable`, *optional*): Called with the tree after every simulation, to show it while it grows; see
            [`votes`].

    Returns:
        [`FoundAnswers`]
    """
    found: dict[int, int] = {}
    judge = load_judge(reward)

    async def record(tree: Tree, node_id: int) -> Verdict:
        found[node_id] = tree.generated_tokens
        return await judge(tree, node_id)

    tree = await search(
        replace(problem, answer=""),
        pattern,
        {"generator": engine, "critic": engine},
        None,
        replace(
            config, max_tree_tokens=token_budget, num_simulations=max_simulations, give_up_factor=1, min_right=1,
            max_right=10**9,
        ),
        random.Random(f"{seed}/{problem.problem_id}"),
        observe=observe,
        judge=record,
    )  # fmt: skip
    in_time = [node for node, at in found.items() if at <= token_budget]
    keyed = {node: key for node in in_time if (key := tree.nodes[node].answer) is not None}
    if not keyed:
        nodes = [max(range(len(tree.nodes)), key=lambda node: _tokens(tree, node))]
        found_at = [tree.generated_tokens]
    else:
        chosen = choose(tree, keyed, reward)
        nodes = [chosen, *(node for node in keyed if node != chosen)]
        found_at = [found[node] for node in nodes]
    return FoundAnswers(
        [tree.render(node) for node in nodes], [_tokens(tree, node) for node in nodes], found_at, bool(keyed),
        tree.generated_tokens,
    )  # fmt: skip


def votes(tree: Tree) -> Counter[str]:
    """How many answers of a tree say the same, by what they say; the first found comes first among equals."""
    return Counter(node.answer for node in tree.nodes if node.reward is not None and node.answer is not None)


def choose(tree: Tree, keys: dict[int, str], reward: str) -> int:
    """
    The answer that a search gives: of the answers with the highest sum of rewards, the one with the highest.

    Args:
        tree ([`Tree`]): The tree.
        keys (`dict[int, str]`): What every answer node answers.
        reward (`str`): As of [`search_answers`]; by majority every answer has one vote.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    for node, key in keys.items():
        votes[key] += 1.0 if reward == "majority" else tree.nodes[node].reward or 0.0
    winner = max(votes, key=lambda key: votes[key])  # the first found, of equals
    return max((node for node, key in keys.items() if key == winner), key=lambda node: tree.nodes[node].reward or 0.0)


def load_judge(reward: str) -> Judge:
    """
    What rewards an answer during a search; see [`search_answers`].

    Raises:
        InvalidInputError: No such reward.
    """
    if reward == "majority":
        return majority
    if reward == "confidence":
        return confidence
    module, _, name = reward.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # an import runs any code
        raise InvalidInputError(
            f"search_reward={reward!r} cannot be loaded ({' '.join(str(error).split())}): use one of "
            f"{', '.join(REWARDS)}, or your own function as package.module:function"
        ) from error
    return _by_function(function)


async def majority(tree: Tree, node_id: int) -> Verdict:
    """The share of the answers so far that agree with this one, itself included."""
    keys = [node.answer for node in tree.nodes if node.reward is not None]
    key = answer_key(tree.render(node_id), tree.problem.verifier)
    if key is None:
        return Verdict(0.0, None, "no_answer")
    return Verdict((keys.count(key) + 1) / (len(keys) + 1), key, "unverified: agreement")


async def confidence(tree: Tree, node_id: int) -> Verdict:
    """The geometric mean of the probabilities of a chain's generated tokens."""
    nodes = [tree.nodes[node] for node in tree.path(node_id) if tree.nodes[node].tokens]
    if any(node.log_probability is None for node in nodes):
        raise EngineError("search_reward='confidence' needs log-probabilities, which this engine does not give")
    key = answer_key(tree.render(node_id), tree.problem.verifier)
    if key is None or not nodes:
        return Verdict(0.0, None, "no_answer")
    mean = sum(node.log_probability for node in nodes) / sum(node.tokens for node in nodes)
    return Verdict(min(1.0, math.exp(mean)), key, "unverified: confidence")


def _by_function(function: Callable[[str, str], float]) -> Judge:
    async def judge(tree: Tree, node_id: int) -> Verdict:
        chain = tree.render(node_id)
        value = float(await asyncio.to_thread(function, tree.problem.prompt, chain))
        if not 0 <= value <= 1:
            raise InvalidInputError(f"the reward function gave {value!r}: it must be from 0 to 1")
        return Verdict(value, answer_key(chain, tree.problem.verifier), "unverified: reward function")

    return judge


def _tokens(tree: Tree, node_id: int) -> int:
    return sum(tree.nodes[node].tokens for node in tree.path(node_id) if node != ROOT)
