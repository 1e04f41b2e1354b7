"""Regrowing: from where the chains of a tree change their mind, new continuations that do not; the shortest right one
takes the place of the rest.

After Retro-Search (Lu et al., 2025, arXiv:2504.04383). It must not know where completions come from, nor what becomes
of the tree.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..control_tokens import escape_control_tokens
from ..engines.engine import Completion, Engine, Request, seed_of
from ..errors import ContextLengthError, InvalidInputError, UnverifiableError
from ..mcts.kinds import CHANGES_OF_MIND
from ..mcts.search import Verify
from ..mcts.tree import Node, Tree
from ..mcts.turning_words import opening_kind
from ..selection.formats import write_beginning
from ..think_blocks import CLOSING, opened_by
from .cutting import cut_thoughts
from .growing import add_chain, trace_pattern


FORMATS = ("tags", "think")
SWITCHES = CHANGES_OF_MIND | {"hypothesis"}  # kinds at which a chain leaves its way
TAGS = {spec.tag: kind for kind, spec in trace_pattern().thoughts.items()}
TAGGED = re.compile(rf"\s*<({'|'.join(TAGS)})>(.*?)(?:</\1>|(?=<(?:{'|'.join(TAGS)})>)|\Z)", re.DOTALL)
STRAY = [f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")]  # within a thought they are text
ANSWER_END = "</answer>"


@dataclass(frozen=True)
class RegrowConfig:
    """
    How trees are regrown.

    Args:
        samples (`int`): Continuations from every change of mind. One of them answers at once.
        max_chains (`int`): Right chains of a tree that are gone through, the longest first.
        continue_in (`str`): How chains are shown to the model and gone on with: `"tags"`, for models that know them
            or follow the system prompt that explains them, or `"think"`, for reasoning models.
        max_new_tokens (`int`): Generated tokens of a continuation.
        temperature, top_p (`float`): Sampling.

    Raises:
        InvalidInputError: A value is out of its range.
    """

    samples: int = field(default=4, metadata={"help": "Continuations from every change of mind."})
    max_chains: int = field(default=4, metadata={"help": "Right chains of a tree that are gone through."})
    continue_in: str = field(
        default="tags",
        metadata={"help": "How chains are gone on with: tags, or think (prose in a think block: reasoning models)."},
    )
    max_new_tokens: int = field(default=2048, metadata={"help": "Generated tokens of a continuation."})
    temperature: float = field(default=0.7, metadata={"help": "Sampling temperature."})
    top_p: float = field(default=0.95, metadata={"help": "Nucleus."})

    def __post_init__(self):
        for name in ("samples", "max_chains", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}={getattr(self, name)} is out of range: it must be at least 1")
        if self.continue_in not in FORMATS:
            raise InvalidInputError(f"continue_in={self.continue_in!r} is unknown: use one of {', '.join(FORMATS)}")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise InvalidInputError(
                f"temperature={self.temperature}, top_p={self.top_p}: they must be at least 0, and in (0, 1]"
            )


async def regrow(
    tree: Tree,
    engine: Engine,
    verify: Verify,
    config: RegrowConfig,
    count_tokens: Callable[[str], int],
    seed: int = 0,
    dropped: Counter[str] | None = None,
) -> Tree:
    """
    A tree with new continuations, right and wrong ones.

    Every right chain is gone through from its beginning. Before each change of mind the model is asked to go on from
    there without one; if the shortest right continuation of all that the tree has then is shorter than the rest of the
    chain, the chain goes on by it, and the changes of mind after that are looked at. What was there stays: selection
    chooses (`--sft shortest`, pairs).

    Unlike in the source, a change of mind is not suppressed by the model's logits, which servers do not give: a
    continuation begins with the tag of a thought, or of the answer; in prose, one that opens with a change of mind
    all the same is thrown away.

    Args:
        tree ([`Tree`]): Is not changed.
        engine ([`Engine`]): Who goes on.
        verify (`Callable`): `await verify(answer_text, problem)` gives a [`Verdict`].
        config ([`RegrowConfig`]): Samples, limits, format.
        count_tokens (`Callable[[str], int]`): Tokens of a text, by which lengths are compared.
        seed (`int`): Of the samples. The same seed and completions give the same tree.
        dropped (`Counter[str]`, *optional*): Counts continuations that came to nothing, by reason.

    Raises:
        EngineError, VerifierError: Whatever an engine or the verifier raised; but one that cannot be verified is
            dropped.
    """
    grown = Tree.from_record(tree.to_record())
    run = _Regrowth(grown, engine, verify, config, count_tokens, seed, Counter() if dropped is None else dropped)
    right = sorted(grown.answers(right=True), key=lambda leaf: (-length(grown, leaf, count_tokens), leaf))
    for leaf in right[: config.max_chains]:
        await run.go_through(leaf)
    grown.stop_reason = "regrown"
    return grown


def length(tree: Tree, leaf: int, count_tokens: Callable[[str], int]) -> int:
    """Tokens of the thoughts of a chain, prefills included, which nodes do not count."""
    return sum(count_tokens(tree.nodes[i].text) for i in tree.path(leaf)[1:])


@dataclass
class _Regrowth:
    """One tree that is being regrown."""

    tree: Tree
    engine: Engine
    verify: Verify
    config: RegrowConfig
    count_tokens: Callable[[str], int]
    seed: int
    dropped: Counter[str]
    done: set[int] = field(default_factory=set)  # nodes that were gone on from

    async def go_through(self, leaf: int) -> None:
        """Shorten a right chain at each of its changes of mind."""
        depth = 1
        while (path := self.tree.path(leaf)) and (switch := self._switch(path, depth)) is not None:
            before = path[switch - 1]
            if before not in self.done:
                self.done.add(before)
                await self._go_on(before)
            below = [i for i in self.tree.answers(right=True) if before in self.tree.path(i)]
            lengths = {i: length(self.tree, i, self.count_tokens) for i in below}
            leaf = min(below, key=lambda i: (lengths[i], i != leaf, i))
            depth = switch + 1

    def _switch(self, path: Sequence[int], depth: int) -> int | None:
        """The first place from `depth` on at which a chain changes its mind; not at its beginning."""
        places = range(max(depth, 2), len(path))
        return next((place for place in places if self.tree.nodes[path[place]].kind in SWITCHES), None)

    async def _go_on(self, node_id: int) -> None:
        """Add what the model makes of the chain up to a node, if it changes its mind no more."""
        nodes = [self.tree.nodes[i] for i in self.tree.path(node_id)[1:]]
        kinds = ["answer" if sample == 0 else "thinking" for sample in range(self.config.samples)]
        written = await asyncio.gather(*(self._write(nodes, kind, i) for i, kind in enumerate(kinds)))
        chains = []
        for kind, completion in zip(kinds, written, strict=True):
            found = "continuation without room" if completion is None else self._read(kind, completion)
            if isinstance(found, str):
                self.dropped[found] += 1
            elif found not in chains:
                chains.append(found)
        verdicts = await asyncio.gather(
            *(self.verify(chain[-1][1], self.tree.problem) for chain in chains), return_exceptions=True
        )
        for chain, verdict in zip(chains, verdicts, strict=True):
            if isinstance(verdict, UnverifiableError):
                self.dropped["continuation on which the verifier failed"] += 1
            elif isinstance(verdict, BaseException):
                raise verdict
            else:
                add_chain(self.tree, node_id, chain, trace_pattern(), verdict, self.count_tokens)

    async def _write(self, nodes: Sequence[Node], kind: str, sample: int) -> Completion | None:
        """
        Ask for the rest of a chain, beginning with a thought or with the answer; None if there is no room. A server
        that can only be asked for one thought at a time is asked for one, and then for the answer.
        """
        if kind == "answer" or self.engine.identity.thoughts != "in_words":
            return await self._ask(nodes, kind, sample, ANSWER_END)
        tag = trace_pattern().thoughts[kind].tag
        thought = await self._ask(nodes, kind, sample, f"</{tag}>")
        if thought is None or thought.finish_reason == "length" or not thought.text.strip():
            return thought
        answer = await self._ask([*nodes, Node(kind, tag, thought.text.strip(), 0)], "answer", sample, ANSWER_END)
        return answer and replace(answer, text=f"{thought.text}</{tag}>\n<answer>{answer.text}")

    async def _ask(self, nodes: Sequence[Node], kind: str, sample: int, stop: str) -> Completion | None:
        in_tags, problem = self.config.continue_in == "tags", self.tree.problem
        messages = [{"role": "user", "content": problem.prompt}]
        if in_tags:
            messages.insert(0, {"role": "system", "content": trace_pattern().system_prompt("generator")})
        prompt = self.engine.render_chat(messages)
        beginning = write_beginning(nodes, self.config.continue_in, is_answering=kind == "answer")
        opening = f"<{trace_pattern().thoughts[kind].tag}>" if in_tags else ""
        request = Request(
            prompt=f"{prompt if in_tags else prompt.removesuffix(opened_by(prompt))}{beginning}{opening}",
            stop=(stop,) if in_tags else (),
            max_new_tokens=self.config.max_new_tokens,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            seed=seed_of(self.seed, problem.problem_id, beginning, kind, sample),
            chat_length=len(prompt),
        )
        try:
            completion = await self.engine.generate(request)
        except ContextLengthError:
            return None
        self.tree.requests += 1
        self.tree.prompt_tokens += completion.prompt_tokens
        self.tree.generated_tokens += completion.tokens
        return completion

    def _read(self, kind: str, completion: Completion) -> list[tuple[str, str]] | str:
        """The thoughts of a continuation, the answer last; or why there are none."""
        if self.config.continue_in == "tags":
            text = f"<{trace_pattern().thoughts[kind].tag}>{completion.text}"
            thoughts = [(TAGS[match[1]], match[2].strip()) for match in TAGGED.finditer(text)]
            end = next((i for i, (kind, _) in enumerate(thoughts) if kind == "answer"), None)
            thoughts = thoughts[: end + 1] if end is not None else []
        elif kind == "answer":
            thoughts = [("answer", completion.text.strip())]
        else:
            thought, closed, said = completion.text.partition(CLOSING)
            thoughts = [*cut_thoughts(thought), ("answer", said.strip())] if closed else []
        if not thoughts or (completion.finish_reason == "length" and thoughts[-1][0] == "answer"):
            return "continuation that comes to no end"
        if not all(text for _, text in thoughts):
            return "continuation with an empty thought"
        if thoughts[0][0] in SWITCHES or opening_kind(thoughts[0][1]) in SWITCHES:
            return "continuation that changes its mind at once"
        return [(kind, escape_control_tokens(text, STRAY)) for kind, text in thoughts]
