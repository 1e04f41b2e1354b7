"""One text of a model, told while it is written, by every engine: those that tell, and those that do not."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ..engines.engine import UNFINISHED_CHARACTER, Completion, Engine, Request, Tell
from ..errors import ContextLengthError, TransientEngineError


PIECE = 16  # tokens that an engine which does not tell is asked for at a time


async def write(engine: Engine, request: Request, tell: Tell | None = None) -> Completion:
    """
    A completion, told while it is written. What the Space's Talk tab streams with.

    Args:
        engine ([`Engine`]): Who writes. One that `streams` tells by itself. One that continues raw text is asked for
            16 tokens at a time, each piece with a seed of its own, so that above temperature 0 it writes something
            else than in one piece. A chat server is asked once, and its text told when it is there.
        request ([`Request`]): What to write.
        tell (`Callable`, *optional*): Called with the text so far, which later calls only extend, and the number of
            its tokens. Without it the engine is asked once.

    Raises:
        ContextLengthError: The prompt does not fit. A context that is full later ends the text, by `"length"`.
        EngineError: It could not be completed.
    """
    if tell is None:
        return await engine.generate(request)

    told = ""

    def settle(text: str, tokens: int) -> None:
        nonlocal told
        told = settled(text, request.stop)
        tell(told, tokens)

    if getattr(engine, "streams", False):
        completion = await engine.generate(request, settle)
    elif engine.identity.engine == "chat":  # each piece might be an answer of its own
        completion = await engine.generate(request)
    else:
        completion = await _in_pieces(engine, request, settle)
    if not completion.text.startswith(told):  # a server failed, and when it was asked again wrote something else
        raise TransientEngineError("what was written is not what was told of it before")
    tell(completion.text, completion.tokens)
    return completion


async def _in_pieces(engine: Engine, request: Request, tell: Tell) -> Completion:
    seeds = random.Random(request.seed)
    text, tokens, prompt_tokens, reason, sure = "", 0, 0, "length", 0.0
    while tokens < request.max_new_tokens and reason == "length":
        budget = min(PIECE, request.max_new_tokens - tokens)
        prompt = request.prompt + text
        try:
            piece = await engine.generate(
                replace(request, prompt=prompt, max_new_tokens=budget, seed=seeds.getrandbits(31))
            )
        except ContextLengthError:
            if not tokens:
                raise
            break
        prompt_tokens = prompt_tokens or piece.prompt_tokens
        # Half a character at the end is left for the next piece to write in full.
        text += piece.text.rstrip(UNFINISHED_CHARACTER) or piece.text
        tokens, reason = tokens + piece.tokens, piece.finish_reason
        sure = None if sure is None or piece.log_probability is None else sure + piece.log_probability
        cut = _first(text, request.stop)
        if cut is not None:  # one that began in the piece before
            text, reason = text[:cut], "stop"
        tell(text, tokens)
    return Completion(text.rstrip(UNFINISHED_CHARACTER), reason, prompt_tokens, tokens, sure)


def settled(text: str, endings: Sequence[str]) -> str:
    """What of a text that grows will stay: without half a character, or the beginning of an ending, at its end."""
    text = text.rstrip(UNFINISHED_CHARACTER)
    cut = _first(text, endings)
    if cut is not None:
        return text[:cut]
    begun = (n for ending in endings for n in range(1, len(ending)) if text.endswith(ending[:n]))
    return text[: len(text) - max(begun, default=0)]


def cut(text: str, stop: Sequence[str]) -> str:
    """A text up to its first stop string."""
    return text[: _first(text, stop)]


def _first(text: str, stop: Sequence[str]) -> int | None:
    return min((i for string in stop if (i := text.find(string)) >= 0), default=None)
