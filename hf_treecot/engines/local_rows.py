"""A request in the local engine's batch: what it has so far, when it is done, and how its caller is answered."""

import asyncio
import contextlib
import math
from dataclasses import dataclass, field

import numpy

from ..errors import EngineError
from .engine import UNFINISHED_CHARACTER, Completion, Request, Tell


TELL_EVERY = 4  # tokens: a text is decoded from its beginning each time


@dataclass
class Row:
    """A request in the running batch."""

    request: Request
    prompt: list[int]
    future: asyncio.Future
    loop: asyncio.AbstractEventLoop
    uniforms: numpy.ndarray  # one number for every token
    budget: int
    tell: Tell | None = None  # is told the text so far
    generated: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    done: bool = False  # its caller has an answer

    @classmethod
    def of(cls, request: Request, prompt: list[int], budget: int, tell: Tell | None = None) -> "Row":
        """A request of the running event loop."""
        loop = asyncio.get_running_loop()
        uniforms = numpy.random.default_rng(request.seed).random(budget)
        return cls(request, prompt, loop.create_future(), loop, uniforms, budget, tell)

    @property
    def tokens(self) -> list[int]:
        """The prompt and what is generated so far."""
        return self.prompt + self.generated

    @property
    def length(self) -> int:
        """How many they are."""
        return len(self.prompt) + len(self.generated)

    def answer(self, result: Completion | EngineError) -> None:
        """Answer the caller in its own event loop."""
        self.done = True

        def answer() -> None:
            if not self.future.done():
                if isinstance(result, EngineError):
                    self.future.set_exception(result)
                else:
                    self.future.set_result(result)

        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(answer)

    def tell_so_far(self, text: str) -> None:
        """Tell the caller, in its own event loop, what is written so far."""
        count = len(self.generated)

        def tell() -> None:
            if not self.future.done():
                self.tell(text, count)

        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody listens any more
            self.loop.call_soon_threadsafe(tell)


class RowReader:
    """
    Reads what rows have generated.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): The model's.
        end_tokens (`set[int]`): Those that end a turn.
    """

    def __init__(self, tokenizer, end_tokens: set[int]):
        self.tokenizer, self.end_tokens = tokenizer, end_tokens
        self._pieces: dict[int, str] = {}

    def advance(self, row: Row, token: int, log_probability: float) -> bool:
        """
        Give a row its next token; whether it is done, and answered.

        Raises:
            Exception: The token has no log-probability, or cannot be decoded; the row is as it was.
        """
        if math.isnan(log_probability):
            raise FloatingPointError("its scores are not numbers")
        before = row.log_probability
        row.generated.append(token)
        row.log_probability += log_probability
        try:
            return row.future.cancelled() or self._finish(row)
        except Exception:
            row.generated.pop()
            row.log_probability = before
            raise

    def _finish(self, row: Row) -> bool:
        token = row.generated[-1]
        if token in self.end_tokens:
            reason, text = "eos", self._text(row, len(row.generated) - 1)
        elif (text := self._stopped(row, token)) is not None:
            reason = "stop"
        elif len(row.generated) >= row.budget:
            reason, text = "length", self._text(row, len(row.generated)).rstrip(UNFINISHED_CHARACTER)
        else:
            if row.tell is not None and len(row.generated) % TELL_EVERY == 1:
                row.tell_so_far(self._text(row, len(row.generated)))
            return False
        row.answer(Completion(text, reason, len(row.prompt), len(row.generated), row.log_probability))
        return True

    def _stopped(self, row: Row, token: int) -> str | None:
        """The text before the first stop string, which can only be complete when its last character has come."""
        piece = self._piece(token)
        if not any(stop[-1] in piece for stop in row.request.stop):
            return None
        text = self._text(row, len(row.generated))
        cut = min((i for stop in row.request.stop if (i := text.find(stop)) >= 0), default=None)
        return None if cut is None else text[:cut]

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token])
        return self._pieces[token]

    def _text(self, row: Row, count: int) -> str:
        """The first `count` generated tokens as text, decoded in context, since some tokenizers trim a first space."""
        context = row.prompt[-4:]
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        before = self.tokenizer.decode(context, **options)
        return self.tokenizer.decode(context + row.generated[:count], **options)[len(before) :]
