"""Chains: which right chain of a tree comes first, and which right and wrong chains make pairs.

Pure functions of one tree and its usable chains. This module must not know what makes a chain usable, how many rows a
tree may give, nor what a row looks like.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..mcts.kinds import CHANGES_OF_MIND
from ..mcts.tree import Tree


SFT_CHOICES = ("longest", "medium", "shortest", "best_value", "by_difficulty", "pruned")
PREFERENCE_CHOICES = ("one_per_tree", "one_per_right_chain", "all", "one_per_branching")


@dataclass(frozen=True)
class Chain:
    """A root-to-answer path, rendered."""

    path: tuple[int, ...]
    text: str
    tokens: tuple[int, ...]
    reward: float
    value: float

    @property
    def leaf(self) -> int:
        """Id of its answer."""
        return self.path[-1]

    def shared_prefix(self, other: "Chain") -> int:
        """Tokens that two chains have in common at their beginning."""
        pairs = zip(self.tokens, other.tokens, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.tokens), len(other.tokens)))


def order_chains(tree: Tree, right: Sequence[Chain], choice: str, pass_rate: float) -> list[Chain]:
    """
    Right chains in the order in which SFT rows are made of them.

    Args:
        tree ([`Tree`]): Whose chains they are.
        right (`Sequence[Chain]`): At least one, shortest first.
        choice (`str`): One of [`SFT_CHOICES`]. By `"pruned"`, chains that others replace are left out.
        pass_rate (`float`): Of the tree, in [0, 1].
    """
    if choice == "shortest":
        return list(right)
    if choice == "best_value":
        return sorted(right, key=lambda chain: -chain.value)
    if choice in ("medium", "by_difficulty"):
        place = (len(right) - 1) * (0.5 if choice == "medium" else 1 - pass_rate)
        by_rank = sorted(enumerate(right), key=lambda item: abs(item[0] - place))
        return [chain for _, chain in by_rank]
    longest_first = sorted(right, key=lambda chain: -len(chain.tokens))
    if choice == "pruned":
        pruned = (prune(tree, chain, right) for chain in longest_first)
        return list({chain.leaf: chain for chain in pruned}.values())
    return longest_first


def prune(tree: Tree, chain: Chain, right: Sequence[Chain]) -> Chain:
    """
    A right chain without the detour that its first change of mind may be: from the thought before it on, the shortest
    right continuation of the tree takes its place, if that is shorter. Later changes of mind need no look of their
    own, since the shortest continuation from one thought is also the shortest from every thought on it.

    After Retro-Search (arXiv 2504.04383), but not the same: there a model samples new continuations from where a chain
    switches thoughts, and the switch is suppressed. Here nothing is generated: only what the search has already found
    can take the place, changes of mind included, so that the result is always a chain of the tree.

    Args:
        tree ([`Tree`]): Whose chains they are.
        chain ([`Chain`]): The chain to prune.
        right (`Sequence[Chain]`): All right chains, shortest first.
    """
    kinds = [tree.nodes[node_id].kind for node_id in chain.path]
    change = next((depth for depth, kind in enumerate(kinds) if kind in CHANGES_OF_MIND), None)
    if change is None:
        return chain
    shortest = next(other for other in right if chain.path[change - 1] in other.path)
    return shortest if len(shortest.tokens) < len(chain.tokens) else chain


def pair_chains(
    tree: Tree, right: Sequence[Chain], wrong: Sequence[Chain], choice: str
) -> Iterator[tuple[Chain, Chain]]:
    """
    Pairs of a right and a wrong chain, in the order in which a limit takes them: the best pair of every right chain,
    then the second best; by `"one_per_branching"`, as [`pair_at_branchings`].

    Args:
        tree ([`Tree`]): Whose chains they are.
        right, wrong (`Sequence[Chain]`): At least one of each, shortest first.
        choice (`str`): One of [`PREFERENCE_CHOICES`].
    """
    if choice == "one_per_branching":
        yield from pair_at_branchings(tree, right, wrong)
        return

    def best_first(chosen: Chain) -> list[Chain]:
        # Among those that share equally little, the one nearest in length: length should not tell them apart.
        lengths = {w.leaf: _distance(chosen, w) for w in wrong}
        return sorted(wrong, key=lambda w: (chosen.shared_prefix(w), lengths[w.leaf], w.leaf))

    ordered = [(chosen, best_first(chosen)) for chosen in (right[:1] if choice == "one_per_tree" else right)]
    for rank in range(len(wrong) if choice == "all" else 1):
        yield from ((chosen, rejected[rank]) for chosen, rejected in ordered)


def pair_at_branchings(tree: Tree, right: Sequence[Chain], wrong: Sequence[Chain]) -> list[tuple[Chain, Chain]]:
    """
    One pair for every thought after which a better and a worse step were tried: the shortest right chain through the
    child of the highest value, and through the sibling of the lowest value the wrong chain that is nearest in length.
    Only children with a right chain below can be the better one, and with a wrong chain below the worse one; without a
    difference in value there is no pair.

    In the spirit of Step-DPO (arXiv 2406.18629), but the chains are whole, since a thought alone would teach a model
    to stop after it. With the shared prefix masked, the loss begins at the step where the chains part.

    Args:
        tree ([`Tree`]): Whose chains they are.
        right, wrong (`Sequence[Chain]`): Shortest first.

    Returns:
        `list[tuple[Chain, Chain]]`: The largest difference in value first, where the step matters most; among equals
        the thought with the most visits, where the values are surest, and then the one that was written first.
    """
    shortest_right: dict[int, Chain] = {}
    wrong_below: defaultdict[int, list[Chain]] = defaultdict(list)
    for chain in right:
        for node_id in chain.path:
            shortest_right.setdefault(node_id, chain)
    for chain in wrong:
        for node_id in chain.path:
            wrong_below[node_id].append(chain)

    def value(node_id: int) -> float:
        return tree.nodes[node_id].value

    found = []
    for node in tree.nodes:
        better = max((child for child in node.children if child in shortest_right), key=value, default=None)
        others = (child for child in node.children if child in wrong_below and child != better)
        worse = min(others, key=value, default=None)
        if better is None or worse is None or value(better) <= value(worse):
            continue
        chosen = shortest_right[better]
        rejected = min(wrong_below[worse], key=lambda chain, chosen=chosen: _distance(chosen, chain))
        found.append((value(better) - value(worse), node.visit_count, chosen, rejected))
    found.sort(key=lambda item: (-item[0], -item[1]))
    return [(chosen, rejected) for _, _, chosen, rejected in found]


def _distance(chain: Chain, other: Chain) -> int:
    """Difference in length, in tokens."""
    return abs(len(chain.tokens) - len(other.tokens))
