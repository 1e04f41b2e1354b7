"""Any engine as a lighteval model: greedy, sampled, or by search; with conversations, and with a memory.

With a journaled engine, an evaluation that was interrupted goes on where it was. lighteval's own cache is not used:
its key holds neither prompt nor data.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from tqdm.asyncio import tqdm_asyncio

from ..base import Problem
from ..engines.engine import Engine, Valuer, seed_of
from ..errors import InvalidInputError
from ..mcts.pattern import Pattern, load_pattern
from ..mcts.search import SearchConfig, check_stopping
from . import lighteval_compat
from .budgets import Within, check_context, within_budgets
from .judges import load_judge, load_reward, valued
from .lighteval_tasks import Outputs
from .outputs import reply
from .search_answers import default_vote, search_answers
from .voting import Vote, check_answer_vote, check_value_model, is_untempered, weigh


logger = logging.getLogger(__name__)
SPENDING = ("child_selection", "branching", "stopping", "greedy")  # of a search's tokens
DECODINGS = ("greedy", "sample", "mcts")


class EngineModelConfig(ModelConfig):
    """
    What results record of how a model was decoded.

    Args:
        model_name (`str`): Name in results.
        engine, revision, dtype, quantization, tokenizer, chat_template, version, thoughts (`str`): Who wrote; see
            [`~engines.engine.EngineIdentity`].
        decoding (`str`): `"greedy"`, `"sample"` or `"mcts"`.
        num_samples (`int`): Outputs of a problem when sampling; for a search, those whose tokens it may spend.
        temperature, top_p (`float`): Sampling.
        seed (`int`): Of the samples and searches.
        pattern (`str`): Of a search.
        child_selection, branching, stopping, greedy (`str`): Of a search; see [`~mcts.search_config.SearchConfig`].
        search_reward (`str`): Of a search.
        answer_vote (`str`, *optional*): Which answer a search gives, and how samples are weighed; see
            [`~evaluation.voting`].
        value_model (`str`, *optional*): Hub name or directory of the value model whose values are voted by or searched
            with.
        value_revision (`str`): What tells its weights from others.
        voted_by (`str`): How answers were chosen in fact.
        token_budget (`int`, *optional*): Of a search; default: what the samples of the same problem take.
        thought_tokens (`int`): Generated tokens of one thought of a search.
        budgets (`list[int]`): Tokens of thinking after which an answer is forced, beside the outputs as they are.
    """

    engine: str = ""
    revision: str = ""
    dtype: str = ""
    quantization: str = ""
    tokenizer: str = ""
    chat_template: str = ""
    version: str = ""
    thoughts: str = ""
    decoding: str = "greedy"
    num_samples: int = 1
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    pattern: str = "reflection"
    child_selection: str = "uct"
    branching: str = "pattern"
    stopping: str = "rewards"
    greedy: str = "never"
    search_reward: str = "majority"
    answer_vote: str | None = None
    value_model: str | None = None
    value_revision: str = ""
    voted_by: str = ""
    token_budget: int | None = None
    thought_tokens: int = 512
    budgets: list[int] = []


@dataclass
class _Sample:
    """One output in the making: the replies so far."""

    texts: list[str] = field(default_factory=list)
    token_counts: list[int] = field(default_factory=list)
    finish_reasons: list[str] = field(default_factory=list)
    log_probability: float | None = 0.0


class EngineModel(LightevalModel):
    """
    An engine as a lighteval model.

    Args:
        open_engine (`Callable`): Gives a context that opens who writes, and closes it: some engines live in one event
            loop, and lighteval runs each round of answers in a new one.
        config ([`EngineModelConfig`]): How.
        value_model ([`ValueModel`], *optional*): The one that `config` names.

    Raises:
        InvalidInputError: No such decoding, pattern or reward.
    """

    def __init__(
        self,
        open_engine: Callable[[], AbstractAsyncContextManager[Engine]],
        config: EngineModelConfig,
        value_model: Valuer | None = None,
    ):
        if config.decoding not in DECODINGS:
            raise InvalidInputError(f"decoding={config.decoding!r} is unknown: use one of {', '.join(DECODINGS)}")
        if config.token_budget is not None and config.token_budget < 1:
            raise InvalidInputError(f"token_budget={config.token_budget} is out of range: it must be at least 1")
        self.open_engine, self.config, self.value_model = open_engine, config, value_model
        if value_model is not None:
            config.value_revision = value_model.identity.revision
        self.pattern: Pattern = load_pattern(config.pattern)
        self.search = SearchConfig(
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=config.thought_tokens,
            **{name: getattr(config, name) for name in SPENDING},
        )
        check_stopping(self.search, self.pattern)
        load_judge(config.search_reward)
        check_answer_vote(config.answer_vote)
        if config.decoding == "mcts":
            check_value_model(config.value_model, config.search_reward, config.answer_vote)
        if config.decoding == "sample" and config.answer_vote == "value" and config.value_model is None:
            raise InvalidInputError("answer_vote='value' needs a value_model for samples: `treecot value` trains one")
        if config.decoding == "sample" and config.answer_vote == "reward_model" and ":" not in config.search_reward:
            raise InvalidInputError(
                "answer_vote='reward_model' needs a function for samples: give search_reward=package.module:function"
            )
        lighteval_compat.do_without_cache(self)

    @property
    def tokenizer(self):
        """Not lighteval's business: engines render and count."""
        raise NotImplementedError

    @property
    def add_special_tokens(self) -> bool:
        """Chat templates have them."""
        return False

    @property
    def max_length(self) -> int:
        """Not lighteval's business either."""
        raise NotImplementedError

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """Answer problems, by whatever decoding; the name is lighteval's."""

        async def run() -> list[ModelResponse]:
            async with self.open_engine() as engine:
                for name, value in asdict(engine.identity).items():
                    if name != "model":  # which the config has a name of its own for
                        setattr(self.config, name, value)
                if self.config.budgets:
                    await check_context(engine, self.config.budgets)
                return await tqdm_asyncio.gather(
                    *(self._answer(engine, doc) for doc in docs), desc=self.config.model_name, unit="problem"
                )

        return asyncio.run(run())

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Not a way of answering."""
        raise NotImplementedError

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        """Not a way of answering."""
        raise NotImplementedError

    async def _answer(self, engine: Engine, doc: Doc) -> Outputs:
        problems = [Problem(**problem) for problem in doc.specific["problems"]]
        turns = [doc.query, *(json.loads(problem.answer)["turns"][-1] for problem in problems[1:])]
        if self.config.decoding == "mcts":
            return await self._search(engine, doc, problems, turns)
        count = 1 if self.config.decoding == "greedy" else self.config.num_samples
        samples = await self._samples(engine, doc, problems[0], turns, count)
        return Outputs(
            input=doc.query,
            text=[text for sample in samples for text in sample.texts],
            token_counts=[count for sample in samples for count in sample.token_counts],
            finish_reasons=[reason for sample in samples for reason in sample.finish_reasons],
            within=await self._within(engine, doc, samples) if self.config.budgets and len(turns) == 1 else [],
            **(await self._ballot(engine, turns[-1], samples) if count > 1 else {}),
        )

    async def _within(self, engine: Engine, doc: Doc, samples: Sequence[_Sample]) -> list[list[Within]]:
        prompt = engine.render_chat([{"role": "user", "content": doc.query}])
        asked = (
            within_budgets(
                engine, prompt, sample.texts[0], sample.token_counts[0], sample.finish_reasons[0] == "length",
                self.config.budgets,
            )
            for sample in samples
        )  # fmt: skip
        return list(await asyncio.gather(*asked))

    async def _ballot(self, engine: Engine, question: str, samples: Sequence[_Sample]) -> dict:
        """What every sample may be weighed by in a vote, and how it is."""
        ballot = [Vote(None, str(sample.texts), sample.log_probability) for sample in samples]
        reward, answer_vote = self.config.search_reward, self.config.answer_vote
        if answer_vote is None:
            is_usable = is_untempered(engine.identity, self.config.temperature, self.config.top_p)
            answer_vote = default_vote(ballot, reward if ":" in reward else "majority", is_usable)
        if answer_vote == "reward_model":
            function = load_reward(reward)
            rewards = [await asyncio.to_thread(function, question, sample.texts[-1]) for sample in samples]
            ballot = [replace(vote, reward=reward) for vote, reward in zip(ballot, rewards, strict=True)]
        if answer_vote == "value":
            ballot = await valued(ballot, self.value_model, question, (sample.texts[-1] for sample in samples))
        self._record_vote(answer_vote)
        weigh(ballot, answer_vote)  # raises if it cannot
        return {"ballot": ballot, "answer_vote": answer_vote}

    def _record_vote(self, answer_vote: str) -> None:
        """Results tell how answers were chosen; it is said once if that is not as one would expect."""
        if not self.config.voted_by and (self.config.answer_vote, answer_vote) == (None, "majority"):
            logger.warning(
                "%s: every answer has one vote, since its engine gives no log-probabilities, or those after "
                "temperature and nucleus: sample at temperature 1 and top_p 1, or set answer_vote=log_probability",
                self.config.model_name,
            )
        self.config.voted_by = answer_vote

    async def _samples(
        self, engine: Engine, doc: Doc, problem: Problem, turns: Sequence[str], count: int
    ) -> list[_Sample]:
        names = (f"{problem.problem_id}/{index}" for index in range(count))
        return list(await asyncio.gather(*(self._converse(engine, doc, name, turns) for name in names)))

    async def _converse(self, engine: Engine, doc: Doc, name: str, turns: Sequence[str]) -> _Sample:
        """One output: a reply to every turn, with the replies so far as history."""
        temperature = 0.0 if self.config.decoding == "greedy" else self.config.temperature
        top_p = self.config.top_p if temperature else 1.0
        messages, sample = [], _Sample()
        for number, turn in enumerate(turns):
            messages.append({"role": "user", "content": turn})
            seed = seed_of(self.config.seed, name, number)
            completion = await reply(engine, messages, doc.generation_size, temperature, top_p, seed)
            messages.append({"role": "assistant", "content": completion.text})
            sample.texts.append(completion.text)
            sample.token_counts.append(completion.tokens)
            sample.finish_reasons.append(completion.finish_reason)
            if completion.tokens:
                known = None not in (sample.log_probability, completion.log_probability)
                sample.log_probability = sample.log_probability + completion.log_probability if known else None
        return sample

    async def _search(self, engine: Engine, doc: Doc, problems: Sequence[Problem], turns: Sequence[str]) -> Outputs:
        if len(problems) > 1:
            raise InvalidInputError(
                f"decoding='mcts' cannot answer {doc.task_name!r}: a search has one turn; use greedy or sample"
            )
        budget = self.config.token_budget
        if budget is None:
            samples = await self._samples(engine, doc, problems[0], turns, self.config.num_samples)
            budget = sum(sum(sample.token_counts) for sample in samples)
        problem = Problem(**{**doc.specific["problems"][0], "prompt": doc.query})
        found = await search_answers(
            problem, engine, self.pattern, self.search, max(budget, 1), reward=self.config.search_reward,
            answer_vote=self.config.answer_vote, value_model=self.value_model, seed=self.config.seed,
        )  # fmt: skip
        self._record_vote(found.answer_vote)
        return Outputs(
            input=doc.query,
            text=found.chains,
            token_counts=found.tokens,
            finish_reasons=["stop" if found.has_answer else "length"] * len(found.chains),
            is_search=True,
            found_at=found.found_at,
            # One that stopped of itself has spent less than it might.
            budget=budget if self.config.stopping == "rewards" else min(budget, found.spent),
            ballot=found.ballot,
        )
