"""The engine protocol: a request for one thought goes in, a completion comes out.

An engine knows a model and how to ask it. It must not know trees, patterns or rewards.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


SMALL_MODEL = 20_000_000  # parameters: below, on a CPU, a second thread costs more than it gives
UNFINISHED_CHARACTER = "\ufffd"  # what decoders make of a part of a character


@dataclass(frozen=True)
class Request:
    """
    One thought to be written.

    Args:
        prompt (`str`): The whole rendered prompt: chat template applied, chain so far and opening tag appended.
        stop (`tuple[str]`): Generation ends at the first of these strings; it is not part of the completion.
        max_new_tokens (`int`): Token budget.
        temperature (`float`): Sampling temperature; 0 is greedy.
        top_p (`float`): Nucleus sampling, in (0, 1]; 1 is off.
        seed (`int`): The same request gives the same completion.
        chat_length (`int`): Characters of the prompt that all requests of one tree and role share. Only a hint, by
            which requests find the server that has these characters in its cache.
    """

    prompt: str
    stop: tuple[str, ...]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    chat_length: int = 0


@dataclass(frozen=True)
class Completion:
    """
    What an engine wrote.

    Args:
        text (`str`): The text, without the stop string, and without a last character that the budget cut in two.
        finish_reason (`str`): `"stop"` (a stop string), `"eos"` (end of the turn) or `"length"` (budget hit). Of a
            chat server also `"malformed"` (no thought, however often it was asked) and `"refused"` (a content filter);
            the text is then empty.
        prompt_tokens (`int`): Tokens of the prompt.
        tokens (`int`): Tokens generated, the stop string included.
        log_probability (`float`, *optional*): Sum of the log-probabilities of the generated tokens under the model
            itself (temperature 1, no nucleus), where the engine gives it; TGI only gives those after both.
        reasoning (`str`): What a reasoning model thought before it wrote the text; its tokens are among the others.
        malformed (`int`): Replies of a chat server that held no thought and were asked for again; their tokens are
            among the others.
        cost (`float`): What it cost, where prices are given.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    log_probability: float | None = None
    reasoning: str = ""
    malformed: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class EngineIdentity:
    """
    All that a completion depends on besides the request: part of every tree's provenance. What is not known is empty.

    Args:
        engine (`str`): Which protocol: `"local"`, `"tgi"`, `"openai"`, `"chat"`.
        model (`str`): The model's name.
        revision (`str`): Commit of the model, or the fingerprint of its directory.
        dtype (`str`): Precision of the weights.
        quantization (`str`): How they are quantised.
        tokenizer (`str`): Digest of the tokenizer: what it does, not where it lies.
        chat_template (`str`): Digest of the chat template.
        version (`str`): Of the software that runs the model.
        thoughts (`str`): Of a chat server, how it writes one: `"continued"`, or `"in_words"` if it is asked for.
    """

    engine: str
    model: str
    revision: str = ""
    dtype: str = ""
    quantization: str = ""
    tokenizer: str = ""
    chat_template: str = ""
    version: str = ""
    thoughts: str = ""


Tell = Callable[[str, int], None]  # is told the text so far and the number of its tokens, in the caller's event loop


def seed_of(*parts: object) -> int:
    """The seed of a request, from what it depends on: 31 bits, since some servers take no more."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class Valuer(Protocol):
    """What knows how likely a chain is to end in a right answer: a [`~value_model.ValueModel`]."""

    identity: "EngineIdentity"

    async def value(self, prompt: str, chain: str) -> float:
        """From 0 to 1, of a problem and the assistant's turn so far."""


class Engine(Protocol):
    """
    What a search needs of an engine.

    One that `streams` also takes a [`Tell`] with a request, and calls it every few tokens. The end of what it tells
    may become another: half a character, or the beginning of a stop string.
    """

    identity: EngineIdentity

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""

    async def generate(self, request: Request) -> Completion:
        """
        Write one thought.

        Raises:
            ContextLengthError: The request does not fit into the model's context.
            EngineError: It could not be completed.
        """
