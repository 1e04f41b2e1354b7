"""What rewards an answer while nobody knows the right one: the answers that agree, the model's certainty, a value
model, or a function of the user's. All that is said is marked as unverified.

This module knows trees and texts, not how they are searched.
"""

import asyncio
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..base import Verdict
from ..engines.engine import Valuer
from ..errors import EngineError, InvalidInputError
from ..mcts.search import Judge
from ..mcts.tree import Tree
from ..verifiers.agreement import shared_key
from .voting import Vote


REWARDS = ("majority", "confidence", "value")


def load_judge(reward: str, value_model: Valuer | None = None) -> Judge:
    """
    What rewards an answer during a search; see [`~search_answers.search_answers`].

    Args:
        reward (`str`): Its name.
        value_model ([`ValueModel`], *optional*): For the reward `"value"`.

    Raises:
        InvalidInputError: No such reward.
    """
    if reward == "value":
        return _by_value(value_model)
    if reward == "majority":
        return majority
    if reward == "confidence":
        return confidence
    return _by_function(load_reward(reward))


def load_reward(reward: str) -> Callable[[str, str], float]:
    """
    A reward function of the user's: it takes a prompt and a chain, and gives a reward from 0 to 1.

    Args:
        reward (`str`): `package.module:function`.

    Raises:
        InvalidInputError: There is no such function.
    """
    module, _, name = reward.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # an import runs any code
        raise InvalidInputError(
            f"search_reward={reward!r} cannot be loaded ({' '.join(str(error).split())}): use one of "
            f"{', '.join(REWARDS)}, or your own function as package.module:function"
        ) from error

    def checked(prompt: str, chain: str) -> float:
        value = float(function(prompt, chain))
        if not 0 <= value <= 1:
            raise InvalidInputError(f"the reward function gave {value!r}: it must be from 0 to 1")
        return value

    return checked


async def majority(tree: Tree, node_id: int) -> Verdict:
    """The share of the answers so far that agree with this one, itself included."""
    keys = [node.answer for node in tree.nodes if node.reward is not None]
    key = await _key(tree, node_id)
    if key is None:
        return Verdict(0.0, None, "no_answer")
    return Verdict((keys.count(key) + 1) / (len(keys) + 1), key, "unverified: agreement")


async def confidence(tree: Tree, node_id: int) -> Verdict:
    """The geometric mean of the probabilities of a chain's generated tokens."""
    nodes = [tree.nodes[node] for node in tree.path(node_id) if tree.nodes[node].tokens]
    if any(node.log_probability is None for node in nodes):
        raise EngineError("search_reward='confidence' needs log-probabilities, which this engine does not give")
    key = await _key(tree, node_id)
    if key is None or not nodes:
        return Verdict(0.0, None, "no_answer")
    mean = sum(node.log_probability for node in nodes) / sum(node.tokens for node in nodes)
    return Verdict(min(1.0, math.exp(mean)), key, "unverified: confidence")


async def _key(tree: Tree, node_id: int) -> str | None:
    """What an answer answers, by the name of an earlier answer of the tree that means the same."""
    earlier: dict[str, str] = {}
    for node in tree.nodes:
        if node.answer is not None and node.reward is not None:
            earlier.setdefault(node.answer, node.rendered)
    return await shared_key(tree.render(node_id), tree.problem, earlier)


async def chain_values(value_model: Valuer, prompt: str, chains: Iterable[str]) -> list[float]:
    """What a value model says of chains to one problem, asked at the same time."""
    return list(await asyncio.gather(*(value_model.value(prompt, chain) for chain in chains)))


async def valued(ballot: Sequence[Vote], value_model: Valuer, prompt: str, chains: Iterable[str]) -> list[Vote]:
    """
    Votes with what a value model says of their chains.

    Args:
        ballot (`Sequence[Vote]`): The votes.
        value_model ([`ValueModel`]): Whose values.
        prompt (`str`): The problem.
        chains (`Iterable[str]`): The chain of each vote, as the assistant's turn.
    """
    values = await chain_values(value_model, prompt, chains)
    return [replace(vote, value=value) for vote, value in zip(ballot, values, strict=True)]


def _by_value(value_model: Valuer | None) -> Judge:
    async def judge(tree: Tree, node_id: int) -> Verdict:
        value = await value_model.value(tree.problem.prompt, tree.render(node_id))
        return Verdict(value, await _key(tree, node_id), "unverified: value model")

    return judge


def _by_function(function: Callable[[str, str], float]) -> Judge:
    async def judge(tree: Tree, node_id: int) -> Verdict:
        value = await asyncio.to_thread(function, tree.problem.prompt, tree.render(node_id))
        return Verdict(value, await _key(tree, node_id), "unverified: reward function")

    return judge
