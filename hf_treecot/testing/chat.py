"""A loopback provider of `/v1/chat/completions`, over a small world: it continues an answer, or follows instructions.

python -m hf_treecot.testing.chat --port 8000                    # the starter model

The starter model follows no instructions. In words, this server reads the question in its place, so that what is
written is still the model's.
"""

import itertools
import json
import re
import time
from dataclasses import dataclass, field
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..engines.engine import Request
from .faults import Faults


STANDARD = {
    "model", "messages", "max_tokens", "temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty",
    "stream",
}  # fmt: skip
CONTINUE = {"continue_final_message", "add_generation_prompt"}
QUESTION = re.compile(r"Put it between <([\w-]+)> and </\1>")
BEGIN = re.compile(r'Begin it with "(.*)"\n')
# unclosed: the closing tag is not there; other_tag, no_tag: a malformed thought; filtered: a content filter's refusal.
KINDS = ("unclosed", "other_tag", "no_tag", "filtered")
BILLED = ("reset", "garbage")  # what was written is not readable, and to be paid for


@dataclass
class RateLimit:
    """
    So many requests in a window of so many seconds, told in headers as OpenAI does.

    Args:
        requests (`int`): In a window.
        seconds (`float`): Of a window.
    """

    requests: int
    seconds: float
    _used: int = 0
    _began: float = field(default_factory=time.monotonic)

    def take(self) -> tuple[bool, dict[str, str]]:
        """Whether one more is allowed, and the headers that say what is left."""
        now = time.monotonic()
        if now >= self._began + self.seconds:
            self._used, self._began = 0, now
        allowed = self._used < self.requests
        self._used += allowed
        wait = max(0.0, self._began + self.seconds - now)
        headers = {
            "x-ratelimit-limit-requests": str(self.requests),
            "x-ratelimit-remaining-requests": str(self.requests - self._used),
            "x-ratelimit-reset-requests": f"{wait * 1000:.0f}ms",
        }
        return allowed, headers if allowed else {**headers, "retry-after": f"{wait:.3f}"}


@dataclass(frozen=True)
class Manner:
    """
    How a provider behaves.

    Args:
        continues (`bool`): It goes on with an assistant's turn at the end; else it begins a new one.
        repeats (`bool`): It repeats the turn that it goes on with, as llama.cpp's server does.
        strict (`bool`): It refuses fields that OpenAI does not have.
        keeps_seeds (`bool`): The same seed gives the same answer.
        reasoning (`str`): What it thinks before it answers comes in this field (`"reasoning_content"`, `"reasoning"`)
            or in the text (`"think"`); empty: it does not think.
        system (`bool`): It takes a system's turn.
        has_stop_reason (`bool`): It tells a stop string from the end of a turn, as vLLM does.
        budget_field (`str`): What it calls the budget: `"max_tokens"` or `"max_completion_tokens"`.
        balance (`float`): Tokens after which it wants to be paid.
    """

    continues: bool = True
    repeats: bool = False
    strict: bool = False
    keeps_seeds: bool = True
    reasoning: str = ""
    system: bool = True
    has_stop_reason: bool = False
    budget_field: str = "max_tokens"
    balance: float = float("inf")


