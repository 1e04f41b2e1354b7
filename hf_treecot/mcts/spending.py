"""Where a search spends its next simulation, and when it has spent enough: small functions of a tree, by name.

A child's score says how a simulation goes down, a branching where it asks for a thought besides those of the pattern,
a stopping when it is over. They must not know who writes, nor who rewards.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import EngineError
from .pattern import FREE, Pattern
from .tree import ROOT, Tree


Arms = Mapping[str, Sequence[str]]  # who may write a kind: roles


@dataclass(frozen=True)
class Child:
    """
    What a child's score depends on.

    Args:
        value_sum (`float`): Sum of the rewards backed up through it.
        visit_count (`float`): Its visits, with those that simulations in flight count for.
        parent_visit_count (`float`): Its parent's.
        prior (`float`): Its share of the model's own probability of its kind.
    """

    value_sum: float
    visit_count: float
    parent_visit_count: float
    prior: float = 1.0


@dataclass(frozen=True)
class Branch:
    """
    Where a simulation begins.

    Args:
        node_id (`int`): There.
        kind (`str`, *optional*): A child of this kind is asked for; None: the simulation goes down from there.
        role (`str`, *optional*): Who writes it; None: whose the kind is.
    """

    node_id: int
    kind: str | None = None
    role: str | None = None


def uct_score(value: float, visit_count: float, parent_visit_count: float, exploration_constant: float) -> float:
    """
    The upper confidence bound of a child (paper, equation 1): `v/N + C * sqrt(ln N_parent / N)`.

    Args:
        value (`float`): Sum of the rewards backed up through the child.
        visit_count (`float`): Its visits, N; an unvisited child comes before all others.
        parent_visit_count (`float`): Its parent's visits.
        exploration_constant (`float`): C.
    """
    if visit_count == 0:
        return math.inf
    exploration = math.sqrt(math.log(max(parent_visit_count, 1)) / visit_count)
    return value / visit_count + exploration_constant * exploration


def uct(child: Child, exploration_constant: float, rng: random.Random) -> float:
    """The paper's score."""
    return uct_score(child.value_sum, child.visit_count, child.parent_visit_count, exploration_constant)


def puct(child: Child, exploration_constant: float, rng: random.Random) -> float:
    """AlphaZero's: `v/N + C * P * sqrt(N_parent) / (1 + N)`, P the prior (Silver et al. 2017)."""
    value = child.value_sum / child.visit_count if child.visit_count else 0.0
    return value + exploration_constant * child.prior * math.sqrt(child.parent_visit_count) / (1 + child.visit_count)


def thompson(child: Child, exploration_constant: float, rng: random.Random) -> float:
    """A draw of the posterior of its value, from a uniform prior."""
    return _draw(child.value_sum, child.visit_count, rng)


def _draw(rewards: float, count: float, rng: random.Random) -> float:
    return rng.betavariate(1 + rewards, 1 + max(0.0, count - rewards))


def branch_at_root(tree: Tree, pattern: Pattern, arms: Arms, rng: random.Random) -> Branch | None:
    """Another chain from the beginning; of the kinds that may come first, the one with the fewest."""
    if not tree.nodes[ROOT].children:
        return None
    counts = Counter(tree.nodes[child].kind for child in tree.nodes[ROOT].children)
    return Branch(ROOT, min(pattern.start, key=lambda kind: counts[kind]))


def branch_by_entropy(tree: Tree, pattern: Pattern, arms: Arms, rng: random.Random) -> Branch | None:
    """
    Another thought instead of the one that the model was least sure of, per sibling that there is already (TreeRL,
    Hou et al. 2025, there token by token).

    Raises:
        EngineError: The engine gives no log-probabilities.
    """
    best, most = None, 0.0
    for node in tree.nodes[1:]:
        if not node.tokens:
            continue
        if node.log_probability is None:
            raise EngineError("branching='entropy' needs log-probabilities, which this engine does not give: use root")
        surprisal = -node.log_probability / len(tree.nodes[node.parent].children)
        if surprisal > most:
            best, most = node, surprisal
    return Branch(best.parent, best.kind) if best else None


def branch_by_disagreement(tree: Tree, pattern: Pattern, arms: Arms, rng: random.Random) -> Branch | None:
    """Another thought where the answers below disagree most, by their entropy per child that there is already."""
    below: list[Counter[str]] = [Counter() for _ in tree.nodes]
    for node_id, node in enumerate(tree.nodes):
        if node.reward is not None and node.answer is not None:
            for ancestor in tree.path(node_id)[:-1]:
                below[ancestor][node.answer] += 1
    scores = [entropy(counts) / max(1, len(node.children)) for counts, node in zip(below, tree.nodes, strict=True)]
    best = max(range(len(scores)), key=scores.__getitem__)
    if not scores[best]:
        return branch_at_root(tree, pattern, arms, rng)
    kinds = Counter(tree.nodes[child].kind for child in tree.nodes[best].children)
    return Branch(best, min(kinds, key=lambda kind: kinds[kind]))


