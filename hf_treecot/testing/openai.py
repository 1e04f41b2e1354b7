"""A loopback server of OpenAI's completions, as vLLM and others have them, over a small world.

python -m hf_treecot.testing.openai --port 8000                    # the starter model
"""

import json
from dataclasses import replace
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..engines.engine import Request
from .faults import Faults
from .tgi import split_evenly


STANDARD = {
    "stream", "stream_options",
    "model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "logprobs", "n", "presence_penalty",
    "frequency_penalty",
}  # fmt: skip
# What each kind of server takes besides. A real one ignores what it does not know; here it is refused.
EXTRA = {
    "vllm": {"top_k", "min_p", "repetition_penalty"},
    "sglang": {"top_k", "min_p", "repetition_penalty"},
    "llamacpp": {
        "top_k", "min_p", "typical_p", "repeat_penalty", "dry_multiplier", "xtc_probability", "top_n_sigma",
        "dynatemp_range", "mirostat", "samplers",
    },
    "openai": set(),
    "transformers": {"generation_config"},
    "lmstudio": {"top_k", "min_p", "repeat_penalty"},
}  # fmt: skip
# What each kind tells of itself, and where.
ABOUT = {
    "vllm": ("/version", {"version": "0.11.0"}),
    "sglang": ("/get_server_info", {"version": "0.5.4", "dtype": "auto", "quantization": "fp8", "revision": "main"}),
    "llamacpp": (
        "/props", {"build_info": "b6900-1", "model_path": "/srv/models/scripted-Q4_K_M.gguf", "total_slots": 6}
    ),
    "transformers": ("/openapi.json", {"paths": {"/load_model": {}, "/v1/completions": {}}}),
    "lmstudio": ("/api/v0/models", {"data": [
        {"id": "loopback/scripted", "state": "loaded", "quantization": "Q4_K_M", "max_context_length": 32768,
         "loaded_context_length": 900},
    ]}),
}  # fmt: skip


def make_app(
    backend, faults: Faults | None = None, token: str | None = None, max_concurrent_requests: int = 128,
    max_model_len: int = 1024, server: str = "vllm", listed: tuple[str, ...] | None = None, greedy: bool = False,
    room: int | None = None,
) -> Starlette:  # fmt: skip
    """
    The application. `app.state` tells what it saw: `requests`, `bodies`, `headers`, `running`, `most_running`.

    Args:
        server (`str`): Whose fields it takes and how it describes itself, one of `EXTRA`.
        listed (`tuple[str]`, *optional*): The models that it says it serves, which is none but the backend's.
        greedy (`bool`): It takes no notice of seeds and temperatures.
        room (`int`, *optional*): More requests at a time than this fill the cache that they share, and all fail.
    """
    faults = faults or Faults()

    async def guarded(handler, request: HTTPRequest) -> Response:
        state.headers.append(dict(request.headers))
        if faults.starting:
            return _error("loading", "ServiceUnavailableError", 503)
        if token is not None and request.headers.get("authorization") != f"Bearer {token}":
            return _error("Unauthorized", "AuthenticationError", 401)
        try:
            return await handler(request)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            return _error(f"{type(error).__name__}: {error}", "BadRequestError", 400)

    async def models(request: HTTPRequest) -> Response:
        names = (backend.identity.model,) if listed is None else listed
        context = {"vllm": {"max_model_len": max_model_len}, "llamacpp": {"meta": {"n_ctx": max_model_len}}}
        model = {"object": "model", "owned_by": server, **context.get(server, {})}
        return JSONResponse({"object": "list", "data": [{"id": name, **model} for name in names]})

    async def completions(request: HTTPRequest) -> Response:
        asked = await request.json()
        state.bodies.append(asked)
        if unknown := asked.keys() - STANDARD - EXTRA[server]:
            return _error(f"unknown fields {sorted(unknown)}", "BadRequestError", 400)
        if asked["model"] != backend.identity.model:
            return _error(f"The model `{asked['model']}` does not exist.", "NotFoundError", 404)
        if not 0 < asked["top_p"] <= 1:
            return _error(f"top_p must be in (0, 1], got {asked['top_p']}.", "BadRequestError", 400)
        stop = asked.get("stop") or []
        length = len(backend.tokenizer(asked["prompt"])["input_ids"])
        if length + asked["max_tokens"] > max_model_len:
            return _error(
                f"This model's maximum context length is {max_model_len} tokens. However, you requested "
                f"{length + asked['max_tokens']} tokens.", "BadRequestError", 400,
            )  # fmt: skip
        wanted = Request(
            asked["prompt"], tuple(stop), asked["max_tokens"], asked["temperature"], asked["top_p"], asked["seed"]
        )
        settings = json.loads(asked.get("generation_config", "{}"))
        if greedy or (server == "transformers" and not settings.get("do_sample")):
            wanted = replace(wanted, temperature=0.0, seed=0)
        state.running += 1
        if room is not None and state.running > room:
            state.overflows += 1
        before = state.overflows - (room is not None and state.running > room)
        state.most_running = max(state.most_running, state.running)
        try:
            kind = faults.draw()
            overloaded, broken = _body("too many", "TooManyRequests", 429), _body("broken", "InternalServerError", 500)
            if (response := await faults.response(kind, overloaded, broken)) is not None:
                return response
            completion = await backend.generate(wanted)
            if state.overflows > before:
                return _error("Context size has been exceeded.", "server_error", 500)
            state.requests.append(wanted)
        finally:
            state.running -= 1
        answer = _answer(completion, wanted, kind, length, asked)
        if server == "llamacpp":
            _as_llama_cpp(answer["choices"][0])
        if server in ("transformers", "lmstudio"):  # they tell no more than that
            answer["choices"][0] = {name: answer["choices"][0][name] for name in ("index", "text", "finish_reason")}
        if asked.get("stream"):
            return StreamingResponse(_events(answer), media_type="text/event-stream")
        return JSONResponse(answer)

    async def chat(request: HTTPRequest) -> Response:
        """A conversation, rendered by the model's own template; as far as evaluations need it."""
        asked = await request.json()
        state.bodies.append(asked)
        if asked["model"] != backend.identity.model:
            return _error(f"The model `{asked['model']}` does not exist.", "NotFoundError", 404)
        prompt = backend.tokenizer.apply_chat_template(asked["messages"], tokenize=False, add_generation_prompt=True)
        length = len(backend.tokenizer(prompt)["input_ids"])
        limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or max_model_len - length
        wanted = Request(
            prompt, (), min(limit, max_model_len - length), asked.get("temperature", 1.0), asked.get("top_p", 1.0),
            asked.get("seed", 0),
        )  # fmt: skip
        completion = await backend.generate(wanted)
        state.requests.append(wanted)
        return JSONResponse(_chat_answer(completion, length, asked))

    async def health(request: HTTPRequest) -> Response:
        return Response()

    async def about(request: HTTPRequest) -> Response:
        return JSONResponse(ABOUT[server][1])

    routes = [("/v1/models", models, "GET"), ("/v1/completions", completions, "POST"), ("/health", health, "GET")]
    routes.append(("/v1/chat/completions", chat, "POST"))
    if server in ABOUT:
        routes.append((ABOUT[server][0], about, "GET"))
    app = Starlette(
        routes=[Route(path, partial(guarded, handler), methods=[method]) for path, handler, method in routes]
    )
    state = app.state
    state.requests, state.bodies, state.headers = [], [], []
    state.running = state.most_running = state.overflows = 0
    state.faults = faults
    return app