def make_app(
    backend, faults: Faults | None = None, token: str | None = None, manner: Manner = Manner(),
    rate_limit: RateLimit | None = None, max_model_len: int = 1024, models: tuple[str, ...] = (),
) -> Starlette:  # fmt: skip
    """
    The application. `app.state` tells what it saw: `bodies`, `headers`, and what it billed: `prompt_tokens`, `tokens`.

    Args:
        backend: Who writes.
        faults ([`Faults`], *optional*): What goes wrong, by its kinds and by those of [`KINDS`].
        token (`str`, *optional*): Requests without it are refused.
        manner ([`Manner`]): How it behaves.
        rate_limit ([`RateLimit`], *optional*): How often it may be asked.
        max_model_len (`int`): Tokens of a prompt and its answer.
        models (`tuple[str]`): Models that it lists besides its own, and does not have.
    """
    server = _Server(backend, faults or Faults(), manner, rate_limit, max_model_len, models)

    async def guarded(handler, request: HTTPRequest) -> Response:
        app.state.headers.append(dict(request.headers))
        if token is not None and request.headers.get("authorization") != f"Bearer {token}":
            return _error("Incorrect API key provided.", "invalid_api_key", 401)
        try:
            return await handler(request)
        except (json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
            return _error(f"{type(error).__name__}: {error}", "invalid_request_error", 400)

    routes = [("/v1/models", server.list_models, "GET"), ("/v1/chat/completions", server.complete, "POST")]
    app = Starlette(
        routes=[Route(path, partial(guarded, handler), methods=[method]) for path, handler, method in routes]
    )
    server.state = app.state
    app.state.headers, app.state.bodies = [], []
    app.state.prompt_tokens = app.state.tokens = app.state.limited = 0
    app.state.faults = server.faults
    return app


class _Server:
    def __init__(self, backend, faults, manner, rate_limit, max_model_len, models):
        self.backend, self.faults, self.manner, self.rate_limit = backend, faults, manner, rate_limit
        self.max_model_len, self.models, self.state = max_model_len, models, None
        self._asked = itertools.count()

    async def list_models(self, request: HTTPRequest) -> Response:
        models = [{"id": name, "object": "model", "owned_by": "loopback"} for name in (self._model, *self.models)]
        return JSONResponse({"object": "list", "data": models})

    @property
    def _model(self) -> str:
        return self.backend.identity.model

    async def complete(self, request: HTTPRequest) -> Response:
        asked = await request.json()
        self.state.bodies.append(asked)
        allowed, headers = self.rate_limit.take() if self.rate_limit else (True, {})
        if not allowed:
            self.state.limited += 1
            return _error("Rate limit reached.", "rate_limit_exceeded", 429, headers)
        if refusal := self._refusal(asked):
            return refusal
        kind = self.faults.draw()
        broken = _body("broken", "internal_error"), _body("too many", "rate_limit_exceeded")
        response = await self.faults.response(kind, *reversed(broken))
        if response is not None and kind not in BILLED:
            return response
        prompt, opening = self._render(asked)
        length = len(self.backend.tokenizer(prompt, add_special_tokens=False)["input_ids"])
        budget = asked[self.manner.budget_field]
        too_long = f"This model's maximum context length is {self.max_model_len} tokens; the request has {length}."
        if length >= self.max_model_len:
            return _error(too_long, "context_length_exceeded", 400)
        seed = asked["seed"] if self.manner.keeps_seeds and "seed" in asked else next(self._asked)
        stop = tuple(asked.get("stop") or ())
        thought = "Let me see." if self.manner.reasoning else ""
        spent = min(len(self.backend.tokenizer(thought)["input_ids"]), budget)
        room = min(budget - spent, self.max_model_len - length)
        written = await self._write(
            Request(prompt, stop or _closing(opening), room, asked["temperature"], asked["top_p"], seed)
        )
        self.state.prompt_tokens += length
        self.state.tokens += written.tokens + spent
        if response is not None:
            return response
        if kind == "unclosed" and written.finish_reason == "length":
            self.faults.take_back(kind)  # its closing tag would not have been there anyway
        answer = self._answer(written, opening, stop, thought, length, spent, kind)
        if self.manner.repeats and asked["messages"][-1]["role"] == "assistant":
            message = answer["choices"][0]["message"]
            message["content"] = f"{asked['messages'][-1]['content']}{message['content']}"
        return JSONResponse(answer, headers=headers)

    def _refusal(self, asked: dict) -> Response | None:
        if self.state.prompt_tokens + self.state.tokens >= self.manner.balance:
            return _error("You have exceeded your monthly included credits.", "payment_required", 402)
        known = (STANDARD - {"max_tokens"}) | {self.manner.budget_field}
        unknown = asked.keys() - known - (CONTINUE if self.manner.continues else set())
        if "max_tokens" in unknown:
            return _error("Unsupported parameter: use 'max_completion_tokens' instead.", "invalid_request_error", 400)
        if self.manner.strict and unknown:
            return _error(f"Unrecognized request arguments: {sorted(unknown)}", "invalid_request_error", 400)
        if asked["model"] != self._model:
            return _error(f"The model `{asked['model']}` does not exist.", "model_not_found", 404)
        if not self.manner.system and asked["messages"][0]["role"] == "system":
            return _error("System role not supported", "invalid_request_error", 400)
        return None

    def _render(self, asked: dict) -> tuple[str, str]:
        """What the model sees, and what of its answer it does not write itself: the opening tag and the prefill."""
        messages, opening = asked["messages"], ""
        if question := QUESTION.search(messages[-1]["content"]):
            begin = BEGIN.search(messages[-1]["content"])
            opening = f"<{question[1]}>{begin[1] if begin else ''}"
            if messages[-2:-1] and messages[-2]["role"] == "assistant":
                messages, chain = messages[:-2], messages[-2]["content"]
            else:
                problem = messages[-1]["content"].rpartition("\n\nWrite the next thought")[0]
                messages, chain = [*messages[:-1], {**messages[-1], "content": problem}], ""
            prompt = self._template(messages, add_generation_prompt=True)
            return f"{prompt}{chain}{chr(10) if chain else ''}{opening}", opening
        continues = self.manner.continues and asked.get("continue_final_message", False)
        return self._template(messages, add_generation_prompt=not continues, continue_final_message=continues), ""

    def _template(self, messages: list[dict], **options) -> str:
        return self.backend.tokenizer.apply_chat_template(messages, tokenize=False, **options)

    async def _write(self, wanted: Request):
        from ..engines.engine import Completion

        if wanted.max_new_tokens < 1:
            return Completion("", "length", 0, 0)
        return await self.backend.generate(wanted)

    def _answer(self, written, opening: str, stop, thought: str, length: int, spent: int, kind: str) -> dict:
        tag = opening[1:].partition(">")[0]
        is_open = opening and kind != "no_tag"
        text = f"{opening.replace(tag, 'aside', 1) if kind == 'other_tag' else opening}" if is_open else ""
        text += written.text
        ended = written.finish_reason != "length"
        if is_open and ended and not stop and kind not in ("unclosed", "other_tag"):
            text += f"</{tag}>"
        message = {"role": "assistant", "content": text}
        if self.manner.reasoning == "think":
            message["content"] = f"<think>{thought}</think>\n\n{text}" if text or ended else f"<think>{thought}"
        elif self.manner.reasoning:
            message[self.manner.reasoning] = thought
        reason = {"length": "length", "filtered": "content_filter"}.get(
            kind if kind == "filtered" else written.finish_reason, "stop"
        )
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        if self.manner.has_stop_reason:
            stopped = ended and stop and kind != "unclosed"
            choice["stop_reason"] = stop[0] if stopped else None
        tokens = written.tokens + spent
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": self._model, "choices": [choice],
            "system_fingerprint": "fp_1",
            "usage": {"prompt_tokens": length, "completion_tokens": tokens, "total_tokens": length + tokens},
        }  # fmt: skip


def _closing(opening: str) -> tuple[str, ...]:
    return (f"</{opening[1:].partition('>')[0]}>",) if opening else ()


def _body(message: str, code: str) -> dict:
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def _error(message: str, code: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(_body(message, code), status_code=status, headers=headers)


if __name__ == "__main__":
    from .running import main

    main(make_app, __doc__.split("\n")[0], num_limits=0)
