"""A loopback text-generation-inference: its routes, limits, permits and error types, over a small world.

    python -m hf_treecot.testing.tgi --port 8080                       # the starter model
    python -m hf_treecot.testing.tgi --backend scripted --fault-rate 0.04

A token's log-probability is not known behind it, only their sum: it stands at the first token.
"""

import asyncio
import json
from dataclasses import asdict
from functools import partial

from huggingface_hub import TextGenerationInput, TextGenerationOutput
from huggingface_hub.inference._generated.types.text_generation import (
    TextGenerationInputGenerateParameters,
    TextGenerationOutputDetails,
    TextGenerationOutputToken,
)
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..engines.engine import Completion, Request
from .faults import Faults


MAX_STOP_SEQUENCES, MAX_BEST_OF = 4, 2
MAX_INPUT_TOKENS, MAX_TOTAL_TOKENS = 1000, 1024
FINISH_REASONS = {"stop": "stop_sequence", "eos": "eos_token", "length": "length"}
INPUT = TypeAdapter(TextGenerationInput)


class Refusal(Exception):
    """A request that TGI's validation refuses."""


def make_app(
    backend, faults: Faults | None = None, token: str | None = None, max_concurrent_requests: int = 128,
    max_input_tokens: int = MAX_INPUT_TOKENS, max_total_tokens: int = MAX_TOTAL_TOKENS,
    refused_fields: frozenset[str] = frozenset(),
) -> Starlette:  # fmt: skip
    """
    The application. `app.state` tells what it saw: `requests`, `bodies`, `headers`, `running`, `most_running`,
    `refused`. It refuses `refused_fields`, as a server of this protocol that is not TGI itself may.
    """
    faults = faults or Faults()

    async def guarded(handler, request: HTTPRequest) -> Response:
        state.headers.append(dict(request.headers))
        if faults.starting:
            return _error("unhealthy", "healthcheck", 503)
        if token is not None and request.headers.get("authorization") != f"Bearer {token}":
            return Response("Unauthorized", status_code=401)
        try:
            return await handler(request)
        except (json.JSONDecodeError, ValidationError) as error:
            return Response(f"Failed to deserialize the JSON body into the target type: {error}", status_code=422)
        except Refusal as refusal:
            state.refused += 1
            return _error(f"Input validation error: {refusal}", "validation", 422)

    async def generate(request: HTTPRequest) -> Response:
        asked = INPUT.validate_python(await request.json())
        parameters = asked.parameters or TextGenerationInputGenerateParameters()
        body = {**asked.__dict__, **parameters.__dict__}
        state.bodies.append(body)
        unknown = body.keys() - KNOWN | {name for name in refused_fields if body.get(name) is not None}
        if unknown:
            raise Refusal(f"unknown field {sorted(unknown)}")
        wanted = _validated(asked.inputs, parameters)
        if state.running >= max_concurrent_requests:  # no queue: TGI says so at once
            return _error("Model is overloaded", "overloaded", 429)
        state.running += 1
        state.most_running = max(state.most_running, state.running)
        try:
            kind = faults.draw()
            overloaded = {"error": "Model is overloaded", "error_type": "overloaded"}
            broken = {"error": "Incomplete generation", "error_type": "incomplete_generation"}
            if (response := await faults.response(kind, overloaded, broken)) is not None:
                return response
            completion = await backend.generate(wanted)
            state.requests.append(wanted)
        finally:
            state.running -= 1
        output = _output(completion, wanted, kind)
        if asked.stream or request.url.path == "/generate_stream":
            return StreamingResponse(_events(output), media_type="text/event-stream")
        answer = asdict(output) if parameters.details else {"generated_text": output.generated_text}
        if parameters.details:
            del answer["details"]["top_tokens"]  # TGI leaves out what was not asked for
        return JSONResponse([answer] if request.url.path == "/" else answer)

    def _validated(inputs: str, parameters) -> Request:
        if parameters.temperature is not None and parameters.temperature <= 0:
            raise Refusal("`temperature` must be strictly positive")
        if parameters.top_p is not None and not 0 < parameters.top_p < 1:
            raise Refusal("`top_p` must be > 0.0 and < 1.0")
        if parameters.best_of is not None and parameters.best_of > MAX_BEST_OF:
            raise Refusal(f"`best_of` must be >= 0 and <= {MAX_BEST_OF}. Given: {parameters.best_of}")
        if (parameters.best_of or 1) > 1 and parameters.seed is not None:
            raise Refusal("`seed` must not be set when `best_of` > 1")
        for name in ("top_k", "repetition_penalty", "typical_p"):
            if (value := getattr(parameters, name)) is not None and value <= 0:
                raise Refusal(f"`{name}` must be strictly positive")
        stop = parameters.stop or []
        if len(stop) > MAX_STOP_SEQUENCES:
            raise Refusal(f"`stop` supports up to {MAX_STOP_SEQUENCES} stop sequences. Given: {len(stop)}")
        if parameters.max_new_tokens is not None and parameters.max_new_tokens <= 0:
            raise Refusal("`max_new_tokens` must be strictly positive")
        if not inputs:
            raise Refusal("`inputs` cannot be empty")
        length = len(backend.tokenizer(inputs)["input_ids"])
        budget = parameters.max_new_tokens or 100
        if length > max_input_tokens:
            raise Refusal(f"`inputs` must have less than {max_input_tokens} tokens. Given: {length}")
        if length + budget > max_total_tokens:
            raise Refusal(
                f"`inputs` tokens + `max_new_tokens` must be <= {max_total_tokens}. "
                f"Given: {length} `inputs` tokens and {budget} `max_new_tokens`"
            )
        sampled = bool(parameters.do_sample or parameters.top_p)
        temperature = (parameters.temperature or 1.0) if sampled else 0.0
        return Request(inputs, tuple(stop), budget, temperature, parameters.top_p or 1.0, parameters.seed or 0)

    async def info(request: HTTPRequest) -> Response:
        return JSONResponse(
            {
                "model_id": backend.identity.model, "model_sha": backend.identity.revision,
                "model_pipeline_tag": "text-generation", "max_concurrent_requests": max_concurrent_requests,
                "max_best_of": MAX_BEST_OF, "max_stop_sequences": MAX_STOP_SEQUENCES,
                "max_input_tokens": max_input_tokens, "max_total_tokens": max_total_tokens,
                "validation_workers": 2, "max_client_batch_size": 4, "router": "text-generation-router",
                "version": "3.3.6", "sha": None, "docker_label": None,
            }
        )  # fmt: skip

    async def tokenize(request: HTTPRequest) -> Response:
        text = INPUT.validate_python(await request.json()).inputs
        encoding = backend.tokenizer(text, return_offsets_mapping=True)
        pairs = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        return JSONResponse([{"id": i, "text": text[a:b], "start": a, "stop": b} for i, (a, b) in pairs])

    async def health(request: HTTPRequest) -> Response:
        return Response()

    routes = {"/info": info, "/health": health, "/tokenize": tokenize}
    routes |= dict.fromkeys(("/", "/generate", "/generate_stream"), generate)
    app = Starlette(
        routes=[
            Route(path, partial(guarded, handler), methods=["GET" if handler in (info, health) else "POST"])
            for path, handler in routes.items()
        ]
    )
    state = app.state
    state.requests, state.bodies, state.headers = [], [], []
    state.running = state.most_running = state.refused = 0
    state.faults = faults
    return app


