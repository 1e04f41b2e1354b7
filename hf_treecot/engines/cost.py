"""What completions cost, where tokens are paid for, and a limit on it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..errors import CostLimitError, InvalidInputError
from .engine import Completion
from .journal import Journal


MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """
    What a model costs, in whatever currency.

    Args:
        prompt, completion (`float`): Of a million tokens that it reads, and that it writes.
    """

    prompt: float
    completion: float

    def __post_init__(self):
        for name in ("prompt", "completion"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInputError(f"{name}_price={getattr(self, name)} is out of range: it must be 0 or more")

    def of(self, completion: Completion) -> float:
        """What a completion costs, by the tokens that the server reports."""
        return (self.prompt * completion.prompt_tokens + self.completion * completion.tokens) / MILLION


class CostLimit:
    """
    What a run may cost, over all its engines and all the times that it was started.

    Args:
        journal ([`Journal`]): Knows what has been spent.
        max_cost (`float`, *optional*): No request is begun once so much has been. None: no limit.
    """

    def __init__(self, journal: Journal, max_cost: float | None = None):
        self.journal, self.max_cost = journal, math.inf if max_cost is None else max_cost
        self._running = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """
        Around every request. Near the limit those that run are waited for: they are paid for in any case.

        Raises:
            CostLimitError: No more may be spent.
        """
        async with self._changed:
            while self.journal.cost + self._expected >= self.max_cost:
                if not self._running:
                    raise CostLimitError(
                        f"max_cost={self.max_cost:g} is reached ({self.journal.cost:.4g} spent): raise it to go on"
                    )
                await self._changed.wait()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            async with self._changed:
                self._changed.notify_all()

    @property
    def _expected(self) -> float:
        """What those that run will have cost, at the mean of those before them."""
        return self._running * self.journal.cost / max(self.journal.count, 1)
