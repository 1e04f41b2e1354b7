"""A loopback Ollama: raw text by `/api/generate`, over a small world.

python -m hf_treecot.testing.ollama --port 11434                   # the starter model
"""

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..engines.engine import Request
from .faults import Faults
from .tgi import split_evenly


MODEL = "scripted:latest"
OPTIONS = {
    "num_predict", "temperature", "top_p", "seed", "stop", "top_k", "min_p", "typical_p", "repeat_penalty", "mirostat",
    "presence_penalty", "frequency_penalty",
}  # fmt: skip


def make_app(
    backend, faults: Faults | None = None, token: str | None = None, max_concurrent_requests: int = 128,
    context_length: int = 1024,
) -> Starlette:  # fmt: skip
    """The application. `app.state` tells what it saw: `requests`, `bodies`."""
    faults = faults or Faults()

    async def models(request: HTTPRequest) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "library"}]})

    async def loaded(request: HTTPRequest) -> Response:
        models = [{"name": MODEL, "model": MODEL, "context_length": context_length}] if state.bodies else []
        return JSONResponse({"models": models})

    async def tags(request: HTTPRequest) -> Response:
        return JSONResponse({"models": [{"name": MODEL, "model": MODEL, "digest": "845dbda0ea48"}]})

    async def version(request: HTTPRequest) -> Response:
        return JSONResponse({"version": "0.13.1"})

    async def show(request: HTTPRequest) -> Response:
        return JSONResponse({"details": {"family": "llama", "quantization_level": "Q4_K_M"}})

    async def generate(request: HTTPRequest) -> Response:
        asked = await request.json()
        state.bodies.append(asked)
        options = asked["options"]
        if asked["model"] != MODEL:
            return JSONResponse({"error": f"model '{asked['model']}' not found"}, status_code=404)
        if not asked.get("raw") or asked.get("stream", True) or options.keys() - OPTIONS:
            return JSONResponse({"error": "not what a search needs"}, status_code=400)
        length = len(backend.tokenizer(asked["prompt"])["input_ids"])
        if length > context_length:
            return JSONResponse({"error": "the input length exceeds the context length"}, status_code=400)
        busy = {"error": "server busy, please try again.  maximum pending requests exceeded"}
        kind = faults.draw()
        if (response := await faults.response(kind, busy, {"error": "llama runner terminated"})) is not None:
            return response
        wanted = Request(
            asked["prompt"], tuple(options.get("stop", ())), options["num_predict"], options["temperature"],
            options["top_p"], options["seed"],
        )  # fmt: skip
        state.requests.append(wanted)
        completion = await backend.generate(wanted)
        pieces = split_evenly(completion.text, completion.tokens)
        values = [completion.log_probability or 0.0] + [0.0] * (len(pieces) - 1)
        answer = {
            "model": MODEL, "response": completion.text, "done": True, "prompt_eval_count": length,
            "done_reason": "length" if completion.finish_reason == "length" else "stop",
            "eval_count": completion.tokens,
            "logprobs": [{"token": t, "logprob": v} for t, v in zip(pieces, values, strict=True)],
        }  # fmt: skip
        if asked["prompt"] in state.seen:  # all of it was in the cache
            del answer["prompt_eval_count"]
        state.seen.add(asked["prompt"])
        return JSONResponse(answer)

    routes = [
        ("/v1/models", models, "GET"), ("/api/ps", loaded, "GET"), ("/api/tags", tags, "GET"),
        ("/api/version", version, "GET"), ("/api/show", show, "POST"), ("/api/generate", generate, "POST"),
    ]  # fmt: skip
    app = Starlette(routes=[Route(path, handler, methods=[method]) for path, handler, method in routes])
    state = app.state
    state.requests, state.bodies, state.faults, state.seen = [], [], faults, set()
    return app


if __name__ == "__main__":
    from .running import main

    main(make_app, __doc__.split("\n")[0], num_limits=1)