def entropy(counts: Mapping[str, int]) -> float:
    """Of what is counted, in nats."""
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def branch_by_thompson(tree: Tree, pattern: Pattern, arms: Arms, rng: random.Random) -> Branch | None:
    """
    Go down as long as a draw for a child beats those for another thought in its place; every kind by every model is an
    arm (AB-MCTS-A, Inoue et al. 2025). An arm's rewards are the values of the thoughts that it wrote there.
    """
    node_id = ROOT
    while ids := tree.nodes[node_id].children:
        children = [tree.nodes[child] for child in ids]
        kinds = (FREE,) if pattern.free else tuple(dict.fromkeys(child.kind for child in children))
        draws: list[tuple[float, Branch]] = []
        for kind, role in [(name, role) for name in kinds for role in arms[name]]:
            written = [c for c in children if kind in (FREE, c.kind) and role == c.role and c.visit_count]
            draw = _draw(sum(child.value for child in written), len(written), rng)
            draws.append((draw, Branch(node_id, kind, role)))
        for child_id, child in zip(ids, children, strict=True):
            if child.children:  # neither an answer nor unvisited: there is something to go on from
                draws.append((_draw(child.value_sum, child.visit_count, rng), Branch(child_id)))
        branch = max(draws, key=lambda draw: draw[0])[1]
        if branch.kind is not None:
            return branch
        node_id = branch.node_id
    return None


@dataclass(frozen=True)
class Drawn:
    """
    An answer that was drawn.

    Args:
        answer (`str`): It.
        chain (`int`): How it came to be; the same chain may be drawn again.
        log_probability (`float`, *optional*): Of that chain, under the model itself.
    """

    answer: str
    chain: int
    log_probability: float | None = None


def majority_is_decided(drawn: Sequence[Drawn], probability: float) -> bool:
    """
    Whether more answers would hardly change which is given most often: by the posterior probability that the most
    frequent one is more likely than the next, from a uniform prior (Adaptive-Consistency, Aggarwal et al. 2023).

    Args:
        drawn (`Sequence[Drawn]`): The answers.
        probability (`float`): That is enough.
    """
    counts = Counter(draw.answer for draw in drawn)
    (_, first), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    return probability_above(0.5, first, second) >= probability


def probability_is_decided(drawn: Sequence[Drawn], probability: float) -> bool:
    """
    Whether more answers would hardly change which is the most probable. The chains that are known have their
    probabilities; what is left belongs to chains that nobody has seen, and is shared out like the answers that were
    drawn. Of long chains, whose probabilities are next to nothing, this is [`majority_is_decided`].

    Args:
        drawn (`Sequence[Drawn]`): The answers.
        probability (`float`): That is enough.

    Raises:
        EngineError: The engine gives no log-probabilities.
    """
    counts = Counter(draw.answer for draw in drawn)
    chains = {draw.chain: draw for draw in drawn}
    mass = Counter[str]()
    for draw in chains.values():
        if draw.log_probability is None:
            raise EngineError(
                "stopping='probability_decided' needs log-probabilities, which this engine does not give: use "
                "majority_decided"
            )
        mass[draw.answer] += math.exp(draw.log_probability)
    (first, most), (second, next_most) = [*mass.most_common(2), ("", 0.0), ("", 0.0)][:2]
    unseen = max(1e-9, 1 - sum(mass.values()))
    # The first stays ahead if its share of what is unseen is above this.
    needed = max(0.0, (1 - (most - next_most) / unseen) / 2)
    return probability_above(needed, counts[first], counts[second]) >= probability


def probability_above(share: float, first: int, second: int) -> float:
    """
    The probability that something is more likely than `share`, if it was seen `first` times of `first + second`: of a
    Beta(1 + first, 1 + second) above `share`, which is a sum of binomials.
    """
    trials = first + second + 1
    return sum(math.comb(trials, n) * share**n * (1 - share) ** (trials - n) for n in range(first + 1))


CHILD_SELECTIONS = {"uct": uct, "puct": puct, "thompson": thompson}
BRANCHINGS = {
    "pattern": None,
    "root": branch_at_root,
    "entropy": branch_by_entropy,
    "disagreement": branch_by_disagreement,
    "thompson": branch_by_thompson,
}
STOPPINGS = {
    "rewards": None,
    "majority_decided": majority_is_decided,
    "probability_decided": probability_is_decided,
}
