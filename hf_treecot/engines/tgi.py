"""text-generation-inference by its native route: raw text in, text with every token's log-probability out."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from huggingface_hub.utils import httpx

from ..errors import ContextLengthError, EngineError, InvalidInputError, TransientEngineError
from .chat_template import tokenizer_digests
from .engine import Completion, EngineIdentity, Request
from .hub_client import CLIENT_ERRORS, ServerClient, client_failure
from .neutral_settings import TGI_SETTINGS, NeutralSettings
from .sampling_check import check_sampling
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
from .server_kinds import public_name


FINISH_REASONS = {"length": "length", "eos_token": "eos", "stop_sequence": "stop"}


class TGIEngine:
    """
    A text-generation-inference server as an engine. Made by [`TGIEngine.connect`]; retries are the pool's.

    TGI takes log-probabilities after temperature and nucleus, so they are the model's own only where both are off.

    Args:
        url (`str`): Base URL, as in [`~server.check_url`].
        identity ([`EngineIdentity`]): What trees record of it.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): The model's.
        limits ([`ServerLimits`]): What it takes.
        token (`str`, *optional*): Sent with every request.
    """

    def __init__(self, url: str, identity: EngineIdentity, tokenizer, limits: ServerLimits, token: str | None = None):
        self.url, self.identity, self.tokenizer, self.limits = url, identity, tokenizer, limits
        self._token = token
        self._neutral = NeutralSettings(url, TGI_SETTINGS)
        # Its route is `/`: behind a path, without the slash, proxies would redirect.
        where = {"provider": "hf-inference", "base_url": f"{url}/"}
        self._client = ServerClient(token, limits.max_concurrent_requests, **where)

    @classmethod
    async def connect(cls, url: str, options: ServerOptions, tokenizer: Any = None) -> "TGIEngine":
        """
        Ask a server what it is, and see that it works: its tokenizer is the right one, it writes a token by the
        settings of the requests to come, and it samples.

        Args:
            url (`str`): Base URL, as in [`~server.check_url`].
            options ([`ServerOptions`]): What the user says of it.
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.

        Raises:
            InvalidInputError: It is not a TGI server, serves another model, wants a token, does not sample, or the
                tokenizer is another.
            TransientEngineError: It cannot be reached, or does not answer yet.
        """
        async with new_client(options.token) as client:
            info = await _info(client, url, options.token)
            model = check_model(url, options.model, [info["model_id"]])
            name = options.tokenizer or model
            revision = info.get("model_sha") or options.revision or ""
            tokenizer = tokenizer or load_tokenizer(
                name, options.trust_remote_code, revision=options.revision if options.tokenizer is None else None
            )
            await _compare_tokenizers(client, url, options.token, tokenizer, name, model)
        limits = ServerLimits(
            max_concurrent_requests=options.max_concurrent_requests or info["max_concurrent_requests"],
            max_input_tokens=info["max_input_tokens"],
            max_total_tokens=info["max_total_tokens"],
            max_stop_sequences=info.get("max_stop_sequences"),
        )
        identity = EngineIdentity(
            "tgi",
            public_name(model),
            revision=revision,
            dtype=str(info.get("model_dtype") or "").removeprefix("torch."),  # of older servers
            version=f"text-generation-inference {info.get('version') or ''}".strip(),
            **tokenizer_digests(tokenizer),
        )
        engine = cls(url, identity, tokenizer, limits, options.token)
        try:
            await engine.generate(Request("1", (), 1, options.temperature, options.top_p, 1))
            if options.temperature > 0:
                await check_sampling(url, engine)
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
            ContextLengthError: The prompt leaves no room in the server's limits.
            TransientEngineError: It may work when asked again.
            EngineError: It will not.
        """
        prompt_tokens = count_tokens(self.tokenizer, request.prompt)
        budget = self.limits.budget(request, prompt_tokens)
        output = await self._neutral.ask(partial(self._ask, request, budget))
        return self._read(output, request, prompt_tokens)

    async def _ask(self, request: Request, budget: int, neutral: Mapping[str, Any]) -> Any:
        try:
            return await self._client.text_generation(
                request.prompt,
                details=True,
                return_full_text=False,
                max_new_tokens=budget,
                stop=list(request.stop)[: self.limits.max_stop_sequences] or None,
                seed=request.seed or 2**31,  # TGI takes no 0; no other request has this one
                # A temperature alone is not sampled with, and a nucleus must be below 1.
                do_sample=request.temperature > 0,
                temperature=request.temperature or None,
                top_p=request.top_p if request.temperature > 0 and request.top_p < 1 else None,
                **neutral,
            )
        except CLIENT_ERRORS as error:
            raise client_failure(self.url, error, self._token) from None
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise TransientEngineError(
                f"server {self.url} sent something unreadable ({type(error).__name__})"
            ) from None

    def _read(self, output: Any, request: Request, prompt_tokens: int) -> Completion:
        details, text = output.details, output.generated_text
        tokens = getattr(details, "tokens", None)
        if not isinstance(text, str) or tokens is None or details.finish_reason not in FINISH_REASONS:
            raise TransientEngineError(f"server {self.url} sent an answer without its details")
        if len(tokens) != details.generated_tokens:
            raise TransientEngineError(f"server {self.url} sent {len(tokens)} of {details.generated_tokens} tokens")
        return read_completion(
            text,
            FINISH_REASONS[details.finish_reason],
            [token.text for token in tokens if not token.special],
            request,
            prompt_tokens,
            details.generated_tokens,
            math.fsum(token.logprob or 0.0 for token in tokens),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def _info(client: httpx.AsyncClient, url: str, token: str | None) -> dict[str, Any]:
    try:
        info = await ask_json(client, "GET", f"{url}/info", token)
    except TransientEngineError as error:
        if error.status is None or error.status >= 400:  # an answer that is not JSON is that of another server
            raise
        info = None
    except EngineError as error:
        if refusal := refused(url, error):
            raise refusal from None
        info = None
    needed = {"model_id": str, "max_concurrent_requests": int, "max_input_tokens": int, "max_total_tokens": int}
    if not isinstance(info, dict) or not all(isinstance(info.get(name), kind) for name, kind in needed.items()):
        raise InvalidInputError(
            f"server {url} is not text-generation-inference (its /info says otherwise): "
            "give TGI's base URL, or set engine to openai for vLLM, SGLang and llama.cpp"
        )
    return info


async def _compare_tokenizers(client, url: str, token: str | None, tokenizer, name: str, model: str) -> None:
    try:
        theirs = await ask_json(client, "POST", f"{url}/tokenize", token, {"inputs": SAMPLE})
        ids = [piece["id"] for piece in theirs]
    except (ContextLengthError, TransientEngineError):
        raise
    except (EngineError, TypeError, KeyError):  # an older server that does not tell
        return
    ours = [tokenizer(SAMPLE, add_special_tokens=special)["input_ids"] for special in (True, False)]
    check_tokenizer(name, model, ids in ours)
