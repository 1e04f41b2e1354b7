"""Servers and providers of `/v1/chat/completions`, among them the Inference Providers of Hugging Face.

A thought is continued where the server continues an assistant's turn, as in the other engines; where it does not, the
thought is asked for in words (`chat_thoughts`). Which of both is found out by `chat_probes`.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import EngineError, EnginesDownError, RateLimitError, TransientEngineError
from .chat_models import check_provider, row_tokenizer, useless
from .chat_probes import ROOM, continues_turns, observe_seeds, takes_system_turns
from .chat_template import in_user_turn
from .chat_thoughts import Messages, Question, Reply, read_prompt, split_reasoning, write_prompt
from .engine import Completion, EngineIdentity, Request, seed_of
from .hub_client import CLIENT_ERRORS, ServerClient, client_failure
from .neutral_settings import OPENAI_ANYWHERE, OPENAI_SETTINGS, STANDARD, VLLM, NeutralSettings
from .rate_limits import seconds_to_wait
from .sampling_check import check_sampling
from .server import ServerLimits, ServerOptions, count_tokens, new_client
from .server_kinds import (
    DEFAULT_SLOTS,
    LLAMA_CPP,
    MANY_SLOTS,
    SGLANG,
    Server,
    context_length,
    describe_server,
    find_server,
    public_name,
)


FEW_SLOTS = 16  # of providers, which do not tell, and count requests a minute
TURN = 8  # tokens that a template puts around a turn, and more
MOST_REPEATS = 2  # of the question for a thought, after replies that hold none
SETTINGS = {**OPENAI_SETTINGS, "provider": {**STANDARD, **VLLM}}
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}  # of vLLM and SGLang; others ignore it
FILTERED = re.compile(r"content[_ ]?filter|content management policy|content policy|moderation|flagged", re.IGNORECASE)
NO_MONEY = re.compile(r"insufficient_quota|exceeded your (current quota|monthly)|billing|credit", re.IGNORECASE)
FINISH_REASONS = {
    "length": "length", "max_tokens": "length", "content_filter": "refused", "refusal": "refused", "safety": "refused",
}  # fmt: skip


class ChatEngine:
    """
    A chat server, or a provider, as an engine. Made by [`ChatEngine.connect`]; retries are the pool's, except for a
    reply that holds no thought.

    Args:
        url (`str`): Base URL, or the name of a provider.
        identity ([`EngineIdentity`]): What trees record of it; its `thoughts` says how they are asked for.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): By which rows are measured.
        limits ([`ServerLimits`]): What it takes.
        token (`str`, *optional*): Sent with every request.
        server ([`~server_kinds.Server`], *optional*): Which it is, and the model as it calls it.
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
        self.url, self.identity, self.tokenizer, self.limits = url, identity, tokenizer, limits
        self.remarks: dict[str, str] = {}  # found out at the start; may differ from one start to the next
        self.reasons = False  # whether it thinks before it answers
        self.system_in_user_turn = False
        self._token = token
        self._server = server or Server("", identity.model)
        self._neutral = NeutralSettings(url, SETTINGS.get(self._server.kind, OPENAI_ANYWHERE))
        self._budget_field, self._sends_seed = "max_tokens", True
        where = {"provider": "hf-inference", "base_url": url} if "://" in url else {"provider": url}
        self.quiet_until = 0.0  # by its own word it takes no request before this moment
        self._client = ServerClient(token, limits.max_concurrent_requests, self._note_limits, **where)

    @classmethod
    async def connect(cls, url: str, options: ServerOptions, tokenizer: Any = None) -> "ChatEngine":
        """
        See that a server answers, and find out how: whether it continues an answer, keeps to seeds, and thinks before.

        Args:
            url (`str`): Base URL, as in [`~server.check_url`], or the name of a provider.
            options ([`ServerOptions`]): What the user says of it.
            tokenizer (`~transformers.PreTrainedTokenizerBase`, *optional*): Instead of loading one.

        Raises:
            InvalidInputError: It is not such a server, does not have the model, wants a token, or a tokenizer is
                missing.
            TransientEngineError: It cannot be reached, or does not answer yet.
            EnginesDownError: It wants to be paid.
        """
        if "://" in url:
            server, identity, limits = await _describe(url, options)
        else:
            await asyncio.to_thread(check_provider, url, options)
            server, identity = Server("provider", options.model), {"version": f"provider {url}"}
            limits = ServerLimits(options.max_concurrent_requests or FEW_SLOTS)
        tokenizer = tokenizer or row_tokenizer(options, server.model)
        identity = EngineIdentity(
            "chat", public_name(server.model), **{"revision": options.revision or "", **identity}
        )
        engine = cls(url, identity, tokenizer, limits, options.token, server)
        try:
            await engine._probe(options)
        except BaseException:
            await engine.close()
            raise
        return engine

    async def _probe(self, options: ServerOptions) -> None:
        sampling = Request("", (), ROOM, options.temperature, options.top_p, 1)
        ask = self._ask_patiently
        try:
            self.system_in_user_turn = not await takes_system_turns(ask, sampling)
        except TransientEngineError:
            raise
        except EngineError as error:
            raise useless(self.url, self._server, error) from None
        seeds = await observe_seeds(ask, sampling)
        self.reasons, self.remarks["seeds"] = seeds.reasons, seeds.remark
        if options.temperature > 0 and seeds.alike and not seeds.reasons:
            await check_sampling(self.url, self)
        continues = await continues_turns(ask, sampling) if options.continues is None else options.continues
        self.identity = replace(self.identity, thoughts="continued" if continues else "in_words")

    async def _ask_patiently(self, *question: Any) -> Reply:
        """What the pool does for thoughts, of which these questions are none."""
        while True:
            await asyncio.sleep(max(0.0, self.quiet_until - time.monotonic()))
            with contextlib.suppress(RateLimitError):
                return await self.ask(*question)

    def render_chat(self, messages: Messages) -> str:
        """The conversation as it is sent, as text, ready for the assistant's turn to be appended."""
        return write_prompt(messages)

    async def generate(self, request: Request) -> Completion:
        """
        Write one thought; see [`Engine.generate`].

        Raises:
            ContextLengthError: It does not fit into the model's context.
            TransientEngineError: It may work when asked again.
            EngineError: It will not.
            EnginesDownError: The provider wants to be paid.
        """
        messages, so_far = read_prompt(request.prompt)
        if self.system_in_user_turn and messages[0]["role"] == "system" and len(messages) > 1:
            messages = in_user_turn(messages)
        if not so_far:
            return (await self.ask(messages, request)).completion()
        if self.identity.thoughts == "continued":
            messages = [*messages, {"role": "assistant", "content": so_far}]
            return (await self.ask(messages, request, continues=True)).completion()
        return await self._ask_in_words(Question.about(messages, so_far, request.stop), request)

    async def _ask_in_words(self, question: Question, request: Request) -> Completion:
        # In its reasoning a model may well name the tag, which must not end it there.
        request = replace(request, stop=()) if self.reasons else request
        replies: list[Reply] = []
        thought = None
        while thought is None and len(replies) <= MOST_REPEATS:
            seed = seed_of(request.seed, len(replies)) if replies else request.seed
            ask = self._ask_patiently if replies else self.ask  # what has been answered is paid for
            replies.append(await ask(question.messages, replace(request, seed=seed)))
            thought = question.read(replies[-1], has_stop=bool(request.stop))
        malformed = len(replies) - (thought is not None)
        return replace(
            thought or Completion("", "malformed", 0, 0),
            malformed=malformed,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            tokens=sum(reply.tokens for reply in replies),
        )

    async def ask(self, messages: Messages, request: Request, continues: bool = False) -> Reply:
        """
        Send a conversation and read the reply.

        Args:
            messages (`list[dict]`): The conversation, instead of the request's prompt.
            request ([`Request`]): Stop strings, budget, sampling.
            continues (`bool`): Whether the last turn is to be continued.
        """
        try:
            output = await self._neutral.ask(partial(self._send, messages, request, CONTINUE if continues else {}))
        except TransientEngineError as error:
            if error.status == 429 and NO_MONEY.search(str(error)):
                raise self._unpaid(error) from None
            raise
        except EngineError as error:
            if error.status == 402:
                raise self._unpaid(error) from None
            if error.status in (400, 403) and FILTERED.search(str(error)):
                return Reply("", "", "refused", 0, 0)
            if error.status in (400, 422) and self._adapts(str(error)):
                return await self.ask(messages, request, continues)
            raise
        try:
            return self._read(output, messages, request, continues)
        except (TypeError, LookupError, AttributeError) as error:
            raise TransientEngineError(
                f"server {self.url} sent an answer that is not a completion ({type(error).__name__})"
            ) from None

    async def _send(
        self, messages: Messages, request: Request, more: Mapping[str, Any], neutral: Mapping[str, Any]
    ) -> Any:
        try:
            return await self._client.chat_completion(
                messages,
                model=self._server.model,
                temperature=request.temperature,
                top_p=request.top_p,
                stop=list(request.stop) or None,
                seed=request.seed if self._sends_seed else None,
                extra_body={self._budget_field: self._budget(messages, request), **neutral, **more},
            )
        except CLIENT_ERRORS as error:
            raise client_failure(self.url, error, self._token) from None
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise TransientEngineError(
                f"server {self.url} sent something unreadable ({type(error).__name__})", status=200
            ) from None

    def _budget(self, messages: Messages, request: Request) -> int:
        """What fits into the context, roughly; a prompt that is too long is the server's to refuse."""
        if self.limits.max_total_tokens is None:
            return request.max_new_tokens
        prompt = sum(count_tokens(self.tokenizer, message["content"]) + TURN for message in messages)
        return max(1, min(request.max_new_tokens, self.limits.max_total_tokens - prompt))

    def _read(self, output: Any, messages: Messages, request: Request, continues: bool) -> Reply:
        choice = output.choices[0]
        message, reason = choice.message, _finish_reason(choice)
        told = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or ""
        content = message.content or ""
        if continues:  # llama.cpp's server repeats what it goes on with
            content = content.removeprefix(messages[-1]["content"])
        thought, text = split_reasoning(content)
        cut = min((i for stop in request.stop if (i := text.find(stop)) >= 0), default=None)
        if cut is not None:
            text, reason = text[:cut], "stop"
        if getattr(message, "refusal", None) or reason == "refused":
            text, reason = "", "refused"
        usage = output.usage
        if usage is None:  # the server does not count
            asked = "".join(m["content"] for m in messages)
            counts = count_tokens(self.tokenizer, asked), count_tokens(self.tokenizer, f"{told}{content}")
        else:
            counts = usage.prompt_tokens, usage.completion_tokens
        return Reply(text, f"{told}{thought}", reason, *counts)

    def _note_limits(self, headers: Mapping[str, str]) -> None:
        if seconds := seconds_to_wait(headers):
            self.quiet_until = max(self.quiet_until, time.monotonic() + seconds)

    def _adapts(self, message: str) -> bool:
        """Whether a request that was refused can be asked in another way, from now on."""
        if self._budget_field == "max_tokens" and "max_completion_tokens" in message:  # as OpenAI calls it
            self._budget_field = "max_completion_tokens"
            return True
        if self._sends_seed and re.search(r"\bseed\b", message):
            self._sends_seed = False
            return True
        return False

    def _unpaid(self, error: EngineError) -> EnginesDownError:
        return EnginesDownError(f"{error}: pay, or wait for the next period, and run the same command again")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _finish_reason(choice: Any) -> str:
    """Whether the turn ended by itself is told by vLLM (`stop_reason`) and SGLang (`matched_stop`): no string then."""
    if not isinstance(choice.finish_reason, str):
        raise TypeError(choice.finish_reason)
    told = [getattr(choice, name) for name in ("stop_reason", "matched_stop") if hasattr(choice, name)]
    ended = "eos" if told and not isinstance(told[0], str) else "stop"
    return FINISH_REASONS.get(choice.finish_reason.lower(), ended)


async def _describe(url: str, options: ServerOptions) -> tuple[Server, dict[str, str], ServerLimits]:
    """Which server it is, what it tells of itself, and what it takes."""
    base = url.removesuffix("/v1")
    async with new_client(options.token) as client:
        server = await find_server(client, base, options.token, options.model, must_list=False)
        told = await describe_server(client, base, options.token, server)
        most = await context_length(client, base, options.token, server)
    batches = server.kind in ("vllm", SGLANG, LLAMA_CPP)
    default = DEFAULT_SLOTS.get(server.kind, MANY_SLOTS if batches else FEW_SLOTS)
    slots = options.max_concurrent_requests or told.slots or default
    return server, dict(told.identity), ServerLimits(slots, max_total_tokens=most)
