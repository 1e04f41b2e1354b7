"""Selection: trees become SFT rows and preference rows (paper, sections 3 and 4.1).

Every chain and tree that is not selected is counted with its reason. Nothing is generated here: the same trees can be
selected from again with other settings.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import InvalidInputError
from ..mcts.tree import Tree
from .chains import PREFERENCE_CHOICES, SFT_CHOICES, Chain, order_chains, pair_chains
from .difficulty import Difficulty, difficulty
from .formats import FORMATS, write_chain
from .judgements import Judgements, item_id
from .steps import STEPS_CHOICES, step_rows


Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class SelectionConfig:
    """
    How rows are selected.

    Lengths are relative within one tree, as in the paper, never a fixed threshold.

    Args:
        sft (`str`): Which right chain comes first: `"longest"` (the paper's choice), `"medium"`, `"shortest"`,
            `"best_value"` (highest mean value on its way), `"by_difficulty"` (the harder the problem, the longer:
            with a pass rate of 1 the shortest, near 0 the longest, in between linear in rank; after the
            difficulty-aware pruning of LiteCoT, arXiv 2505.19716, where a model rewrites chains instead), or
            `"pruned"` (the longest, but shortened at its first change of mind, as [`~chains.prune`] does).
        max_sft_per_tree (`int`): SFT rows of one tree.
        preference (`str`): `"one_per_tree"` (the shortest right chain against the wrong chain with the shortest common
            prefix), `"one_per_right_chain"` (each with the wrong chain that shares least with it), `"all"` pairs, or
            `"one_per_branching"` (step-level pairs, as [`~chains.pair_at_branchings`] finds them).
        max_pairs_per_tree (`int`): Preference rows of one tree.
        steps (`str`): Chains with labels of every thought: `"none"`, `"all"` or `"without_corrections"`; see
            [`~steps.step_rows`].
        format (`str`): How chains are written: `"tags"`, `"think"` (a think block and the answer) or `"plain"`; see
            [`~formats.write_pieces`].
        max_length (`int`, *optional*): Longer chains are left out, in tokens. None: no limit.
        min_pass_rate, max_pass_rate (`float`): Trees with a smaller or larger share of right answers among their
            verified ones are left out, as too hard or too easy, in [0, 1].
        min_first_success (`int`): Trees that needed fewer simulations until their first right answer are left out, as
            too easy (ThinkLite-VL, arXiv 2504.07934). 1: none is.
    """

    sft: str = field(default="longest", metadata={"help": f"SFT chain: {', '.join(SFT_CHOICES)}."})
    max_sft_per_tree: int = field(default=1, metadata={"help": "SFT rows of one tree."})
    preference: str = field(default="one_per_tree", metadata={"help": f"Pairs: {', '.join(PREFERENCE_CHOICES)}."})
    max_pairs_per_tree: int = field(default=16, metadata={"help": "Preference rows of one tree."})
    steps: str = field(default="none", metadata={"help": f"Rows with labels of steps: {', '.join(STEPS_CHOICES)}."})
    format: str = field(
        default="tags",
        metadata={
            "help": "How chains are written: tags, think (<think>…</think> and the answer, for the templates of "
            "reasoning models), plain (prose)."
        },
    )
    max_length: int | None = field(default=None, metadata={"help": "Leave out chains of more tokens."})
    min_pass_rate: float = field(
        default=0.0, metadata={"help": "Leave out trees with a smaller share of right answers."}
    )
    max_pass_rate: float = field(
        default=1.0, metadata={"help": "Leave out trees with a larger share of right answers."}
    )
    min_first_success: int = field(
        default=1, metadata={"help": "Leave out trees with fewer simulations until the first right answer."}
    )

    def __post_init__(self):
        for name, choices in (
            ("sft", SFT_CHOICES),
            ("preference", PREFERENCE_CHOICES),
            ("steps", STEPS_CHOICES),
            ("format", FORMATS),
        ):
            if getattr(self, name) not in choices:
                raise InvalidInputError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(choices)}")
        for name in ("max_sft_per_tree", "max_pairs_per_tree", "max_length", "min_first_success"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name}={value} is out of range: it must be at least 1")
        for name in ("min_pass_rate", "max_pass_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be from 0 to 1")
        if self.min_pass_rate > self.max_pass_rate:
            raise InvalidInputError(
                f"min_pass_rate={self.min_pass_rate} leaves nothing: it must be at most "
                f"max_pass_rate={self.max_pass_rate}"
            )


@dataclass
class Selector:
    """
    Selects rows tree by tree, and remembers what was left out and which rows there are already.

    Args:
        tokenize (`Callable[[str], list[int]]`): Token ids of a text, by the tokenizer that will be trained.
        config ([`SelectionConfig`]): How rows are selected.
        judgements ([`Judgements`]): Chains and pairs that annotators reject are left out.
        rejections (`Counter`): What was left out, by reason, so far.
        tokenizer_name (`str`): Whose tokens are counted, for those who want to select again in the same way.
    """

    tokenize: Tokenize
    config: SelectionConfig = field(default_factory=SelectionConfig)
    judgements: Judgements = field(default_factory=Judgements)
    rejections: Counter[str] = field(default_factory=Counter)
    tokenizer_name: str = ""
    _seen: set[bytes] = field(default_factory=set)

    @classmethod
    def of_tokenizer(
        cls, tokenizer, config: SelectionConfig | None = None, judgements: Judgements | None = None
    ) -> "Selector":
        """A selector that counts the tokens of a [`~transformers.PreTrainedTokenizerBase`]."""
        return cls(
            lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
            config or SelectionConfig(),
            judgements or Judgements(),
            tokenizer_name=tokenizer.name_or_path,
        )

    def select_sft(self, tree: Tree) -> Iterator[dict[str, Any]]:
        """
        SFT rows of one tree, `prompt` and `completion` as message lists.

        Args:
            tree ([`Tree`]): A finished tree.
        """
        found = difficulty(tree)
        if self._is_outside(found, prefix="sft"):
            return
        right = self._chains(tree, right=True, prefix="sft")
        if not right:
            self.rejections[f"sft: {_without(tree, right=True)}"] += 1
            return
        ordered = order_chains(tree, right, self.config.sft, found.pass_rate)
        if len(ordered) < len(right):
            self.rejections["sft: chain that a pruned one replaces"] += len(right) - len(ordered)
        taken = 0
        for rank, chain in enumerate(ordered):
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
                    **asdict(found),
                }

    def select_preferences(self, tree: Tree) -> Iterator[dict[str, Any]]:
        """
        Preference rows of one tree, `prompt`, `chosen` and `rejected` as message lists.

        Args:
            tree ([`Tree`]): A finished tree.
        """
        found = difficulty(tree)
        if self._is_outside(found, prefix="preference"):
            return
        right = self._chains(tree, right=True, prefix="preference")
        wrong = self._chains(tree, right=False, prefix="preference")
        if not right or not wrong:
            self.rejections[f"preference: {_without(tree, right=not right)}"] += 1
            return
        taken, paired = 0, set()
        for chosen, rejected in pair_chains(tree, right, wrong, self.config.preference):
            paired |= {chosen.leaf, rejected.leaf}
            if self._is_rejected(tree, chosen.leaf, rejected.leaf):
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
                    **asdict(found),
                }
        self._leave_out("preference: chain that makes no pair", len(right) + len(wrong) - len(paired))

    def select_steps(self, tree: Tree) -> Iterator[dict[str, Any]]:
        """
        Rows with labels of steps, as [`~steps.step_rows`] has them, of one tree; none unless they are asked for.

        Args:
            tree ([`Tree`]): A finished tree.
        """
        if self.config.steps == "none":
            return
        leaves = sorted(tree.answers(right=True) + tree.answers(right=False))
        kept = [leaf for leaf in leaves if not self._is_rejected(tree, leaf)]
        self._leave_out("steps: chain that annotators reject", len(leaves) - len(kept))
        rows = list(step_rows(tree, self.config.format, self.config.steps == "all", kept))
        self._leave_out("steps: chain with a correction", len(kept) - len(rows))
        yield from rows

    def _is_outside(self, found: Difficulty, prefix: str) -> bool:
        """Whether a tree is left out for its difficulty."""
        if found.pass_rate is None:  # without any answer it is left out anyway
            return False
        if found.pass_rate < self.config.min_pass_rate:
            reason = "below min_pass_rate"
        elif found.pass_rate > self.config.max_pass_rate:
            reason = "above max_pass_rate"
        elif found.first_success is not None and found.first_success < self.config.min_first_success:
            reason = "below min_first_success"
        else:
            return False
        self.rejections[f"{prefix}: tree {reason}"] += 1
        return True

    def _chains(self, tree: Tree, right: bool, prefix: str) -> list[Chain]:
        """The usable right or wrong chains of a tree, shortest first."""
        chains = []
        if right:  # once a tree
            dead_ends = sum(bool(tree.nodes[leaf].dead_end) for leaf in tree.leaves())
            self._leave_out(f"{prefix}: chain that is a dead end", dead_ends)
        for leaf in tree.answers(right):
            if tree.nodes[leaf].answer is None:
                # Nothing to learn from: the paper's wrong chains give a wrong answer.
                self.rejections[f"{prefix}: chain without an answer"] += 1
                continue
            if self._is_rejected(tree, leaf):
                self.rejections[f"{prefix}: chain that annotators reject"] += 1
                continue
            path = tuple(tree.path(leaf))
            text = write_chain([tree.nodes[i] for i in path[1:]], self.config.format)
            tokens = tuple(self.tokenize(text))
            if self.config.max_length is not None and len(tokens) > self.config.max_length:
                self.rejections[f"{prefix}: chain longer than max_length"] += 1
                continue
            value = sum(tree.nodes[i].value for i in path) / len(path)
            chains.append(Chain(path, text, tokens, tree.nodes[leaf].reward, value))
        return sorted(chains, key=lambda chain: (len(chain.tokens), chain.leaf))

    def _is_rejected(self, tree: Tree, *leaves: int) -> bool:
        """Whether annotators reject a chain or a pair, which they have judged between tags, whatever the format."""
        return self.judgements.rejects(item_id(tree.problem.prompt, *map(tree.render, leaves)))

    def _leave_out(self, reason: str, count: int) -> None:
        if count:
            self.rejections[reason] += count

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


def _without(tree: Tree, right: bool) -> str:
    """Why there is no right chain, or no wrong one, to make a row of."""
    which = "right" if right else "wrong"
    if tree.answers(right):
        return f"tree whose {which} chains are all left out: too long, without an answer or rejected"
    return f"tree without a {which} chain"


def _message(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]
