"""Servers of OpenAI's `/v1/completions`: vLLM, SGLang, llama.cpp and others. Raw text in, text out.

By plain HTTP: OpenAI's own client would add headers from the environment, credentials among them, to every request.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

from ..errors import EngineError, InvalidInputError, TransientEngineError
from .chat_template import tokenizer_digests
from .engine import Completion, EngineIdentity, Request
from .neutral_settings import OPENAI_ANYWHERE, OPENAI_SETTINGS, NeutralSettings
from .server import (
    SAMPLE,
    ServerLimits,
    ServerOptions,
    ask_json,
    check_model,
    check_tokenizer,
    count_tokens,
    load_tokenizer,
    new_client,
    read_completion,
    refused,
    render_chat,
)


DEFAULT_CONCURRENCY = 64  # these servers do not tell; what they cannot run at once waits there


class OpenAIEngine:
    """
    A server of OpenAI's completions as an engine. Made by [`OpenAIEngine.connect`]; retries are the pool's.

    Args:
        url (`str`): Base URL, as in [`~server.check_url`], with or without `/v1`.
        identity ([`EngineIdentity`]): What trees record of it.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): The model's.
        limits ([`ServerLimits`]): What it takes.
        token (`str`, *optional*): Sent with every request.
        neutral (`Mapping[str, Any]`): Settings by which the server's own do nothing.
    """

    def __init__(
        self,
        url: str,
        identity: EngineIdentity,
        tokenizer,
        limits: ServerLimits,
        token: str | None = None,
        neutral: Mapping[str, Any] = OPENAI_ANYWHERE,
    ):
        self.url, self.identity, self.tokenizer, self.limits = _base(url), identity, tokenizer, limits
        self._token = token
        self._neutral = NeutralSettings(self.url, neutral)
        self._client = new_client(token, limits.max_concurrent_requests)

    @classmethod
    async def connect(cls, url: str, options: ServerOptions, tokenizer: Any = None) -> "OpenAIEngine":
        """
        Ask a server what it serves, and see that it works: it writes a token, and counts a prompt as we do.

        Args:
            url (`str`): Base URL, as in [`~server.check_url`].
            options ([`ServerOptions`]): What the user says of it.
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.

        Raises:
            InvalidInputError: It is not such a server, does not serve the model, wants a token, or the tokenizer is
                another.
            TransientEngineError: It cannot be reached, or does not answer yet.
        """
        async with new_client(options.token) as client:
            models = await _models(client, _base(url), options.token)
            model = check_model(url, options.model, list(models))
            owner = models[model].get("owned_by")
            told = await _identity(client, _base(url), options.token, owner)
        name = options.tokenizer or model
        tokenizer = tokenizer or load_tokenizer(name, options.trust_remote_code)
        max_length = models[model].get("max_model_len")
        limits = ServerLimits(
            max_concurrent_requests=options.max_concurrent_requests or DEFAULT_CONCURRENCY,
            max_input_tokens=max_length,
            max_total_tokens=max_length,
        )
        identity = EngineIdentity("openai", model, **told, **tokenizer_digests(tokenizer))
        engine = cls(url, identity, tokenizer, limits, options.token, OPENAI_SETTINGS.get(owner, OPENAI_ANYWHERE))
        try:
            sample = Request(SAMPLE, (), 1, 0.0, 1.0, 1)
            try:
                completion = await engine.generate(sample)
            except TransientEngineError:
                raise
            except EngineError as error:
                raise InvalidInputError(
                    f"server {url} lists models but completes no text ({error}): it must serve /v1/completions"
                ) from None
            check_tokenizer(name, model, completion.prompt_tokens == count_tokens(tokenizer, SAMPLE))
        except BaseException:
            await engine.close()
            raise
        return engine

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """The rendered prompt of a conversation, ready for the assistant's turn."""
        return render_chat(self.tokenizer, messages)

    async def generate(self, request: Request) -> Completion:
        """
        Write one thought; see [`Engine.generate`].

        Raises:
            ContextLengthError: The prompt leaves no room in the model's context.
            TransientEngineError: It may work when asked again.
            EngineError: It will not.
        """
        body = {
            "model": self.identity.model,
            "prompt": request.prompt,
            "max_tokens": self.limits.budget(request, count_tokens(self.tokenizer, request.prompt)),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "logprobs": 1,  # of the token itself; some servers take no 0
        }
        if request.stop:
            body["stop"] = list(request.stop)
        answer = await self._neutral.ask(partial(self._ask, body))
        try:
            return self._read(answer["choices"][0], answer["usage"], request)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise TransientEngineError(
                f"server {self.url} sent an answer that is not a completion ({type(error).__name__})"
            ) from None

    async def _ask(self, body: Mapping[str, Any], neutral: Mapping[str, Any]) -> Any:
        return await ask_json(self._client, "POST", f"{self.url}/v1/completions", self._token, {**body, **neutral})

    def _read(self, choice: dict[str, Any], usage: dict[str, Any], request: Request) -> Completion:
        log_probabilities = choice.get("logprobs") or {}
        content = log_probabilities.get("content") or []  # as llama.cpp tells them
        values = log_probabilities.get("token_logprobs") or [entry["logprob"] for entry in content]
        pieces = log_probabilities.get("tokens") or [entry["token"] for entry in content]
        return read_completion(
            choice["text"],
            _finish_reason(choice),
            pieces,
            request,
            usage["prompt_tokens"],
            usage["completion_tokens"],
            math.fsum(value or 0.0 for value in values) if values else None,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _base(url: str) -> str:
    return url.removesuffix("/v1")


def _finish_reason(choice: dict[str, Any]) -> str:
    """Whether the turn ended is told by vLLM (`stop_reason`) and SGLang (`matched_stop`): no stop string then."""
    if choice["finish_reason"] not in ("stop", "length"):
        raise KeyError(choice["finish_reason"])
    if choice["finish_reason"] == "length":
        return "length"
    told = [choice[key] for key in ("stop_reason", "matched_stop") if key in choice]
    return "eos" if told and not isinstance(told[0], str) else "stop"


async def _identity(client, url: str, token: str | None, owner: str | None) -> dict[str, str]:
    """Revision, precision, quantisation and version, as far as a server tells them."""
    if owner == "sglang":
        info = await _tell(client, f"{url}/get_server_info", token)
        version = info.get("version")
        found = {name: info.get(name) for name in ("revision", "dtype", "quantization")}
    elif owner == "llamacpp":
        info = await _tell(client, f"{url}/props", token)
        version = info.get("build_info")
        # The file's name has its quantisation; its place on the server's disk is nobody's business.
        found = {"quantization": info.get("model_ftype") or PurePath(str(info.get("model_path") or "")).name}
    else:
        version, found = (await _tell(client, f"{url}/version", token)).get("version"), {}
    found["version"] = " ".join(str(part) for part in (owner, version) if part)
    return {name: str(value) for name, value in found.items() if value}


async def _tell(client, url: str, token: str | None) -> dict[str, Any]:
    """What a server says of itself; nothing if it has no such page. One that fails is asked again later."""
    try:
        info = await ask_json(client, "GET", url, token)
    except TransientEngineError as error:
        if error.status in (None, 408, 429, 502, 503, 504):
            raise
        return {}
    except EngineError:
        return {}
    return info if isinstance(info, dict) else {}


async def _models(client, url: str, token: str | None) -> dict[str, dict]:
    try:
        answer = await ask_json(client, "GET", f"{url}/v1/models", token)
        return {model["id"]: model for model in answer["data"]}
    except TransientEngineError as error:
        if error.status is None or error.status >= 400:  # an answer that is not JSON is that of another server
            raise
    except EngineError as error:
        if refusal := refused(url, error):
            raise refusal from None
    except (KeyError, TypeError):
        pass  # refused below
    raise InvalidInputError(
        f"server {url} does not speak OpenAI's protocol (there is no /v1/models): "
        "give its base URL, or set engine to tgi for text-generation-inference"
    )
