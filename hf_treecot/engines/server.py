"""What the engines of all inference servers have in common: URLs, limits, tokenizers, and how an answer is read.

This module knows HTTP and what may go wrong on it. It must not know which server is asked, nor when to ask again.
"""

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub.utils import httpx

from ..errors import (
    ContextLengthError,
    EngineError,
    InvalidInputError,
    OverloadedError,
    RateLimitError,
    TransientEngineError,
)
from .chat_template import render_messages
from .engine import UNFINISHED_CHARACTER, Completion, Request
from .rate_limits import seconds_to_wait


# All that httpx raises: of a connection, of an answer that cannot be decoded, of redirects, URLs, cookies, streams.
HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
# What the servers' messages say of a prompt that is too long: TGI (two), vLLM and SGLang, llama.cpp, OpenAI.
TOO_LONG = re.compile(
    r"`inputs` must have less than|`inputs` tokens \+ `max_new_tokens` must be|context length|context size"
    r"|longer than the model|maximum (model|allowed) (length|input)|context_length_exceeded",
    re.IGNORECASE,
)
# llama.cpp's, of all requests that run at that time: their tokens together fill the cache that they share.
NO_ROOM = re.compile("context size has been exceeded", re.IGNORECASE)
# Tokenizers that differ read this differently: digits, tags, white space, other scripts.
SAMPLE = "Firstly, 1234567 + 89 = ?\n<sub-task>Überprüfe 数学   \\boxed{x_1}</sub-task>"


@dataclass(frozen=True)
class ServerOptions:
    """
    What a user says of a server.

    Args:
        token (`str`, *optional*): Sent to this server as a bearer token. Never taken from anywhere else.
        model (`str`, *optional*): The model that it must serve.
        tokenizer (`str`, *optional*): Hub name or directory of the model's tokenizer. By default that of the model
            name which the server reports.
        trust_remote_code (`bool`): Run code that comes with the tokenizer.
        max_concurrent_requests (`int`, *optional*): At most so many requests at the same time. By default what the
            server reports.
        revision (`str`, *optional*): Of the model, where the server does not tell it; its tokenizer is of it too.
        temperature, top_p (`float`): The sampling of the requests to come, with which the server is tried.
        continues (`bool`, *optional*): Of a chat server, whether it continues an assistant's turn. By default that is
            found out.
    """

    token: str | None = None
    model: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    max_concurrent_requests: int | None = None
    revision: str | None = None
    temperature: float = 0.7
    top_p: float = 0.9
    continues: bool | None = None

    def __repr__(self) -> str:
        return f"ServerOptions(model={self.model!r}, tokenizer={self.tokenizer!r})"  # never the token


@dataclass(frozen=True)
class ServerLimits:
    """
    What a server takes.

    Args:
        max_concurrent_requests (`int`): Requests at the same time.
        max_input_tokens (`int`, *optional*): Tokens of a prompt.
        max_total_tokens (`int`, *optional*): Tokens of a prompt and what is generated after it.
        max_stop_sequences (`int`, *optional*): Stop strings of a request.
    """

    max_concurrent_requests: int
    max_input_tokens: int | None = None
    max_total_tokens: int | None = None
    max_stop_sequences: int | None = None

    def budget(self, request: Request, prompt_tokens: int) -> int:
        """
        How many tokens may be generated for a request.

        Raises:
            ContextLengthError: None.
        """
        room = request.max_new_tokens
        if self.max_total_tokens is not None:
            room = min(room, self.max_total_tokens - prompt_tokens)
        if room < 1 or (self.max_input_tokens is not None and prompt_tokens > self.max_input_tokens):
            raise ContextLengthError(
                f"a prompt of {prompt_tokens} tokens does not fit: the server takes {self.max_input_tokens} of a "
                f"prompt and {self.max_total_tokens} in all"
            )
        return room


