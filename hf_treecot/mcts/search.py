"""Monte Carlo Tree Search over typed thoughts (paper, section 3).

`search` grows the tree of one problem: it asks engines for the thoughts that a pattern allows and a verifier for the
reward of each answer. It is deterministic given its completions. It must not know where completions come from, nor
what becomes of the tree.
"""

import asyncio
import contextlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from ..base import Problem, Verdict
from ..engines.engine import Engine
from ..errors import ContextLengthError, InvalidInputError, UnverifiableError
from ..verifiers.judging import answer_text
from .growth import Growth, base_role
from .pattern import FREE, ROLES, Pattern
from .search_config import SearchConfig
from .spending import BRANCHINGS, CHILD_SELECTIONS, STOPPINGS, Branch, Child, Drawn
from .tree import NO_PARENT, ROOT, UNVERIFIABLE, Node, Tree


LONGEST_REASON = 300  # characters of an error that are kept in a tree
Verify = Callable[[str, Problem], Awaitable[Verdict]]
Judge = Callable[[Tree, int], Awaitable[Verdict]]


def stop_reason(num_simulations: int, num_right: int, config: SearchConfig) -> str:
    """Why a search with so many simulations and right answers is over; empty if it goes on."""
    if num_right >= config.max_right:
        return "enough_right"
    if num_simulations >= config.num_simulations and num_right >= config.min_right:
        return "enough_simulations"
    if num_simulations >= config.give_up_factor * config.num_simulations:
        return "gave_up"
    return ""


