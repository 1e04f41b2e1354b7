"""Growing a tree by thoughts: asking the engines for them, reading what they wrote, adding it.

It knows patterns, engines and trees. It must not know why a thought is asked for, nor what it is worth.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..base import Problem
from ..control_tokens import escape_control_tokens
from ..engines.engine import Completion, Engine, Request, seed_of
from ..errors import ContextLengthError, EngineError
from .pattern import FREE, ROLES, Pattern, ThoughtSpec
from .search_config import SearchConfig
from .tree import ROOT, Node, Tree


MOST_TAG_TOKENS = 16  # that a model may need to open a thought
FREE_THOUGHT = ThoughtSpec(FREE, "")


class Growth:
    """
    A tree that grows by thoughts.

    Args:
        problem ([`Problem`]): What it is about.
        pattern ([`Pattern`]): Which thoughts may follow which.
        engines (`Mapping[str, Engine]`): As of [`~mcts.search.search`].
        config ([`SearchConfig`]): Budgets and sampling.
        rng (`random.Random`): Seeds the root.
        observe (`Callable`, *optional*): Called with the tree whenever thoughts were added.
    """

    def __init__(
        self,
        problem: Problem,
        pattern: Pattern,
        engines: Mapping[str, Engine],
        config: SearchConfig,
        rng: random.Random,
        observe: Callable[[Tree], None] | None = None,
    ):
        specs = pattern.thoughts.values()
        self.tags = [tag for spec in specs for tag in (spec.opening, spec.closing) if spec.tag]
        problem = replace(problem, prompt=escape_control_tokens(problem.prompt, self.tags))
        self.tree, self.observe = Tree(problem, pattern.name), observe
        self.pattern, self.engines, self.config = pattern, engines, config
        self.seeds = [rng.getrandbits(31)]  # of every node: its children's requests are seeded from it
        self.greedy = {ROOT} if config.greedy != "never" else set()  # nodes whose first child of a kind is greedy
        self.asked: Counter[tuple[int, str, str]] = Counter()  # samples of a kind and role asked for under every node
        self.chat_prompts = {role: self._chat_prompt(role) for role in engines}

    def _chat_prompt(self, role: str) -> str:
        messages = [{"role": "user", "content": self.tree.problem.prompt}]
        if system_prompt := self.pattern.system_prompt(base_role(role)):
            messages.insert(0, {"role": "system", "content": system_prompt})
        return self.engines[role].render_chat(messages)

    def remaining_tokens(self, node_id: int) -> int:
        """How many tokens may still be generated in the chain to a node."""
        return self.config.max_chain_tokens - sum(self.tree.nodes[i].tokens for i in self.tree.path(node_id))

    def count_asked(self, node_id: int, kind: str) -> int:
        """How many thoughts of a kind were asked for under a node."""
        return sum(count for key, count in self.asked.items() if key[:2] == (node_id, kind))

    async def add_children(
        self, node_id: int, kinds: Mapping[str, int], simulation: int, role: str | None = None
    ) -> list[int]:
        """
        Ask for the children concurrently and add them in order; two equal samples are one child. One that does not fit
        into the context is left out: the others are paid for.

        Args:
            node_id (`int`): Their parent.
            kinds (`Mapping[str, int]`): How many of each kind.
            simulation (`int`): Whose they are.
            role (`str`, *optional*): Who writes them, if not whose the kinds are.

        Returns:
            `list[int]`: Their nodes, of which some may have been there already.

        Raises:
            ContextLengthError: None of them fits.
        """
        nodes, samples, ids = self.tree.nodes, [], []
        for kind, count in kinds.items():
            spec = FREE_THOUGHT if kind == FREE else self.pattern.thoughts[kind]
            if role or kind == FREE:
                spec = replace(spec, role=role or nodes[node_id].role or spec.role)
            key = (node_id, kind, spec.role)
            samples += [(spec, self.asked[key] + i) for i in range(count)]
            self.asked[key] += count
        results = await asyncio.gather(*(self._write(node_id, *s) for s in samples), return_exceptions=True)
        written = [(s, r) for s, r in zip(samples, results, strict=True) if not isinstance(r, ContextLengthError)]
        if not written:
            raise results[0]
        for _, result in written:
            if isinstance(result, BaseException):
                raise result
        for (spec, sample), completion in written:
            node = self._node(spec, sample, completion, node_id, simulation)
            same = (c for c in nodes[node_id].children if (nodes[c].kind, nodes[c].text) == (node.kind, node.text))
            if (known := next(same, None)) is None:
                known = self.tree.add(node)
                self.seeds.append(self._seed(node_id, spec, sample))
                if self.config.greedy == "continuations" or self._is_greedy(node_id, sample):
                    self.greedy.add(known)
            ids.append(known)
        if self.observe is not None:
            self.observe(self.tree)
        return ids

    def _is_greedy(self, parent: int, sample: int) -> bool:
        return sample == 0 and parent in self.greedy

    def _seed(self, parent: int, spec: ThoughtSpec, sample: int) -> int:
        """Of a request and of its node. Another model than the role's own has other seeds."""
        own = spec.role in ROLES
        return seed_of(self.seeds[parent], spec.kind if own else f"{spec.kind}@{spec.role}", sample)

    def _prompt(self, parent: int, role: str) -> str:
        chain = self.tree.render(parent)
        return f"{self.chat_prompts[role]}{chain}{chr(10) if chain else ''}"

    async def _write(self, parent: int, spec: ThoughtSpec, sample: int) -> Completion:
        """Ask the engine of a role for one thought."""
        if spec.closed:
            return Completion("", "stop", 0, 0)
        ends = (spec,) if spec.kind != FREE else self.pattern.thoughts.values()
        room = self.remaining_tokens(parent)
        request = Request(
            prompt=f"{self._prompt(parent, spec.role)}{spec.opening}{spec.prefills[sample % len(spec.prefills)]}",
            stop=tuple(end.closing for end in ends if end.tag),
            max_new_tokens=min(self.config.max_new_tokens, room) if spec.tag else room,
            temperature=0.0 if self._is_greedy(parent, sample) else self.config.temperature,
            top_p=1.0 if self._is_greedy(parent, sample) else self.config.top_p,
            seed=self._seed(parent, spec, sample),
            chat_length=len(self.chat_prompts[spec.role]),
        )
        return await self._ask(request, spec.role)

    async def _ask(self, request: Request, role: str) -> Completion:
        completion = await self.engines[role].generate(request)
        self.tree.requests += 1
        self.tree.prompt_tokens += completion.prompt_tokens
        self.tree.generated_tokens += completion.tokens
        self.tree.malformed += completion.malformed
        return completion

    def _node(self, spec: ThoughtSpec, sample: int, completion: Completion, parent: int, simulation: int) -> Node:
        malformed = False
        if spec.kind == FREE:
            spec, completion = self._read_kind(spec, completion)
            malformed = not spec.tag and completion.finish_reason == "stop"  # the end of a thought that never began
        completion = self._cut(completion)
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
            dead_end=nothing if empty else "malformed" if malformed else "unfinished" if unfinished else "",
            reasoning=escape_control_tokens(completion.reasoning) if self.config.keep_reasoning else "",
        )

    def _read_kind(self, asked: ThoughtSpec, completion: Completion) -> tuple[ThoughtSpec, Completion]:
        """What kind of thought a model chose to write, and the thought without its tag; a whole reply has none."""
        text = completion.text.lstrip()
        for spec in self.pattern.thoughts.values():
            if text.startswith(spec.opening):
                return replace(spec, role=asked.role), replace(completion, text=text.removeprefix(spec.opening))
        (answer,) = (spec for spec in self.pattern.thoughts.values() if spec.terminal)
        return replace(answer, tag="", role=asked.role), completion

    def _cut(self, completion: Completion) -> Completion:
        """A thought ends where the model opens or closes any tag, whether or not the engine stopped there."""
        cut = min((i for tag in self.tags if (i := completion.text.find(tag)) >= 0), default=None)
        return completion if cut is None else replace(completion, text=completion.text[:cut], finish_reason="stop")

    async def kind_probabilities(self, node_id: int, kinds: Mapping[str, int]) -> dict[str, float]:
        """
        The model's own probabilities of the kinds that may follow a node: of the one that it would write, if that is
        among them, and what is left for the others.

        Raises:
            EngineError: The engine gives no log-probabilities.
        """
        role = ROLES[0]
        request = Request(
            self._prompt(node_id, role), (">",), MOST_TAG_TOKENS, 0.0, 1.0, self.seeds[node_id],
            len(self.chat_prompts[role]),
        )  # fmt: skip
        completion = await self._ask(request, role)
        if completion.log_probability is None:
            raise EngineError(
                "child_selection='puct' needs log-probabilities, which this engine does not give: use uct"
            )
        written = f"{completion.text.strip()}>"
        chosen = next((kind for kind in kinds if self.pattern.thoughts[kind].opening == written), None)
        if chosen is None:
            return dict.fromkeys(kinds, 1 / len(kinds))
        probability = min(1.0, math.exp(completion.log_probability))
        return {kind: probability if kind == chosen else (1 - probability) / (len(kinds) - 1) for kind in kinds}


def base_role(role: str) -> str:
    """The role that a model takes part in: `"generator"` for `"generator_2"`."""
    return next(base for base in ROLES if role.startswith(base))