def check_url(url: str) -> str:
    """
    The base URL of a server, without a slash at its end.

    Raises:
        InvalidInputError: It is not such a URL, or holds credentials.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port  # refuses what is not a number
    except ValueError:
        raise InvalidInputError("a server's URL cannot be read: write it as http://host:port") from None
    if parts.username or parts.password:
        raise InvalidInputError(
            f"the URL of server {parts.hostname!r} holds credentials: leave them out and use the option for the token"
        )
    if not usable:
        raise InvalidInputError(f"server {url!r} is not a base URL: write it as http://host:port")
    return url.rstrip("/")


def load_tokenizer(
    name: str, trust_remote_code: bool = False, *, revision: str | None = None, needs_chat_template: bool = True
):
    """
    The tokenizer that prompts are rendered with and tokens are counted by.

    Args:
        name (`str`): Hub name or directory.
        trust_remote_code (`bool`): Run code that comes with it.
        revision (`str`, *optional*): Of the repository on the Hub.
        needs_chat_template (`bool`): Whether prompts will be rendered with it.

    Raises:
        InvalidInputError: There is none of this name, or it has no chat template and needs one.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"tokenizer {name!r} cannot be loaded ({reason}): name one by its Hub name or directory"
        ) from error
    if needs_chat_template and tokenizer.chat_template is None:
        raise InvalidInputError(f"tokenizer {name!r} has no chat template: name that of an instruction-tuned model")
    return tokenizer


def render_chat(tokenizer, messages: list[dict[str, str]]) -> str:
    """The rendered prompt of a conversation, without the first token that servers add by themselves."""
    text = render_messages(tokenizer, messages)
    first = tokenizer("x")["input_ids"][0]
    adds_first = tokenizer.bos_token_id is not None and first == tokenizer.bos_token_id
    return text.removeprefix(tokenizer.bos_token) if adds_first else text


def longest(tokenizer) -> int | None:
    """Tokens that its model takes, where a server does not tell; None if the tokenizer does not either."""
    length = tokenizer.model_max_length
    return length if length < 10**9 else None  # transformers has a huge number for unknown


def count_tokens(tokenizer, prompt: str) -> int:
    """Tokens of a prompt, as a server counts them."""
    return len(tokenizer(prompt)["input_ids"])


def read_completion(
    text: str, finish_reason: str, pieces: Sequence[str], request: Request, prompt_tokens: int, tokens: int,
    log_probability: float | None,
) -> Completion:  # fmt: skip
    """
    A completion from what a server says, cut at the first stop string.

    Args:
        text (`str`): The text, with or without the stop string at its end.
        finish_reason (`str`): `"stop"`, `"eos"` or `"length"`.
        pieces (`Sequence[str]`): The texts of the generated tokens; empty if the server does not tell.
        request ([`Request`]): What was asked.
        prompt_tokens, tokens (`int`): Their numbers.
        log_probability (`float`, *optional*): Sum over the generated tokens.

    Raises:
        TransientEngineError: The text lacks a part of what was generated.
    """
    written, without_last = "".join(pieces), "".join(pieces[:-1])
    if finish_reason == "length":
        # A budget that ends inside a character: TGI then sends no text at all, others a sign for every part of it.
        text, written, without_last = (
            part.rstrip(UNFINISHED_CHARACTER) for part in (text or written, written, without_last)
        )
    stopped = any(stop in text for stop in request.stop)
    # The stop string may be left out. So may the end of the turn, a token that can have a text of its own.
    ended = any(stop in written for stop in request.stop)
    whole = {_cut(written, request.stop).strip()} if ended else {written.strip(), without_last.strip()}
    if pieces and not stopped and text.strip() not in whole and written.strip().startswith(text.strip()):
        raise TransientEngineError(f"the server sent only {len(text)} characters of a longer text")
    return Completion(
        _cut(text, request.stop), "stop" if stopped else finish_reason, prompt_tokens, tokens, log_probability
    )


def _cut(text: str, stops: Sequence[str]) -> str:
    return text[: min((i for stop in stops if (i := text.find(stop)) >= 0), default=len(text))]


