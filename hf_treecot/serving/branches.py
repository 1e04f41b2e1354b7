"""The engine of one search: it continues a conversation, and never generates more tokens than it may."""

from collections.abc import Sequence
from dataclasses import replace

from ..control_tokens import escape_control_tokens
from ..engines.engine import Completion, Engine, EngineIdentity, Request
from ..errors import ContextLengthError
from ..mcts.pattern import Pattern


class Budget:
    """
    The tokens of one search: what is being written holds as many as it may come to.

    Args:
        tokens (`int`): All of them.
        width (`int`): Thoughts that may be written at the same time: where tokens run short each has an equal share.
    """

    def __init__(self, tokens: int, width: int):
        self.left, self.width = tokens, width
        self.running = self.spent = 0
        self.prompt_tokens = 0  # of the shortest prompt: the conversation
        self.too_long: ContextLengthError | None = None


class Branches:
    """
    An engine for one search.

    Args:
        engine ([`Engine`]): Who writes.
        messages (`Sequence[dict]`): The conversation; of the last turn the search itself knows.
        pattern ([`Pattern`]): Whose tags are text in what others say.
        budget ([`Budget`]): What it may generate; one for all engines of a search.
    """

    def __init__(self, engine: Engine, messages: Sequence[dict[str, str]], pattern: Pattern, budget: Budget):
        self.engine, self.budget = engine, budget
        specs = pattern.thoughts.values()
        self._tags = [tag for spec in specs for tag in (spec.opening, spec.closing)]
        self._before = list(messages[:-1])

    @property
    def identity(self) -> EngineIdentity:
        """The engine's."""
        return self.engine.identity

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The pattern's system prompt, then that of the conversation and its turns; the last is the search's."""
        *system, last = messages
        turns = [{**turn, "content": escape_control_tokens(turn["content"], self._tags)} for turn in self._before]
        if system and turns and turns[0]["role"] == "system":
            system = [{**system[0], "content": f"{system[0]['content']}\n\n{turns.pop(0)['content']}"}]
        return self.engine.render_chat([*system, *turns, last])

    async def generate(self, request: Request) -> Completion:
        """
        Write one thought.

        Raises:
            ContextLengthError: As an engine's, or no token is left: the chain ends there.
        """
        budget = self.budget
        if budget.left < 1:
            raise ContextLengthError("the tokens of this search are spent")
        share = budget.left // max(1, budget.width - budget.running)
        room = min(request.max_new_tokens, max(1, share))
        budget.left, budget.running, used = budget.left - room, budget.running + 1, 0
        try:
            completion = await self.engine.generate(replace(request, max_new_tokens=room))
            used = completion.tokens
        except ContextLengthError as error:
            budget.too_long = error
            raise
        finally:
            budget.left, budget.running, budget.spent = (
                budget.left + room - used, budget.running - 1, budget.spent + used,
            )  # fmt: skip
        shortest = min(budget.prompt_tokens or completion.prompt_tokens, completion.prompt_tokens)
        budget.prompt_tokens = shortest
        return completion
