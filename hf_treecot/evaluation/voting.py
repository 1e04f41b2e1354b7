"""Which of several answers is given, when nobody knows the right one: a weighted vote.

An answer's weight says how much its chain is worth; answers that mean the same add up. This module knows weights, and
not where answers come from.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..engines.engine import EngineIdentity
from ..errors import EngineError, InvalidInputError


ANSWER_VOTES = ("majority", "log_probability", "value", "reward_model")
# Servers whose log-probabilities are by default the model's own; SGLang's and TGI's are those after temperature.
UNTEMPERED = ("vllm", "llamacpp")


@dataclass(frozen=True)
class Vote:
    """
    One answer, and what is known of its chain.

    Args:
        key (`str`, *optional*): Names what is answered; see [`~verifiers.agreement.shared_key`].
            None is no answer, which nobody votes for.
        chain (`str`): How it came to be. By log-probability a chain counts once, however often it was drawn: what
            is added up is the probability of an answer, as far as its chains are known.
        log_probability (`float`, *optional*): Sum over the chain's generated tokens, under the model itself.
        value (`float`, *optional*): What a value model says of its chain; without one, how the search's simulations
            fared that went through the thought before it.
        reward (`float`, *optional*): What a reward function gave.
        count (`int`): How often its chain was drawn.
    """

    key: str | None
    chain: str
    log_probability: float | None = None
    value: float | None = None
    reward: float | None = None
    count: int = 1


def elect(votes: Sequence[Vote], answer_vote: str) -> int | None:
    """
    Which answer is given: of those that mean the same and have the highest sum of weights, the one of most weight.

    Args:
        votes (`Sequence[Vote]`): In the order in which they were found; the first of equals wins.
        answer_vote (`str`): `"majority"`: every answer weighs the same. `"log_probability"`: the probability of its
            chain. `"value"`, `"reward_model"`: what these gave.

    Returns:
        `int`, *optional*: Its index; None if nothing answers.

    Raises:
        EngineError: The weights are not known.
    """
    answered = [i for i, vote in enumerate(votes) if vote.key is not None]
    weights = dict(zip(answered, weigh([votes[i] for i in answered], answer_vote), strict=True))
    sums: defaultdict[str | None, float] = defaultdict(float)
    for i, weight in weights.items():
        sums[votes[i].key] += weight
    if not sums:
        return None
    winner = max(sums, key=lambda key: sums[key])  # the first found, of equals
    return max((i for i in answered if votes[i].key == winner), key=lambda i: weights[i])


def weigh(votes: Sequence[Vote], answer_vote: str) -> list[float]:
    """
    What every answer weighs; see [`elect`].

    Raises:
        EngineError: The weights are not known.
    """
    check_answer_vote(answer_vote)
    if answer_vote == "majority":
        return [float(vote.count) for vote in votes]
    known = [getattr(vote, "reward" if answer_vote == "reward_model" else answer_vote) for vote in votes]
    if None in known:
        what, remedy = {
            "log_probability": ("log-probabilities", "which this engine does not give: use majority"),
            "value": ("values", "which a search has, and otherwise a value model alone: give value_model"),
            "reward_model": ("rewards", "so give a search_reward that is not majority"),
        }[answer_vote]
        raise EngineError(f"answer_vote={answer_vote!r} needs {what}, {remedy}")
    if answer_vote != "log_probability":
        return [value * vote.count for value, vote in zip(known, votes, strict=True)]
    first: dict[str, int] = {}
    for i, vote in enumerate(votes):
        first.setdefault(vote.chain, i)
    best = max(known, default=0.0)  # probabilities of whole chains are too small for a float: relative ones
    return [math.exp(value - best) * (first[votes[i].chain] == i) for i, value in enumerate(known)]


def check_answer_vote(answer_vote: str | None) -> None:
    """
    Raises:
        InvalidInputError: There is no such vote.
    """
    if answer_vote is not None and answer_vote not in ANSWER_VOTES:
        raise InvalidInputError(f"answer_vote={answer_vote!r} is unknown: use one of {', '.join(ANSWER_VOTES)}")


def check_value_model(value_model: object | None, reward: str, answer_vote: str | None) -> None:
    """
    See that a value model is there where it is needed, and used where it is there.

    Args:
        value_model (*optional*): It, or its name.
        reward (`str`): Of a search; see [`~search_answers.search_answers`].
        answer_vote (`str`, *optional*): How an answer is chosen.

    Raises:
        InvalidInputError: It is not.
    """
    if reward == "value" and value_model is None:
        raise InvalidInputError("search_reward='value' needs a value_model: give one that `treecot value` trained")
    if value_model is not None and "value" not in (reward, answer_vote):
        raise InvalidInputError("value_model would not be used: set answer_vote or search_reward to value")


def is_untempered(identity: EngineIdentity, temperature: float, top_p: float) -> bool:
    """
    Whether an engine's log-probabilities are those of the model itself, whatever it samples with.

    Args:
        identity ([`EngineIdentity`]): Of the engine.
        temperature, top_p (`float`): What is sampled with; at temperature 1 without a nucleus there is no difference.
    """
    if temperature == 1 and top_p == 1:
        return True
    return identity.engine == "local" or identity.version.startswith(UNTEMPERED)
