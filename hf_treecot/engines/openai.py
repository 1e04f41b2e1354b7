"""Servers of OpenAI's `/v1/completions`: vLLM, SGLang, llama.cpp and others. Raw text in, text out.

Ollama is asked by a route of its own, in the same words; see [`ollama`].

By plain HTTP: OpenAI's own client would add headers from the environment, credentials among them, to every request.
"""

import json
import math
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from ..errors import EngineError, InvalidInputError, TransientEngineError
from .chat_template import tokenizer_digests
from .engine import Completion, EngineIdentity, Request, Tell
from .neutral_settings import OPENAI_ANYWHERE, OPENAI_SETTINGS, NeutralSettings
from .ollama import from_ollama, to_ollama
from .sampling_check import check_sampling
from .server import (
    SAMPLE,
    ServerLimits,
    ServerOptions,
    ask_events,
    ask_json,
    check_tokenizer,
    count_tokens,
    load_tokenizer,
    longest,
    new_client,
    read_completion,
    render_chat,
)
from .server_kinds import (
    DEFAULT_SLOTS,
    LLAMA_CPP,
    MANY_SLOTS,
    OLLAMA,
    OWN_NAMES,
    SGLANG,
    TRANSFORMERS,
    Server,
    context_length,
    describe_server,
    find_server,
    public_name,
)


STREAMING = ("vllm", SGLANG, LLAMA_CPP)  # those that are known to tell the same in a stream as at once