def failure(url: str, response: httpx.Response, token: str | None) -> EngineError:
    """What an answer that is not a success means, as the exception to be raised."""
    try:
        body = response.json()
        message = body.get("error") or body.get("message") or body.get("detail") if isinstance(body, dict) else body
        message = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, RecursionError):
        message = response.text
    status = response.status_code
    text = redact(f"server {url} said {status}: {' '.join(str(message).split())[:300]}", token)
    if status in (400, 413, 422) and TOO_LONG.search(text):
        return ContextLengthError(text, status)
    if status == 500 and NO_ROOM.search(text):
        return OverloadedError(text, status=status)
    wait = seconds_to_wait(response.headers)
    if status == 429 and wait:
        return RateLimitError(text, wait, status)
    if status in (408, 409, 424, 425, 429) or status >= 500:
        return TransientEngineError(text, wait, status)
    return EngineError(text, status)


def redact(text: str, token: str | None) -> str:
    """A text without the token, should a server have repeated it."""
    return text.replace(token, "[token]") if token else text


def new_client(token: str | None, max_concurrent_requests: int = 1) -> httpx.AsyncClient:
    """An HTTP client that never waits for a connection: who may ask at the same time is not decided here."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=max_concurrent_requests)
    return httpx.AsyncClient(headers=headers, timeout=None, limits=limits)


async def ask_json(client: httpx.AsyncClient, method: str, url: str, token: str | None, body: Any = None) -> Any:
    """
    Send a request and read the JSON that comes back.

    Raises:
        TransientEngineError, ContextLengthError, EngineError: See [`failure`].
    """
    try:
        response = await client.request(method, url, json=body)
    except HTTPX_ERRORS as error:
        raise TransientEngineError(describe(url, error)) from None
    if not response.is_success:
        raise failure(url, response, token)
    try:
        return response.json()
    except (ValueError, RecursionError):
        raise TransientEngineError(
            f"server {url} sent something that is not JSON", status=response.status_code
        ) from None


async def ask_events(client: httpx.AsyncClient, url: str, token: str | None, body: Any) -> AsyncIterator[Any]:
    """
    Send a request and read the server-sent events that come back, each a JSON object.

    Raises:
        TransientEngineError, ContextLengthError, EngineError: See [`failure`]; also for an event that is an error.
    """
    try:
        async with client.stream("POST", url, json=body) as response:
            if not response.is_success:
                await response.aread()
                raise failure(url, response, token)
            async for line in response.aiter_lines():
                if not line.startswith("data:") or (data := line.removeprefix("data:").strip()) == "[DONE]":
                    continue
                event = json.loads(data)
                if isinstance(event, dict) and (error := event.get("error")):
                    text = error.get("message", error) if isinstance(error, dict) else error
                    raise TransientEngineError(redact(f"server {url} said: {str(text)[:300]}", token))
                yield event
    except HTTPX_ERRORS as error:
        raise TransientEngineError(describe(url, error)) from None
    except (ValueError, RecursionError):
        raise TransientEngineError(f"server {url} sent an event that is not JSON") from None


def describe(url: str, error: Exception) -> str:
    """One line about a connection that failed."""
    return f"server {url} cannot be asked ({type(error).__name__}: {' '.join(str(error).split())})"


def refused(url: str, error: EngineError) -> InvalidInputError | None:
    """What a user can do about it if a server wants another token; None if that is not the matter."""
    if error.status in (401, 403):
        return InvalidInputError(
            f"server {url} refuses the token, or wants one ({error}): set TREECOT_SERVER_TOKEN "
            "(of the critic's servers: TREECOT_CRITIC_TOKEN)"
        )
    return None


def check_tokenizer(name: str, model: str, equal: bool) -> None:
    """
    Raises:
        InvalidInputError: A tokenizer reads a sample text in another way than the server does.
    """
    if not equal:
        raise InvalidInputError(
            f"tokenizer {name!r} is not that of model {model!r}, which the server uses: set tokenizer to that"
        )


def check_model(url: str, wanted: str | None, served: Sequence[str]) -> str:
    """
    The model of a server.

    Raises:
        InvalidInputError: It does not serve the model that the user wants, or serves several and none was named.
    """
    if wanted is None and len(served) == 1:
        return served[0]
    if wanted not in served:
        does = "named none" if wanted is None else f"asked for {wanted!r}"
        raise InvalidInputError(
            f"server {url} serves {', '.join(map(repr, served))} and you {does}: set model to what it serves"
        )
    return wanted
