"""Talking to models: streamed chains of thoughts, and the same question by tree search without a gold answer.

Everything asynchronous runs on one loop in a thread of its own; handlers are plain generators, as ZeroGPU wants them.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ..cli.engines import open_engines, server_arguments
from ..engines.engine import Engine, Request, seed_of
from ..engines.local import LocalEngine
from ..errors import EngineError, EnginesDownError, InvalidInputError
from ..evaluation.search_answers import votes
from ..mcts.pattern import load_pattern
from ..mcts.search import SearchConfig
from ..mcts.tree import Tree
from ..serving.answering import Sampling, answer_by_search
from ..serving.thoughts import opened_by
from ..serving.writing import write
from ..starter.built_in import model_path


REFRESH = 0.15  # seconds
PATIENCE = 5.0  # seconds to wait for a server that is down


@dataclass(frozen=True)
class Limits:
    """
    What one visitor may ask for at a time.

    Args:
        question (`int`): Characters.
        tokens (`int`): Generated tokens of an answer.
        search_tokens (`int`): Generated tokens of a search.
        simulations (`int`): Of a search.
        seconds (`float`): Wall time.
    """

    question: int = 4000
    tokens: int = 2048
    search_tokens: int = 50_000
    simulations: int = 64
    seconds: float = 300.0

    def check_question(self, question: str) -> str:
        """The question, or an [`InvalidInputError`]."""
        if not question.strip():
            raise InvalidInputError("the question is empty: ask something")
        if len(question) > self.question:
            raise InvalidInputError(
                f"the question has {len(question):,} characters: at most {self.question:,} are taken; shorten it"
            )
        return question.strip()


@dataclass
class Models:
    """
    The models that may be talked to. Two of them stay loaded.

    Args:
        names (`list[str]`): `"starter"`, directories, Hub names, or servers; see [`server_arguments`].
        any_other (`bool`): Whether a visitor may name another one. Not on a public Space.
    """

    names: list[str]
    any_other: bool = False
    _loaded: dict[str, LocalEngine] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Engine]:
        """
        A model by its name.

        Raises:
            InvalidInputError: It may not be used, cannot be loaded, or its server is down.
        """
        if not name or (name not in self.names and not self.any_other):
            raise InvalidInputError(f"model {name!r} is not offered here: use one of {', '.join(self.names)}")
        if server := server_arguments(name):
            # A token is for the servers that were offered, not for any that a visitor names.
            token = None if name in self.names else ""
            options = replace(server, start_timeout=PATIENCE, max_outage=PATIENCE, server_token=token)
            async with open_engines(options) as engines:
                yield engines["generator"]
        else:
            yield await asyncio.to_thread(self.load, name)

    def load(self, name: str) -> LocalEngine:
        """A model in this process."""
        with self._lock:
            if name not in self._loaded:
                while len(self._loaded) >= 2:  # nobody uses it: one visitor generates at a time
                    self._loaded.pop(next(iter(self._loaded))).close()
                self._loaded[name] = LocalEngine.from_pretrained(model_path(name))
            self._loaded[name] = self._loaded.pop(name)  # the last one used goes last
            return self._loaded[name]


@dataclass
class Output:
    """
    An answer while it is written.

    Args:
        text (`str`): All of it so far, thoughts with their tags.
        tokens (`int`): Of it.
        note (`str`): How it stands, in words.
        error (`str`): Why it failed.
        seconds (`float`): Since the model began to write.
        is_done (`bool`): Whether nothing more comes.
        before (`list[dict]`): The conversation that it answers in.
    """

    text: str = ""
    tokens: int = 0
    note: str = "waiting"
    error: str = ""
    seconds: float = 0.0
    is_done: bool = False
    before: list[dict[str, str]] = field(default_factory=list)


async def write_answers(outputs: Sequence[tuple[str, Output]], *args) -> None:
    """[`write_answer`] of several models at the same time; one that fails says so in its output, and others go on."""

    async def write(name: str, output: Output) -> None:
        try:
            await write_answer(name, output, *args)
        except (InvalidInputError, EngineError, EnginesDownError) as error:
            output.error, output.note, output.is_done = str(error), "failed", True

    await asyncio.gather(*(write(name, output) for name, output in outputs))


async def write_answer(
    name: str, output: Output, models: Models, question: str, limits: Limits, temperature: float, seed: int
) -> None:
    """
    Stream an answer into an `Output`, by every engine; see [`~serving.writing.write`].

    Raises:
        InvalidInputError, EngineError: The model cannot be used, or failed.
    """
    output.note = "loading"
    async with models.open(name) as engine:
        output.note = "writing"
        prompt = engine.render_chat([*output.before, {"role": "user", "content": question}])
        started, opened = time.monotonic(), opened_by(prompt)

        def tell(text: str, tokens: int) -> None:
            output.text, output.tokens, output.seconds = opened + text, tokens, time.monotonic() - started

        request = Request(prompt, (), limits.tokens, temperature, 1.0, seed_of(seed))
        completion = await write(engine, request, tell)
    output.is_done = True
    if completion.finish_reason != "length":
        output.note = "done"
    elif completion.tokens < limits.tokens:
        output.note = "the model's context is full"
    else:
        output.note = f"the budget of {limits.tokens} tokens is spent"


@dataclass
class Found:
    """What a search has come to so far."""

    tree: Tree | None = None
    note: str = "waiting"
    error: str = ""
    seconds: float = 0.0

    @property
    def votes(self) -> Counter[str]:
        """Answers that mean the same, counted."""
        return votes(self.tree) if self.tree else Counter()

    def best_chain(self) -> str:
        """Of the chains with most votes, the one whose way was visited with most success."""
        if not (counted := self.votes):
            return ""
        nodes = self.tree.nodes
        winner = counted.most_common(1)[0][0]
        leaves = [i for i, node in enumerate(nodes) if node.reward is not None and node.answer == winner]
        return self.tree.render(max(leaves, key=lambda i: nodes[nodes[i].parent].value))


async def search_answer(
    models: Models, name: str, question: str, pattern: str, limits: Limits, seed: int, found: Found
) -> None:
    """
    Search for an answer that nobody knows, as an endpoint does; see [`~serving.answering.answer_by_search`].

    Raises:
        InvalidInputError, EngineError: The model cannot be used, or failed.
    """

    def observe(tree: Tree) -> None:
        found.tree, found.seconds = tree, time.monotonic() - started
        found.note = f"simulation {len(tree.simulations)} of {limits.simulations}"

    found.note = "loading"
    async with models.open(name) as engine:
        found.note, started = "searching", time.monotonic()
        await answer_by_search(
            engine, [{"role": "user", "content": question}], Sampling(0.7, 0.9, seed), limits.search_tokens,
            load_pattern(pattern),
            SearchConfig(max_new_tokens=min(256, limits.tokens), max_chain_tokens=limits.tokens),
            max_simulations=limits.simulations, observe=observe,
        )  # fmt: skip
    is_spent = found.tree is not None and found.tree.generated_tokens >= limits.search_tokens
    found.note = f"{'the budget is spent' if is_spent else 'done'}: {found.note}"


def follow(start: Callable[[], object], seconds: float) -> Iterator[None]:
    """
    Run a coroutine to its end, coming back now and then so that what it has done can be shown.

    Args:
        start (`Callable`): Makes the coroutine.
        seconds (`float`): After so long it is stopped.

    Raises:
        InvalidInputError: It took too long. Or whatever the coroutine raised.
    """

    async def limited() -> None:
        async with asyncio.timeout(seconds):
            await start()

    future = asyncio.run_coroutine_threadsafe(limited(), _loop(os.getpid()))
    try:
        while not future.done():
            wait([future], timeout=REFRESH)
            yield
        future.result()
    except TimeoutError as error:
        raise InvalidInputError(f"it took more than {seconds:.0f} s and was stopped: ask for less") from error
    finally:
        future.cancel()  # the visitor may have gone


@lru_cache(maxsize=1)
def _loop(_process: int) -> asyncio.AbstractEventLoop:
    """A running loop of this process: ZeroGPU forks, and threads do not survive that."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="treecot-talk", daemon=True).start()
    return loop