class OpenAIEngine:
    """
    A server of OpenAI's completions as an engine. Made by [`OpenAIEngine.connect`]; retries are the pool's.

    Args:
        url (`str`): Base URL, as in [`~server.check_url`], with or without `/v1`.
        identity ([`EngineIdentity`]): What trees record of it.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): The model's.
        limits ([`ServerLimits`]): What it takes.
        token (`str`, *optional*): Sent with every request.
        server ([`~server_kinds.Server`], *optional*): Which one it is, and the model that it is asked for. By default
            one that is not known, and the model of the identity.
    """

    def __init__(
        self,
        url: str,
        identity: EngineIdentity,
        tokenizer,
        limits: ServerLimits,
        token: str | None = None,
        server: Server | None = None,
    ):
        self.url, self.identity, self.tokenizer, self.limits = _base(url), identity, tokenizer, limits
        self._token = token
        self._server = server or Server("", identity.model)
        self._neutral = NeutralSettings(self.url, OPENAI_SETTINGS.get(self._server.kind, OPENAI_ANYWHERE))
        self._client = new_client(token, limits.max_concurrent_requests)

    @classmethod
    async def connect(cls, url: str, options: ServerOptions, tokenizer: Any = None) -> "OpenAIEngine":
        """
        Ask a server what it serves, and see that it works: it writes a token by the settings of the requests to come,
        counts a prompt as we do, and samples.

        Args:
            url (`str`): Base URL, as in [`~server.check_url`].
            options ([`ServerOptions`]): What the user says of it.
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.

        Raises:
            InvalidInputError: It is not such a server, does not serve the model, wants a token, does not sample, or
                the tokenizer is another.
            TransientEngineError: It cannot be reached, or does not answer yet.
        """
        base = _base(url)
        async with new_client(options.token, 0) as client:  # a server that fails on a page may hang up after it
            server = await find_server(client, base, options.token, options.model)
            told = await describe_server(client, base, options.token, server)
            name = options.tokenizer or server.model
            tokenizer = tokenizer or _load_tokenizer(url, server, options)
            identity = {"revision": options.revision or "", **told.identity, **tokenizer_digests(tokenizer)}
            slots = options.max_concurrent_requests or told.slots or DEFAULT_SLOTS.get(server.kind, MANY_SLOTS)
            engine = cls(
                url,
                EngineIdentity("openai", public_name(server.model), **identity),
                tokenizer,
                ServerLimits(slots),
                options.token,
                server,
            )
            try:
                completion = await engine._try(options)
                counted = completion.prompt_tokens == count_tokens(tokenizer, SAMPLE)
                check_tokenizer(name, server.model, counted)
                most = await context_length(client, base, options.token, server) or longest(tokenizer)
                engine.limits = ServerLimits(slots, max_input_tokens=most, max_total_tokens=most)
                if options.temperature > 0:
                    await check_sampling(url, engine)
            except BaseException:
                await engine.close()
                raise
        return engine

    async def _try(self, options: ServerOptions) -> Completion:
        try:
            return await self.generate(Request(SAMPLE, (), 1, options.temperature, options.top_p, 1))
        except TransientEngineError:
            raise
        except EngineError as error:
            listed = ", ".join(map(repr, self._server.listed)) or "none"
            raise InvalidInputError(
                f"server {self.url} completes no text with model {self._server.model!r} ({error}): set model to one "
                f"that it serves (it lists {listed}), or engine to chat if it has no {self._server.route}"
            ) from None

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""
        return render_chat(self.tokenizer, messages)

    async def generate(self, request: Request, tell: Tell | None = None) -> Completion:
        """
        Write one thought; see [`Engine.generate`].

        Raises:
            ContextLengthError: The prompt leaves no room in the model's context.
            TransientEngineError: It may work when asked again.
            EngineError: It will not.
        """
        body = {
            "model": self._server.model,
            "prompt": request.prompt,
            "max_tokens": self.limits.budget(request, count_tokens(self.tokenizer, request.prompt)),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "logprobs": 1,  # of the token itself; some servers take no 0
        }
        if request.stop:
            body["stop"] = list(request.stop)
        answer = await self._neutral.ask(partial(self._ask, body, tell=tell))
        try:
            if self._server.kind == OLLAMA:
                answer = from_ollama(answer)
            return self._read(answer["choices"][0], answer["usage"], request)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise TransientEngineError(
                f"server {self.url} sent an answer that is not a completion ({type(error).__name__})"
            ) from None

    @property
    def streams(self) -> bool:
        """Whether it tells what it writes."""
        return self._server.kind in STREAMING

    async def _ask(self, body: Mapping[str, Any], neutral: Mapping[str, Any], tell: Tell | None) -> Any:
        if self._server.kind == OLLAMA:
            body = to_ollama(body, neutral)
        elif self._server.kind == TRANSFORMERS:
            # Without `do_sample` it is greedy at any temperature, unless the model's own generation_config has it.
            # In continuous batching there is no end of the turn but what is named here.
            ends = self.tokenizer.eos_token_id
            settings = {**neutral, "do_sample": body["temperature"] > 0, "eos_token_id": ends}
            body = {**body, "generation_config": json.dumps(settings)}
        else:
            body = {**body, **neutral}
        url = f"{self.url}{self._server.route}"
        if tell is None:
            return await ask_json(self._client, "POST", url, self._token, body)
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        return await _gather(ask_events(self._client, url, self._token, body), url, tell)

    def _read(self, choice: dict[str, Any], usage: dict[str, Any], request: Request) -> Completion:
        told, log_probabilities = usage["prompt_tokens"], choice.get("logprobs") or {}
        content = log_probabilities.get("content") or []  # as llama.cpp tells them
        values = log_probabilities.get("token_logprobs") or [entry["logprob"] for entry in content]
        pieces = log_probabilities.get("tokens") or [entry["token"] for entry in content]
        return read_completion(
            choice["text"],
            _finish_reason(choice, self._server.kind, len(values) == usage["completion_tokens"]),
            pieces,
            request,
            # Ollama leaves it out if it had all of them in its cache.
            count_tokens(self.tokenizer, request.prompt) if told is None else told,
            usage["completion_tokens"],
            math.fsum(value or 0.0 for value in values) if values else None,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _gather(events: AsyncIterator[Any], url: str, tell: Tell) -> dict[str, Any]:
    """The answer that a stream comes to, as it would have been sent at once; its text is told as it comes."""
    text, told, last, usage = "", {"tokens": [], "token_logprobs": [], "content": []}, None, None
    try:
        async for event in events:
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                text += choice.get("text") or ""
                for name, values in told.items():
                    values.extend((choice.get("logprobs") or {}).get(name) or ())
                last = choice if choice.get("finish_reason") else last
                tell(text, max(len(told["tokens"]), len(told["content"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise TransientEngineError(f"server {url} sent an event that is none ({type(error).__name__})") from None
    if last is None or usage is None:
        raise TransientEngineError(f"server {url} ended its answer early")
    return {"choices": [{**last, "text": text, "logprobs": told}], "usage": usage}


def _base(url: str) -> str:
    return url.removesuffix("/v1")


def _finish_reason(choice: dict[str, Any], kind: str = "", all_told: bool = False) -> str:
    """
    Whether the turn ended is told by vLLM (`stop_reason`) and SGLang (`matched_stop`): no stop string then. llama.cpp
    leaves the tokens of a stop string out of its log-probabilities, transformers serve leaves it in the text.
    """
    if choice["finish_reason"] not in ("stop", "length"):
        raise KeyError(choice["finish_reason"])
    if choice["finish_reason"] == "length":
        return "length"
    if kind == TRANSFORMERS or (kind == LLAMA_CPP and all_told):
        return "eos"  # if there is no stop string in the text
    told = [choice[key] for key in ("stop_reason", "matched_stop") if key in choice]
    return "eos" if told and not isinstance(told[0], str) else "stop"


def _load_tokenizer(url: str, server: Server, options: ServerOptions):
    revision = options.revision if options.tokenizer is None else None  # it is the model's
    try:
        return load_tokenizer(options.tokenizer or server.model, options.trust_remote_code, revision=revision)
    except InvalidInputError as error:
        if options.tokenizer is None and server.kind in OWN_NAMES:
            raise InvalidInputError(
                f"server {url} is {OWN_NAMES[server.kind]} ({server.model!r}): set tokenizer to the Hub name or "
                "directory of the model that was converted, for instance Qwen/Qwen2.5-7B-Instruct"
            ) from error
        raise
