"""The service behind the endpoint: an engine, who may use it at the same time, and the trees that it grew.

This module must not know HTTP.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version

from ..engines.chat_template import digest
from ..engines.engine import Engine, Request, Valuer, seed_of
from ..evaluation.search_answers import votes
from ..mcts.pattern import Pattern
from ..mcts.search import SearchConfig
from ..mcts.tree import Tree
from .answering import Answer, Sampling, answer_by_samples, answer_by_search, answer_plainly
from .keeping import KeptTrees
from .metrics import Metrics
from .parameters import Asked, Defaults
from .refusals import RefusalError
from .thoughts import Tell


logger = logging.getLogger(__name__)
OF_SAMPLES = ("majority", "log_probability")  # the other votes are those of a tree
RETRY_AFTER = 5  # seconds
SIMULATIONS_AN_ANSWER = 8  # a search of more has found all that there is to be found, and walks in circles


@dataclass(frozen=True)
class Limits:
    """
    What a server does at the same time, and for how long.

    Args:
        max_concurrent_requests (`int`): Requests that are worked on.
        max_queue (`int`): Requests that wait; whoever comes then is asked to come again.
        max_seconds (`float`): Of one request, its wait excepted: searches and votes give what they have, others fail.
        max_trees (`int`): Trees that can be fetched, the latest ones.
    """

    max_concurrent_requests: int = 64
    max_queue: int = 256
    max_seconds: float = 600.0
    max_trees: int = 256


@dataclass
class Service:
    """
    A model that is served.

    Args:
        engine, critic ([`Engine`]): Who writes, in either role.
        pattern ([`Pattern`]): Of searches.
        config ([`SearchConfig`]): Of searches.
        defaults ([`Defaults`]): The model's name, and what holds where a request says nothing.
        limits ([`Limits`]): How much at the same time.
        reward, answer_vote (`str`): Of a search's answers; see [`~search_answers.search_answers`].
        verifier (`str`): Whose notion of equality makes two answers one.
        keep ([`KeptTrees`], *optional*): Where trees are kept as data.
        value_model ([`ValueModel`], *optional*): Whose values are voted by, or searched with.
    """

    engine: Engine
    critic: Engine
    pattern: Pattern
    config: SearchConfig
    defaults: Defaults
    limits: Limits = field(default_factory=Limits)
    reward: str = "majority"
    answer_vote: str | None = None
    verifier: str = "math"
    keep: KeptTrees | None = None
    value_model: Valuer | None = None

    def __post_init__(self):
        self._places = asyncio.Semaphore(self.limits.max_concurrent_requests)
        self.running = self.waiting = 0
        self._trees: OrderedDict[str, tuple[str, Tree]] = OrderedDict()  # with whose they are
        self.metrics = Metrics(lambda: self.running, lambda: self.waiting, lambda: len(self._trees))
        self.fingerprint = "fp_" + digest(asdict(self.engine.identity))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """
        A place among those who are worked on; waits for one.

        Raises:
            RefusalError: Too many wait.
        """
        if self._places.locked() and self.waiting >= self.limits.max_queue:
            raise RefusalError(
                429, f"The server is busy: {self.waiting} requests wait. Ask again later.", code="rate_limit_exceeded",
                type="requests", retry_after=RETRY_AFTER,
            )  # fmt: skip
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()

    async def answer(self, asked: Asked, index: int, tell: Tell | None) -> Answer:
        """
        One choice of an answer.

        Args:
            asked ([`Asked`]): The request.
            index (`int`): Which of its choices.
            tell (`Callable`, *optional*): Is told what is new of it; see [`~answering.answer_plainly`].

        Raises:
            ContextLengthError, EngineError: As of [`~answering.answer_plainly`].
            TimeoutError: There is nothing to be given after all the time.
        """
        sampling = replace(asked.sampling, seed=seed_of(asked.sampling.seed, index))
        seconds = self.limits.max_seconds
        if asked.decoding == "samples":
            can_be = OF_SAMPLES if self.value_model is None else (*OF_SAMPLES, "value")
            of_samples = self.answer_vote if self.answer_vote in can_be else None
            return await answer_by_samples(
                self.engine, asked.messages, sampling, asked.tokens, asked.samples, answer_vote=of_samples,
                value_model=self.value_model, verifier=self.verifier, seconds=seconds, tell=tell,
            )  # fmt: skip
        if asked.decoding == "search":
            answer = await answer_by_search(
                self.engine, asked.messages, sampling, asked.tokens, self.pattern, self.config, reward=self.reward,
                answer_vote=self.answer_vote, value_model=self.value_model, verifier=self.verifier,
                critic=self.critic, max_simulations=SIMULATIONS_AN_ANSWER * asked.samples, seconds=seconds, tell=tell,
            )  # fmt: skip
            return replace(answer, tree=self._described(answer.tree, sampling))
        async with asyncio.timeout(seconds):
            if asked.decoding == "text":
                return await self._continue(asked)
            return await answer_plainly(self.engine, asked.messages, sampling, asked.tokens, tell)

    async def _continue(self, asked: Asked) -> Answer:
        """A raw prompt, continued with the client's own seed: as if it asked the engine itself."""
        drawn = asked.sampling
        top_p = drawn.top_p if drawn.temperature else 1.0
        prompt, seed = asked.messages[0]["content"], drawn.seed % 2**31
        completion = await self.engine.generate(
            Request(prompt, drawn.stop, asked.tokens, drawn.temperature, top_p, seed)
        )
        return Answer(
            completion.text, "", completion.finish_reason, completion.prompt_tokens, completion.tokens,
            completion.tokens, log_probability=completion.log_probability,
        )  # fmt: skip

    def _described(self, tree: Tree, sampling: Sampling) -> Tree:
        """A tree with where it comes from, and with the votes as rewards: while it grew not all were counted."""
        counted = votes(tree)
        for node in tree.nodes:
            if node.reward is not None and node.answer is not None:
                node.reward, node.reason = counted[node.answer] / counted.total(), "unverified: votes"
        settings = {**asdict(self.config), "temperature": sampling.temperature, "top_p": sampling.top_p}
        identities = {"generator": self.engine.identity, "critic": self.critic.identity}
        if self.value_model is not None:
            identities["value_model"] = self.value_model.identity
        models = {f"{role}_{name}": v for role, of in identities.items() for name, v in asdict(of).items()}
        plain = {name: str(value) for name, value in {"seed": sampling.seed, **settings}.items()}
        tree.provenance = {**plain, **models, "hf_treecot": version("hf-treecot"), "search_reward": self.reward}
        return tree

    def keep_trees(self, request_id: str, answers: Sequence[Answer], asked: Asked, owner: str) -> list[str]:
        """
        Keep the trees of a request's choices, to be fetched and as data.

        Args:
            request_id (`str`): Of the request.
            answers (`Sequence[Answer]`): Its choices.
            asked ([`Asked`]): The request.
            owner (`str`): Who alone may fetch them.

        Returns:
            `list[str]`: The names by which they are fetched.
        """
        names = []
        for index, answer in enumerate(answers):
            if answer.tree is None:
                continue
            names.append(f"{request_id}-{index}")
            self._trees[names[-1]] = (owner, answer.tree)
            while len(self._trees) > self.limits.max_trees:
                self._trees.popitem(last=False)
            self.metrics.simulations.inc(len(answer.tree.simulations))
            self.metrics.trees.labels(self._keep(answer.tree, asked)).inc()
        return names

    def _keep(self, tree: Tree, asked: Asked) -> str:
        if self.keep is None:
            return "no"
        if len(asked.messages) > 1:  # a problem is one question
            return "no: of a conversation"
        return "yes" if self.keep.add(tree) else "no: kept before"

    def tree(self, name: str, owner: str) -> Tree:
        """
        A tree that was grown.

        Raises:
            RefusalError: There is no such tree of this owner's.
        """
        whose, tree = self._trees.get(name, ("", None))
        if tree is None or whose != owner:
            raise RefusalError(
                404, "There is no such tree, or no longer: the latest ones are kept.", "id", "not_found"
            )
        return tree

    def log(self, request_id: str, asked: Asked | None, status: str, seconds: float, tokens: int) -> None:
        """A line about a request, without any of its text."""
        decoding = asked.decoding if asked else "-"
        self.metrics.requests.labels(decoding, status).inc()
        logger.info("%s %s %s: %d tokens, %.2f s", request_id, decoding, status, tokens, seconds)
