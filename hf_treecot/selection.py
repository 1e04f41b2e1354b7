"""Selection: trees become SFT rows and preference rows (paper, sections 3 and 4.1).

Every chain and tree that is not selected is counted with its reason. Nothing is generated here: the same trees can be
selected from again with other settings.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidInputError
from .judgements import Judgements, item_id
from .tree import Tree


Tokenize = Callable[[str], list[int]]
SFT_CHOICES = ("longest", "medium", "shortest", "best_value")
PREFERENCE_CHOICES = ("one_per_tree", "one_per_right_chain", "all")


@dataclass(frozen=True)
class SelectionConfig:
    """
    How rows are selected. Lengths are relative within one tree, as in the paper, never a fixed threshold.

    Args:
        sft (`str`): Which right chain comes first: `"longest"` (the paper's choice), `"medium"`, `"shortest"`, or
            `"best_value"` (highest mean value on its way).
        max_sft_per_tree (`int`): SFT rows of one tree.
        preference (`str`): `"one_per_tree"` (the shortest right chain against the wrong chain with the shortest common
            prefix), `"one_per_right_chain"` (each with the wrong chain that shares least with it), or `"all"` pairs.
        max_pairs_per_tree (`int`): Preference rows of one tree.
        max_length (`int`, *optional*): Longer chains are left out, in tokens. None: no limit.
    """

    sft: str = "longest"
    max_sft_per_tree: int = 1
    preference: str = "one_per_tree"
    max_pairs_per_tree: int = 16
    max_length: int | None = None

    def __post_init__(self):
        for name, choices in (("sft", SFT_CHOICES), ("preference", PREFERENCE_CHOICES)):
            if getattr(self, name) not in choices:
                raise InvalidInputError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(choices)}")
        for name in ("max_sft_per_tree", "max_pairs_per_tree", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name}={value} is out of range: it must be at least 1")


@dataclass(frozen=True)
class Chain:
    """A root-to-answer path, rendered."""

    leaf: int
    text: str
    tokens: tuple[int, ...]
    reward: float
    value: float

    def shared_prefix(self, other: "Chain") -> int:
        """Tokens that two chains have in common at their beginning."""
        pairs = zip(self.tokens, other.tokens, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.tokens), len(other.tokens)))


@dataclass
class Selector:
    """
    Selects rows tree by tree, and remembers what was left out and which rows there are already.

    Args:
        tokenize (`Callable[[str], list[int]]`): Token ids of a text, by the tokenizer that will be trained.
        config ([`SelectionConfig`]): How rows are selected.
        judgements ([`Judgements`]): Chains and pairs that annotators reject are left out.
        rejections (`Counter`): What was left out, by reason, so far.
    """

    tokenize: Tokenize
    config: SelectionConfig = field(default_factory=SelectionConfig)
    judgements: Judgements = field(default_factory=Judgements)
    rejections: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)

    def select_sft(self, tree: Tree) -> Iterator[dict[str, Any]]:
        """
        SFT rows of one tree, `prompt` and `completion` as message lists.

        Args:
            tree ([`Tree`]): A finished tree.
        """
        right = self._chains(tree, right=True, prefix="sft")
        if not right:
            self.rejections["sft: tree without a right chain"] += 1
            return
        taken = 0
        for rank, chain in enumerate(self._ordered(right)):
            if taken == self.config.max_sft_per_tree:
                self.rejections["sft: beyond max_sft_per_tree"] += 1
            elif self._is_new("sft", tree.problem.prompt, chain.text):
                taken += 1
                yield {
                    "prompt": _message("user", tree.problem.prompt),
                    "completion": _message("assistant", chain.text),
                    "tree_id": tree.tree_id,
                    "length": len(chain.tokens),
                    "rank": rank,
                }

    def select_preferences(self, tree: Tree) -> Iterator[dict[str, Any]]:
        """
        Preference rows of one tree, `prompt`, `chosen` and `rejected` as message lists.

        Args:
            tree ([`Tree`]): A finished tree.
        """
        right = self._chains(tree, right=True, prefix="preference")
        wrong = self._chains(tree, right=False, prefix="preference")
        if not right or not wrong:
            self.rejections[f"preference: tree without a {'right' if not right else 'wrong'} chain"] += 1
            return
        taken, paired = 0, set()
        for chosen, rejected in self._pairs(right, wrong):
            paired |= {chosen.leaf, rejected.leaf}
            if self.judgements.rejects(item_id(tree.problem.prompt, chosen.text, rejected.text)):
                self.rejections["preference: pair that annotators reject"] += 1
            elif taken == self.config.max_pairs_per_tree:
                self.rejections["preference: pair beyond max_pairs_per_tree"] += 1
            elif self._is_new("preference", tree.problem.prompt, chosen.text, rejected.text):
                taken += 1
                yield {
                    "prompt": _message("user", tree.problem.prompt),
                    "chosen": _message("assistant", chosen.text),
                    "rejected": _message("assistant", rejected.text),
                    "tree_id": tree.tree_id,
                    "shared_prefix_length": chosen.shared_prefix(rejected),
                    "chosen_length": len(chosen.tokens),
                    "rejected_length": len(rejected.tokens),
                    "chosen_reward": chosen.reward,
                    "rejected_reward": rejected.reward,
                }
        self.rejections["preference: chain that makes no pair"] += len(right) + len(wrong) - len(paired)

    def _chains(self, tree: Tree, right: bool, prefix: str) -> list[Chain]:
        """The usable right or wrong chains of a tree, shortest first."""
        chains = []
        if right:  # once a tree
            dead_ends = sum(bool(tree.nodes[leaf].dead_end) for leaf in tree.leaves())
            self.rejections[f"{prefix}: chain that is a dead end"] += dead_ends
        for leaf in tree.answers(right):
            if tree.nodes[leaf].answer is None:
                # Nothing to learn from: the paper's wrong chains give a wrong answer.
                self.rejections[f"{prefix}: chain without an answer"] += 1
                continue
            text = tree.render(leaf)
            if self.judgements.rejects(item_id(tree.problem.prompt, text)):
                self.rejections[f"{prefix}: chain that annotators reject"] += 1
                continue
            tokens = tuple(self.tokenize(text))
            if self.config.max_length is not None and len(tokens) > self.config.max_length:
                self.rejections[f"{prefix}: chain longer than max_length"] += 1
                continue
            path = [tree.nodes[i] for i in tree.path(leaf)]
            value = sum(node.value for node in path) / len(path)
            chains.append(Chain(leaf, text, tokens, tree.nodes[leaf].reward, value))
        return sorted(chains, key=lambda chain: (len(chain.tokens), chain.leaf))

    def _ordered(self, shortest_first: list[Chain]) -> list[Chain]:
        if self.config.sft == "shortest":
            return shortest_first
        if self.config.sft == "best_value":
            return sorted(shortest_first, key=lambda chain: -chain.value)
        if self.config.sft == "medium":
            middle = (len(shortest_first) - 1) / 2
            by_rank = sorted(enumerate(shortest_first), key=lambda item: abs(item[0] - middle))
            return [chain for _, chain in by_rank]
        return sorted(shortest_first, key=lambda chain: -len(chain.tokens))

    def _pairs(self, right: list[Chain], wrong: list[Chain]) -> Iterator[tuple[Chain, Chain]]:
        """Pairs in the order in which a limit takes them: the best one of every right chain, then the second best."""

        def best_first(chosen: Chain) -> list[Chain]:
            # Among those that share equally little, the one nearest in length: length should not tell them apart.
            lengths = {w.leaf: abs(len(w.tokens) - len(chosen.tokens)) for w in wrong}
            return sorted(wrong, key=lambda w: (chosen.shared_prefix(w), lengths[w.leaf], w.leaf))

        right = right[:1] if self.config.preference == "one_per_tree" else right
        ordered = [(chosen, best_first(chosen)) for chosen in right]
        for rank in range(len(wrong) if self.config.preference == "all" else 1):
            yield from ((chosen, rejected[rank]) for chosen, rejected in ordered)

    def _is_new(self, *texts: str) -> bool:
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).digest()
        if digest in self._seen:
            self.rejections[f"{texts[0]}: duplicate"] += 1
            return False
        self._seen.add(digest)
        return True


def select_sft(
    trees: Iterable[Tree],
    tokenize: Tokenize,
    config: SelectionConfig | None = None,
    judgements: Judgements | None = None,
) -> list[dict]:
    """SFT rows of some trees; use a [`Selector`] to see what was left out."""
    selector = Selector(tokenize, config or SelectionConfig(), judgements or Judgements())
    return [row for tree in trees for row in selector.select_sft(tree)]


def select_preferences(
    trees: Iterable[Tree],
    tokenize: Tokenize,
    config: SelectionConfig | None = None,
    judgements: Judgements | None = None,
) -> list[dict]:
    """Preference rows of some trees; use a [`Selector`] to see what was left out."""
    selector = Selector(tokenize, config or SelectionConfig(), judgements or Judgements())
    return [row for tree in trees for row in selector.select_preferences(tree)]


def _message(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]