KNOWN = {f for t in (TextGenerationInput, TextGenerationInputGenerateParameters) for f in t.__dataclass_fields__}


def _error(message: str, error_type: str, status: int) -> Response:
    return JSONResponse({"error": message, "error_type": error_type}, status_code=status)


def _output(completion: Completion, wanted: Request, fault: str) -> TextGenerationOutput:
    """TGI's answer: the stop string stands at the end of the text."""
    tag = wanted.stop[0] if completion.finish_reason == "stop" and fault != "stop_missing" else ""
    text, count = f"{completion.text}{tag}", completion.tokens
    pieces = [*split_evenly(completion.text, count - 1), tag] if tag and count else split_evenly(text, count)
    first = completion.log_probability or 0.0
    tokens = [
        TextGenerationOutputToken(id=0, logprob=0.0 if i else first, special=False, text=piece)
        for i, piece in enumerate(pieces)
    ]
    details = TextGenerationOutputDetails(
        finish_reason=FINISH_REASONS[completion.finish_reason], generated_tokens=count, prefill=[], tokens=tokens,
        seed=wanted.seed,
    )  # fmt: skip
    shown = text[: len(completion.text) // 2] if fault == "truncated" else text
    return TextGenerationOutput(generated_text=shown, details=details)


def split_evenly(text: str, count: int) -> list[str]:
    """A text in so many pieces: what its tokens might have been."""
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)] if count > 0 else []


async def _events(output: TextGenerationOutput):
    tokens = output.details.tokens
    for index, token in enumerate(tokens):
        last = index == len(tokens) - 1
        details = {
            "finish_reason": output.details.finish_reason, "generated_tokens": len(tokens), "input_length": 0,
            "seed": output.details.seed,
        }  # fmt: skip
        event = {
            "index": index + 1, "token": asdict(token),
            "generated_text": output.generated_text if last else None, "details": details if last else None,
        }  # fmt: skip
        yield f"data:{json.dumps(event)}\n\n"
        await asyncio.sleep(0)


if __name__ == "__main__":
    from .running import main

    main(make_app, __doc__.split("\n")[0], num_limits=2)
