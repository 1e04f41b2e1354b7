"""Monte Carlo Tree Search over typed thoughts (paper, section 3).

`search` grows the tree of one problem: it asks engines for the thoughts that a pattern allows and a verifier for the
reward of each answer. It is deterministic given its completions. It must not know where completions come from, nor
what becomes of the tree.
"""

import asyncio
import contextlib
import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from ..base import Problem, Verdict
from ..control_tokens import escape_control_tokens
from ..engines.engine import Completion, Engine, Request
from ..errors import ContextLengthError, InvalidInputError, UnverifiableError
from .pattern import Pattern, ThoughtSpec
from .tree import NO_PARENT, ROOT, UNVERIFIABLE, Node, Tree


LONGEST_REASON = 300  # characters of an error that are kept in a tree
Verify = Callable[[str, Problem], Awaitable[Verdict]]
Judge = Callable[[Tree, int], Awaitable[Verdict]]


@dataclass(frozen=True)
class SearchConfig:
    """
    How a tree is searched.

    The defaults are those of the authors' released demo.

    Args:
        num_simulations (`int`): Simulations after which a tree with enough right answers is done.
        min_right (`int`): Right answers that make a tree a success.
        max_right (`int`): Right answers at which it stops at once.
        give_up_factor (`int`): Give up after `give_up_factor * num_simulations` with fewer than `min_right`.
        exploration_constant (`float`): C of UCB in the paper's form, `v/N + C * sqrt(ln N_parent / N)`.
        max_depth (`int`): Thoughts in a chain; the last one can only be an answer.
        max_new_tokens (`int`): Generated tokens of a thought.
        max_chain_tokens (`int`): Generated tokens of a chain.
        max_tree_tokens (`int`, *optional*): No simulation begins once a tree has so many generated tokens.
        temperature, top_p (`float`): Sampling.
        simulations_in_flight (`int`): More than one searches one tree with virtual losses, for interactive use: faster
            for a single tree, but its shape then depends on which thought is written first.
        virtual_loss (`float`): Visits without reward that a simulation in flight counts for on its path.
        keep_reasoning (`bool`): Keep in the tree what a reasoning model thought before it wrote a thought.
    """

    num_simulations: int = field(
        default=32, metadata={"help": "Simulations that make a tree with enough right answers."}
    )
    min_right: int = field(default=4, metadata={"help": "Right answers that are enough."})
    max_right: int = field(default=8, metadata={"help": "Right answers at which a tree stops at once."})
    give_up_factor: int = field(default=4, metadata={"help": "Give up after so many times num_simulations."})
    exploration_constant: float = field(default=2.0, metadata={"help": "C of UCB, in the paper's form."})
    max_depth: int = field(default=16, metadata={"help": "Thoughts in a chain."})
    max_new_tokens: int = field(default=512, metadata={"help": "Generated tokens of a thought."})
    max_chain_tokens: int = field(default=4096, metadata={"help": "Generated tokens of a chain."})
    max_tree_tokens: int | None = field(
        default=None, metadata={"help": "Generated tokens after which no simulation of a tree begins."}
    )
    temperature: float = field(default=0.7, metadata={"help": "Sampling temperature."})
    top_p: float = field(default=0.9, metadata={"help": "Nucleus."})
    simulations_in_flight: int = field(
        default=1, metadata={"help": "Simulations of one tree at the same time; more than one is not reproducible."}
    )
    virtual_loss: float = field(
        default=1.0, metadata={"help": "Visits without reward that a simulation in flight counts for."}
    )
    keep_reasoning: bool = field(
        default=False, metadata={"help": "Keep in the tree what a reasoning model thought before it wrote a thought."}
    )

    def __post_init__(self):
        for name in ("num_simulations", "min_right", "max_right", "give_up_factor", "max_depth", "max_new_tokens"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("max_chain_tokens", "simulations_in_flight"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        if self.max_tree_tokens is not None:
            _require("max_tree_tokens", self.max_tree_tokens, self.max_tree_tokens >= 1, "at least 1")
        for name in ("exploration_constant", "temperature", "virtual_loss"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (1 is off)")
        _require("max_right", self.max_right, self.max_right >= self.min_right, f"at least min_right={self.min_right}")


def _require(name: str, value: float, condition: bool, remedy: str) -> None:
    if not condition:
        raise InvalidInputError(f"{name}={value!r} is out of range: it must be {remedy}")


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
        engines (`Mapping[str, Engine]`): One engine per role, `"generator"` and `"critic"`; they may be the same.
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
    """
    run = _Search(problem, pattern, engines, verify, config, rng, observe, judge)
    workers = [asyncio.ensure_future(run.simulate_until_done()) for _ in range(config.simulations_in_flight)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return run.tree


class _Search:
    """One search in progress: the tree, and what need not outlive the search."""

    def __init__(self, problem, pattern, engines, verify, config, rng, observe=None, judge=None):
        specs = pattern.thoughts.values()
        self.tags = [tag for spec in specs for tag in (spec.opening, spec.closing)]
        problem = replace(problem, prompt=escape_control_tokens(problem.prompt, self.tags))
        self.tree, self.observe = Tree(problem, pattern.name), observe
        self.pattern, self.engines, self.config, self.rng = pattern, engines, config, rng
        self.judge: Judge = judge or (lambda tree, node_id: verify(tree.nodes[node_id].text, tree.problem))
        self.started = 0
        self.seeds = [rng.getrandbits(31)]  # of every node: its children's requests are seeded from it
        self.asked: Counter[tuple[int, str]] = Counter()  # samples of a kind asked for under every node
        self.in_flight: Counter[int] = Counter()  # simulations in flight through every node
        self.locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # one expansion of a node at a time
        self.chat_prompts = {role: self._chat_prompt(role) for role in engines}

    def _chat_prompt(self, role: str) -> str:
        messages = [{"role": "user", "content": self.tree.problem.prompt}]
        if system_prompt := self.pattern.system_prompt(role):
            messages.insert(0, {"role": "system", "content": system_prompt})
        return self.engines[role].render_chat(messages)

    async def simulate_until_done(self) -> None:
        """Run simulations until the stopping rule ends the search."""
        while True:
            right = len(self.tree.answers(right=True))
            reason = stop_reason(len(self.tree.simulations), right, self.config)
            if self.tree.generated_tokens >= (self.config.max_tree_tokens or math.inf):
                reason = reason or "enough_tokens"
            if reason:
                self.tree.stop_reason = self.tree.stop_reason or reason
                return
            # Simulations in flight count as started, so that the budget is not overrun.
            if self.started >= self.config.give_up_factor * self.config.num_simulations:
                return
            self.started += 1
            await self.simulate(self.started - 1)

    async def simulate(self, simulation: int) -> None:
        """One simulation: select down to a leaf, expanding on the way, until an answer or a dead end; back it up."""
        path = [ROOT]
        self.in_flight[ROOT] += 1
        try:
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
        """The child with the highest upper confidence bound; ties are broken by the rng."""
        parent = self.tree.nodes[node_id]
        loss = self.config.virtual_loss
        parent_visits = parent.visit_count + loss * (self.in_flight[node_id] - 1)

        def score(child_id: int) -> float:
            child = self.tree.nodes[child_id]
            visits = child.visit_count + loss * self.in_flight[child_id]
            return uct_score(child.value_sum, visits, parent_visits, self.config.exploration_constant)

        scores = [score(child_id) for child_id in parent.children]
        best = max(scores)
        return self.rng.choice([c for c, s in zip(parent.children, scores, strict=True) if s == best])

    async def _expand(self, node_id: int, simulation: int) -> str:
        """Add all children that the pattern allows; returns why the chain ends here, if it does."""
        depth = len(self.tree.path(node_id)) - 1
        kinds = self.pattern.next_kinds(None if node_id == ROOT else self.tree.nodes[node_id].kind)
        if depth + 1 >= self.config.max_depth:
            kinds = {kind: n for kind, n in kinds.items() if self.pattern.thoughts[kind].terminal}
        if depth >= self.config.max_depth or not kinds:
            return "max_depth"
        if self._remaining_tokens(node_id) <= 0:
            return "max_chain_tokens"
        try:
            await self._add_children(node_id, kinds, simulation)
        except ContextLengthError:
            return "context_length"
        return ""

    def _remaining_tokens(self, node_id: int) -> int:
        return self.config.max_chain_tokens - sum(self.tree.nodes[i].tokens for i in self.tree.path(node_id))

    async def _add_children(self, node_id: int, kinds: Mapping[str, int], simulation: int) -> None:
        """
        Ask for the children concurrently and add them in order; two equal samples are one child. One that does not fit
        into the context is left out: the others are paid for.

        Raises:
            ContextLengthError: None of them fits.
        """
        nodes = self.tree.nodes
        samples = []
        for kind, count in kinds.items():
            before = self.asked[node_id, kind]
            self.asked[node_id, kind] += count
            samples += [(self.pattern.thoughts[kind], before + i) for i in range(count)]
        results = await asyncio.gather(*(self._write(node_id, *s) for s in samples), return_exceptions=True)
        written = [(s, r) for s, r in zip(samples, results, strict=True) if not isinstance(r, ContextLengthError)]
        if not written:
            raise results[0]
        for _, result in written:
            if isinstance(result, BaseException):
                raise result
        for (spec, sample), completion in written:
            node = self._node(spec, sample, completion, node_id, simulation)
            if all((nodes[c].kind, nodes[c].text) != (node.kind, node.text) for c in nodes[node_id].children):
                self.tree.add(node)
                self.seeds.append(_seed(self.seeds[node_id], spec.kind, sample))
        if self.observe is not None:
            self.observe(self.tree)

    async def _write(self, parent: int, spec: ThoughtSpec, sample: int) -> Completion:
        """Ask the engine of the kind's role for one thought."""
        if spec.closed:
            return Completion("", "stop", 0, 0)
        chain = self.tree.render(parent)
        prefill = spec.prefills[sample % len(spec.prefills)]
        request = Request(
            prompt=f"{self.chat_prompts[spec.role]}{chain}{chr(10) if chain else ''}{spec.opening}{prefill}",
            stop=(spec.closing,),
            max_new_tokens=min(self.config.max_new_tokens, self._remaining_tokens(parent)),
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            seed=_seed(self.seeds[parent], spec.kind, sample),
            chat_length=len(self.chat_prompts[spec.role]),
        )
        completion = await self.engines[spec.role].generate(request)
        self.tree.requests += 1
        self.tree.prompt_tokens += completion.prompt_tokens
        self.tree.generated_tokens += completion.tokens
        self.tree.malformed += completion.malformed
        return self._cut(completion)

    def _cut(self, completion: Completion) -> Completion:
        """A thought ends where the model opens or closes any tag, whether or not the engine stopped there."""
        cut = min((i for tag in self.tags if (i := completion.text.find(tag)) >= 0), default=None)
        return completion if cut is None else replace(completion, text=completion.text[:cut], finish_reason="stop")

    def _node(self, spec: ThoughtSpec, sample: int, completion: Completion, parent: int, simulation: int) -> Node:
        unfinished = completion.finish_reason == "length" and not spec.continue_unfinished
        empty = not completion.text.strip() and not spec.closed
        nothing = completion.finish_reason if completion.finish_reason in ("malformed", "refused") else "empty"
        return Node(
            kind=spec.kind,
            tag=spec.tag,
            text=escape_control_tokens(f"{spec.prefills[sample % len(spec.prefills)]}{completion.text}".strip()),
            parent=parent,
            role=spec.role,
            simulation=simulation,
            tokens=completion.tokens,
            finish_reason=completion.finish_reason,
            log_probability=completion.log_probability,
            dead_end=nothing if empty else "unfinished" if unfinished else "",
            reasoning=escape_control_tokens(completion.reasoning) if self.config.keep_reasoning else "",
        )

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
        room = on_wrong.max_per_node - max(0, self.asked[ancestor, on_wrong.add] - expected)
        depth = len(self.tree.path(ancestor)) - 1
        # A correction needs room for itself and an answer after it.
        if room > 0 and depth + 2 <= self.config.max_depth and self._remaining_tokens(ancestor) > 0:
            with contextlib.suppress(ContextLengthError):  # no room for a correction: the answer stays wrong
                await self._add_children(ancestor, {on_wrong.add: min(on_wrong.count, room)}, simulation)


def _seed(parent_seed: int, kind: str, sample: int) -> int:
    """The seed of a request: 31 bits, since some servers take no more."""
    digest = hashlib.blake2b(f"{parent_seed}/{kind}/{sample}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
