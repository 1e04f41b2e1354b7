"""Search as a way of decoding: a tree is grown without the gold answer, and one of its answers is chosen.

What rewards an answer is a judge of the tree itself; see [`~evaluation.judges`]. The budget is in generated tokens,
all that were drawn included, so that it can be compared with sampling at the same cost; an answer that came after the
budget was spent does not count. Which answer is given is a vote; see [`~evaluation.voting`].
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..base import Problem, Verdict
from ..engines.engine import Engine, Valuer
from ..mcts.pattern import Pattern
from ..mcts.search import SearchConfig, search
from ..mcts.tree import ROOT, Tree
from .judges import chain_values, load_judge
from .voting import Vote, check_answer_vote, check_value_model, elect, is_untempered


MAX_SIMULATIONS = 1_000  # a tree whose answers are all found gains nothing from more


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
        answer_vote (`str`): How the answer was chosen.
        ballot (`list[Vote]`): What every answer may be weighed by, in the order of the chains; empty without any.
    """

    chains: list[str]
    tokens: list[int]
    found_at: list[int]
    has_answer: bool
    spent: int
    answer_vote: str
    ballot: list[Vote] = field(default_factory=list)


async def search_answers(
    problem: Problem,
    engine: Engine,
    pattern: Pattern,
    config: SearchConfig,
    token_budget: int,
    *,
    reward: str = "majority",
    answer_vote: str | None = None,
    value_model: Valuer | None = None,
    others: Sequence[Engine] = (),
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
        config ([`SearchConfig`]): Depth, sampling, exploration; of its stopping rules only `stopping` is used.
        token_budget (`int`): Generated tokens.
        reward (`str`): `"majority"`, `"confidence"`, `"value"` (of the value model), or a function
            `package.module:function` that takes a prompt and a chain and gives a reward from 0 to 1, such as that of a
            reward model.
        answer_vote (`str`, *optional*): Which answer is given: `"majority"`, `"log_probability"`, `"value"` or
            `"reward_model"`, see [`~evaluation.voting.elect`]. Default: by the rewards, if they are not those of the
            majority; else by log-probability, if the engine gives that of the model itself; else by majority.
        value_model ([`ValueModel`], *optional*): Whose values of chains the vote `"value"` and the reward `"value"`
            are. Without it the vote is by those of the search. What it reads costs no generated tokens.
        others (`Sequence[Engine]`): More models that may write: arms of the branching `"thompson"`.
        seed (`int`): With the problem's id, the seed of the tree.
        max_simulations (`int`): Simulations after which it ends, whatever is left of the budget.
        observe (`Callable`, *optional*): Called with the tree whenever it has grown, to show it; see [`votes`].

    Returns:
        [`FoundAnswers`]
    """
    check_answer_vote(answer_vote)
    check_value_model(value_model, reward, answer_vote)
    grown = await grow_answers(
        problem, engine, pattern, config, token_budget, reward=reward, value_model=value_model, others=others,
        seed=seed, max_simulations=max_simulations, observe=observe,
    )  # fmt: skip
    tree, found = grown.tree, grown.found
    grown = replace(grown, values=await values_of(value_model, tree, found))
    in_time, ballot = grown.ballot(token_budget)
    if answer_vote is None:
        is_usable = all(is_untempered(e.identity, config.temperature, config.top_p) for e in (engine, *others))
        answer_vote = default_vote(ballot, reward, is_usable)
    if (elected := elect(ballot, answer_vote)) is not None:
        chosen = in_time[elected]
        nodes = [chosen, *(node for node in in_time if node != chosen)]
        ballot = [ballot[in_time.index(node)] for node in nodes]
    else:
        nodes = [max(range(len(tree.nodes)), key=lambda node: _tokens(tree, node))]
    return FoundAnswers(
        [tree.render(node) for node in nodes],
        [_tokens(tree, node) for node in nodes],
        [found[node] for node in nodes] if ballot else [tree.generated_tokens],
        bool(ballot),
        tree.generated_tokens,
        answer_vote,
        ballot,
    )


@dataclass(frozen=True)
class AnswerTree:
    """
    A tree that was grown to answer, and when: the tree of a smaller budget is the beginning of that of a larger one.

    Args:
        tree ([`Tree`]): It.
        found (`dict[int, int]`): For every answer, by its node, the generated tokens when it was there.
        ends (`list[int]`): The generated tokens at the end of every simulation.
        is_sampled (`bool`): Every simulation was a draw of its own: an answer that came again has another vote.
        values (`Mapping[int, float]`, *optional*): For every answer, by its node, what a value model says of it.
    """

    tree: Tree
    found: dict[int, int]
    ends: list[int]
    is_sampled: bool
    values: Mapping[int, float] | None = None

    def ballot(self, token_budget: int) -> tuple[list[int], list[Vote]]:
        """The answers that were there within a budget: their nodes, and what they may be weighed by."""
        nodes = self.tree.nodes
        in_time = [node for node, at in self.found.items() if at <= token_budget and nodes[node].answer is not None]
        visits, values = Counter[int](), Counter[int]()
        for leaf, end in zip(self.tree.simulations, self.ends, strict=True):
            for node in self.tree.path(leaf) if end <= token_budget else ():
                visits[node] += 1
                values[node] += nodes[leaf].reward or 0.0
        return in_time, [self._vote(node, visits, values) for node in in_time]

    def _vote(self, node_id: int, visits: Counter, values: Counter) -> Vote:
        nodes = self.tree.nodes
        before = node_id if nodes[node_id].parent == ROOT else nodes[node_id].parent
        return Vote(
            nodes[node_id].answer,
            self.tree.render(node_id),
            self.tree.log_probability(node_id),
            values[before] / max(1, visits[before]) if self.values is None else self.values[node_id],
            nodes[node_id].reward,
            max(1, visits[node_id]) if self.is_sampled else 1,
        )


async def grow_answers(
    problem: Problem,
    engine: Engine,
    pattern: Pattern,
    config: SearchConfig,
    token_budget: int,
    *,
    reward: str = "majority",
    value_model: Valuer | None = None,
    others: Sequence[Engine] = (),
    seed: int = 0,
    max_simulations: int = MAX_SIMULATIONS,
    observe: Callable[[Tree], None] | None = None,
    critic: Engine | None = None,
) -> AnswerTree:
    """
    The tree of [`search_answers`], of which no answer is chosen yet; its arguments are the same, but for a critic, who
    writes in that role if there is one.
    """
    found: dict[int, int] = {}
    ends: list[int] = []
    judge = load_judge(reward, value_model)

    async def record(tree: Tree, node_id: int) -> Verdict:
        found[node_id] = tree.generated_tokens
        return await judge(tree, node_id)

    def watch(tree: Tree) -> None:
        ends.extend([tree.generated_tokens] * (len(tree.simulations) - len(ends)))
        if observe is not None:
            observe(tree)

    tree = await search(
        replace(problem, answer=""),
        pattern,
        {"generator": engine, "critic": critic or engine}
        | {f"generator_{i}": other for i, other in enumerate(others, start=2)},
        None,
        replace(
            config, max_tree_tokens=token_budget, num_simulations=max_simulations, give_up_factor=1, min_right=1,
            max_right=10**9,
        ),
        random.Random(f"{seed}/{problem.problem_id}"),
        observe=watch,
        judge=record,
    )  # fmt: skip
    return AnswerTree(tree, found, ends, config.branching == "root")


async def values_of(value_model: Valuer | None, tree: Tree, nodes: Iterable[int]) -> dict[int, float] | None:
    """
    What a value model says of the chains to some nodes of a tree; None without one.

    Args:
        value_model ([`ValueModel`], *optional*): It.
        tree ([`Tree`]): The tree.
        nodes (`Iterable[int]`): Their ids.
    """
    if value_model is None:
        return None
    nodes = list(nodes)
    values = await chain_values(value_model, tree.problem.prompt, map(tree.render, nodes))
    return dict(zip(nodes, values, strict=True))


def default_vote(ballot: Sequence[Vote], reward: str, is_untempered: bool) -> str:
    """
    How an answer is chosen unless it is said.

    Args:
        ballot (`Sequence[Vote]`): The answers.
        reward (`str`): What rewarded them; see [`search_answers`].
        is_untempered (`bool`): Whether their log-probabilities, if they have any, are those of the model itself.
    """
    if reward != "majority":
        return "reward_model"
    known = is_untempered and all(vote.log_probability is not None for vote in ballot)
    return "log_probability" if known else "majority"


def votes(tree: Tree) -> Counter[str]:
    """How many answers of a tree say the same, by what they say; the first found comes first among equals."""
    return Counter(node.answer for node in tree.nodes if node.reward is not None and node.answer is not None)


def _tokens(tree: Tree, node_id: int) -> int:
    return sum(tree.nodes[node].tokens for node in tree.path(node_id) if node != ROOT)