async def search(
    problem: Problem,
    pattern: Pattern,
    engines: Mapping[str, Engine],
    verify: Verify | None,
    config: SearchConfig,
    rng: random.Random,
    observe: Callable[[Tree], None] | None = None,
    judge: Judge | None = None,
) -> Tree:
    """
    Grow the tree of one problem.

    Args:
        problem ([`Problem`]): The problem.
        pattern ([`Pattern`]): Which thoughts may follow which.
        engines (`Mapping[str, Engine]`): One engine per role, `"generator"` and `"critic"`; they may be the same. More
            models, under `"generator_2"` and so on, are arms of the branching `"thompson"`.
        verify (`Callable`, *optional*): `await verify(answer_text, problem)` gives a [`Verdict`].
        config ([`SearchConfig`]): Budgets, sampling, stopping rule.
        rng (`random.Random`): Breaks ties and seeds the requests. The same rng and completions give the same tree.
        observe (`Callable`, *optional*): Called with the tree whenever thoughts were added, and after every
            simulation, to show it while it grows.
        judge (`Callable`, *optional*): Instead of `verify`, where no gold answer is known:
            `await judge(tree, node_id)` gives a [`Verdict`] on an answer by its place in the tree.

    Returns:
        [`Tree`]

    Raises:
        EngineError, VerifierError: Whatever an engine or the verifier raised: a failure is never a reward. An
            [`UnverifiableError`] is not raised: it makes its answer a dead end, `"unverifiable"`.
        InvalidInputError: An engine's role is none, or the stopping rule does not go with the pattern.
    """
    if unknown := [role for role in engines if not role.startswith(ROLES)]:
        raise InvalidInputError(
            f"engines: role {unknown[0]!r} is unknown: call it {' or '.join(ROLES)}, then _2, _3, …"
        )
    check_stopping(config, pattern)
    run = _Search(problem, pattern, engines, verify, config, rng, observe, judge)
    workers = [asyncio.ensure_future(run.simulate_until_done()) for _ in range(config.simulations_in_flight)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return run.tree


def check_stopping(config: SearchConfig, pattern: Pattern) -> None:
    """
    Raises:
        InvalidInputError: The stopping rule does not go with the pattern.
    """
    is_whole = pattern.free or not any(spec.tag for spec in pattern.thoughts.values())
    if config.stopping == "probability_decided" and not is_whole:
        raise InvalidInputError(
            f"stopping='probability_decided' needs the probabilities of whole replies, and pattern {pattern.name!r} "
            "says which thoughts follow: use the pattern free or best_of_1, or majority_decided"
        )


def drawn(tree: Tree, leaves: Iterable[int]) -> list[Drawn]:
    """The answers among some nodes of a tree, with the probabilities of their chains."""
    found = []
    for leaf in leaves:
        node = tree.nodes[leaf]
        if node.reward is not None and node.answer is not None:
            found.append(Drawn(node.answer, leaf, tree.log_probability(leaf)))
    return found


def _stated(node: Node) -> str:
    """What a verifier reads: the text of an answer thought; of a whole reply, its last."""
    return node.text if node.tag else answer_text(node.text)


class _Search:
    """One search in progress: what need not outlive it."""

    def __init__(self, problem, pattern, engines, verify, config, rng, observe=None, judge=None):
        self.growth = Growth(problem, pattern, engines, config, rng, observe)
        self.tree: Tree = self.growth.tree
        self.pattern, self.config, self.rng, self.observe = pattern, config, rng, observe
        self.judge: Judge = judge or (lambda tree, node_id: verify(_stated(tree.nodes[node_id]), tree.problem))
        self.score, self.branch = CHILD_SELECTIONS[config.child_selection], BRANCHINGS[config.branching]
        by_base = {base: [role for role in engines if base_role(role) == base] for base in ROLES}
        self.arms = {FREE: by_base["generator"]} | {k: by_base[spec.role] for k, spec in pattern.thoughts.items()}
        self.priors: dict[int, dict[str, float]] = {}  # of every node that was expanded: the model's own, by kind
        self.started = 0
        self.in_flight: Counter[int] = Counter()  # simulations in flight through every node
        self.locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # one expansion of a node at a time

    async def simulate_until_done(self) -> None:
        """Run simulations until the stopping rule ends the search."""
        while not (reason := self._why_done()):
            # Simulations in flight count as started, so that the budget is not overrun.
            if self.started >= self.config.give_up_factor * self.config.num_simulations:
                return
            self.started += 1
            await self.simulate(self.started - 1)
            await asyncio.sleep(0)  # where all thoughts are there already nobody is waited for, and others would be
        self.tree.stop_reason = self.tree.stop_reason or reason

    def _why_done(self) -> str:
        right = len(self.tree.answers(right=True))
        if reason := stop_reason(len(self.tree.simulations), right, self.config):
            return reason
        if self.tree.generated_tokens >= (self.config.max_tree_tokens or math.inf):
            return "enough_tokens"
        if (is_decided := STOPPINGS[self.config.stopping]) is None:
            return ""
        # Only where every simulation is a draw of its own, an answer that comes again counts again.
        leaves = self.tree.simulations if self.config.branching == "root" else range(len(self.tree.nodes))
        return "decided" if is_decided(drawn(self.tree, leaves), self.config.decided_probability) else ""

    async def simulate(self, simulation: int) -> None:
        """
        One simulation: from the root, or from where the tree is to branch, down to a leaf, expanding on the way, until
        an answer or a dead end; back it up.
        """
        branch = self.branch(self.tree, self.pattern, self.arms, self.rng) if self.branch else None
        path = self.tree.path(branch.node_id if branch else ROOT)
        self.in_flight.update(path)
        try:
            while branch and branch.kind is not None:
                branch = await self._follow(branch, path, simulation)
            while not await self._is_end(path[-1], simulation):
                path.append(self._select_child(path[-1]))
                self.in_flight[path[-1]] += 1
        finally:
            self.in_flight.subtract(path)
        leaf = path[-1]
        self.tree.backpropagate(leaf, self.tree.nodes[leaf].reward or 0.0)
        self.tree.simulations.append(leaf)
        if self.observe is not None:
            self.observe(self.tree)

    async def _follow(self, branch: Branch, path: list[int], simulation: int) -> Branch | None:
        """
        Ask for another child where the tree branches, and go there. If it says what is there already, a model that
        chooses its thoughts itself goes on from it as it would have: where to branch next.
        """
        if self.growth.remaining_tokens(branch.node_id) <= 0:
            return None
        size, kinds = len(self.tree.nodes), {FREE if self.pattern.free else branch.kind: 1}
        async with self.locks[branch.node_id]:
            try:
                (child,) = await self.growth.add_children(branch.node_id, kinds, simulation, branch.role)
            except ContextLengthError:
                return None
        path.append(child)
        self.in_flight[child] += 1
        is_said = child < size and self.tree.nodes[child].children and self.pattern.free
        return Branch(child, FREE, branch.role) if is_said else None

    async def _is_end(self, node_id: int, simulation: int) -> bool:
        """Whether a simulation ends here; verifies an answer and expands a leaf first."""
        node = self.tree.nodes[node_id]
        async with self.locks[node_id]:
            if node_id != ROOT and self.pattern.thoughts[node.kind].terminal:
                if node.reward is None and not node.dead_end:
                    await self._verify(node_id, simulation)
                return True
            if not node.children and not node.dead_end:
                node.dead_end = await self._expand(node_id, simulation)
        return not node.children

    def _select_child(self, node_id: int) -> int:
        """The child with the highest score; ties are broken by the rng."""
        nodes, loss = self.tree.nodes, self.config.virtual_loss
        parent = nodes[node_id]
        parent_visits = parent.visit_count + loss * (self.in_flight[node_id] - 1)
        kinds = Counter(nodes[child].kind for child in parent.children)
        priors = self.priors.get(node_id, {})

        def score(child_id: int) -> float:
            child = nodes[child_id]
            visits = child.visit_count + loss * self.in_flight[child_id]
            prior = priors.get(child.kind, 1 / len(kinds)) / kinds[child.kind]
            of_child = Child(child.value_sum, visits, parent_visits, prior)
            return self.score(of_child, self.config.exploration_constant, self.rng)

        scores = [score(child_id) for child_id in parent.children]
        best = max(scores)
        return self.rng.choice([c for c, s in zip(parent.children, scores, strict=True) if s == best])

    async def _expand(self, node_id: int, simulation: int) -> str:
        """Add all children that the pattern allows; returns why the chain ends here, if it does."""
        depth = len(self.tree.path(node_id)) - 1
        kinds = self.pattern.next_kinds(None if node_id == ROOT else self.tree.nodes[node_id].kind)
        if depth + 1 >= self.config.max_depth and not self.pattern.free:
            kinds = {kind: n for kind, n in kinds.items() if self.pattern.thoughts[kind].terminal}
        if depth >= self.config.max_depth or not kinds:
            return "max_depth"
        if self.growth.remaining_tokens(node_id) <= 0:
            return "max_chain_tokens"
        try:
            if self.config.child_selection == "puct" and len(kinds) > 1:
                self.priors[node_id] = await self.growth.kind_probabilities(node_id, kinds)
            await self.growth.add_children(node_id, kinds, simulation)
        except ContextLengthError:
            return "context_length"
        return ""

    async def _verify(self, node_id: int, simulation: int) -> None:
        """Give an answer its reward; a wrong one adds what the pattern says, one that cannot be verified nothing."""
        node = self.tree.nodes[node_id]
        try:
            verdict = await self.judge(self.tree, node_id)
        except UnverifiableError as error:  # this chain is lost, and no other
            node.dead_end, node.reason = UNVERIFIABLE, str(error)[:LONGEST_REASON]
            return
        node.reward, node.answer, node.reason = verdict.reward, verdict.answer, verdict.reason
        on_wrong = self.pattern.on_wrong
        if verdict.reward > 0.5 or on_wrong is None:
            return
        ancestor = node.parent
        while ancestor != NO_PARENT and self.tree.nodes[ancestor].kind not in on_wrong.under:
            ancestor = self.tree.nodes[ancestor].parent
        if ancestor in (NO_PARENT, ROOT):
            return
        async with self.locks[ancestor]:
            await self._add_correction(ancestor, simulation)

    async def _add_correction(self, ancestor: int, simulation: int) -> None:
        on_wrong, nodes = self.pattern.on_wrong, self.tree.nodes
        # A kind that may follow anyway has the children of the expansion besides those added by wrong answers.
        expected = self.pattern.next_kinds(nodes[ancestor].kind).get(on_wrong.add, 0)
        room = on_wrong.max_per_node - max(0, self.growth.count_asked(ancestor, on_wrong.add) - expected)
        depth = len(self.tree.path(ancestor)) - 1
        # A correction needs room for itself and an answer after it.
        if room > 0 and depth + 2 <= self.config.max_depth and self.growth.remaining_tokens(ancestor) > 0:
            with contextlib.suppress(ContextLengthError):  # no room for a correction: the answer stays wrong
                await self.growth.add_children(ancestor, {on_wrong.add: min(on_wrong.count, room)}, simulation)