def _answer(completion, wanted: Request, fault: str, length: int, asked: dict) -> dict:
    """vLLM's answer: the text ends before the stop string, the tokens after it."""
    stopped, count = completion.finish_reason == "stop", completion.tokens
    pieces = [*split_evenly(completion.text, count - 1), wanted.stop[0] if stopped else "<|end|>"]
    if completion.finish_reason == "length":
        pieces = split_evenly(completion.text, count)
    text = completion.text[: len(completion.text) // 2] if fault == "truncated" else completion.text
    values = [completion.log_probability or 0.0] + [0.0] * (count - 1)
    choice = {
        "index": 0, "text": text, "finish_reason": "length" if completion.finish_reason == "length" else "stop",
        "stop_reason": wanted.stop[0] if stopped and fault != "stop_missing" else None,
        "logprobs": {"tokens": pieces, "token_logprobs": values, "top_logprobs": None, "text_offset": []},
    }  # fmt: skip
    usage = {"prompt_tokens": length, "completion_tokens": count, "total_tokens": length + count}
    return {
        "id": "cmpl-1", "object": "text_completion", "created": 0, "model": asked["model"], "choices": [choice],
        "usage": usage,
    }  # fmt: skip


def _events(answer: dict):
    """An answer in some chunks, and its usage in the last, as `stream_options` has it."""
    (choice,), usage = answer["choices"], answer["usage"]
    pieces = split_evenly(choice["text"], 4)
    parts = [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None} for piece in pieces]
    parts[-1] = {**choice, "text": pieces[-1]}
    for part in parts:
        yield f"data: {json.dumps({**answer, 'choices': [part], 'usage': None})}\n\n"
    yield f"data: {json.dumps({**answer, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


def _chat_answer(completion, length: int, asked: dict) -> dict:
    message = {"role": "assistant", "content": completion.text}
    reason = "length" if completion.finish_reason == "length" else "stop"
    usage = {
        "prompt_tokens": length, "completion_tokens": completion.tokens, "total_tokens": length + completion.tokens
    }  # fmt: skip
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}], "usage": usage,
    }  # fmt: skip


def _as_llama_cpp(choice: dict) -> None:
    """It tells the tokens one by one, without those of a stop string, and not why it stopped."""
    logprobs, stop = choice["logprobs"], choice.pop("stop_reason")
    told = list(zip(logprobs["tokens"], logprobs["token_logprobs"], strict=True))[: -1 if stop else None]
    choice["logprobs"] = {"content": [{"token": token, "logprob": value} for token, value in told]}


def _body(message: str, kind: str, status: int) -> dict:
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _error(message: str, kind: str, status: int) -> Response:
    return JSONResponse(_body(message, kind, status), status_code=status)


if __name__ == "__main__":
    from .running import main

    main(make_app, __doc__.split("\n")[0], num_limits=1)
