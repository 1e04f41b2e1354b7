"""The endpoint: routes, keys, bodies, and the way from a request to its reply. A client that leaves stops the work."""

import asyncio
import hashlib
import hmac
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import ContextLengthError, EngineError, EnginesDownError
from .answering import Answer
from .parameters import Asked, decoding_of, read_chat, read_json, read_text, too_few_tokens
from .refusals import RefusalError, failed
from .replies import Reply, models
from .service import Service
from .streaming import Sender, until_gone


logger = logging.getLogger(__name__)
MAX_BODY = 2**20  # bytes


def make_app(service: Service, keys: Sequence[str] = (), lifespan: Callable | None = None) -> Starlette:
    """
    The application.

    Args:
        service ([`Service`]): What it serves.
        keys (`Sequence[str]`): One of them must be sent, as a bearer token, for all but `/health`; none: nobody is
            asked for any.
        lifespan (`Callable`, *optional*): Starlette's.
    """
    created = int(time.time())
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def owner(request: Request) -> str:
        """Who asks: the digest of the key."""
        if not digests:
            return ""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise RefusalError(
                401, "You didn't provide an API key: send it in the header 'Authorization: Bearer KEY'."
            )
        sent = hashlib.sha256(key.strip().encode()).digest()
        if not sum(hmac.compare_digest(sent, digest) for digest in digests):  # all of them, in constant time
            raise RefusalError(401, "Incorrect API key provided.", code="invalid_api_key")
        return sent.hex()

    def page(handler: Callable[[Request, str], Awaitable[Response]], is_open: bool = False) -> Callable:
        """A handler that is told who asks; whatever it raises is an error in OpenAI's format."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request, "" if is_open else owner(request))
            except RefusalError as error:
                return refuse(error)
            except Exception as error:
                return refuse(_unexpected(error))

        return handle

    async def chat(request: Request, who: str) -> Response:
        return await _begin(service, request, who, partial(read_chat, defaults=service.defaults), "chatcmpl")

    async def text(request: Request, who: str) -> Response:
        return await _begin(service, request, who, partial(read_text, defaults=service.defaults), "cmpl")

    async def list_models(request: Request, who: str) -> Response:
        length = getattr(service.engine, "max_length", None)
        return JSONResponse({"object": "list", "data": models(service.defaults.name, created, length)})

    async def one_model(request: Request, who: str) -> Response:
        name = request.path_params["name"]
        decoding_of(name, service.defaults.name)
        length = getattr(service.engine, "max_length", None)
        return JSONResponse(next(m for m in models(service.defaults.name, created, length) if m["id"] == name))

    async def tree(request: Request, who: str) -> Response:
        return JSONResponse(service.tree(request.path_params["name"], who).to_record())

    async def metrics(request: Request, who: str) -> Response:
        return Response(service.metrics.render(), media_type=service.metrics.content_type)

    async def health(request: Request, who: str) -> Response:
        return JSONResponse({"status": "ok", "running": service.running, "waiting": service.waiting})

    async def about(request: Request, who: str) -> Response:
        return JSONResponse({"version": version("hf-treecot")})

    async def not_found(request: Request, error: Exception) -> Response:
        if error.status_code == 405:
            return refuse(
                RefusalError(405, f"Not allowed to {request.method} on this URL.", code="method_not_supported")
            )
        return refuse(RefusalError(error.status_code, "Unknown request URL: see /v1/models.", code="unknown_url"))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", page(chat), methods=["POST"]),
            Route("/v1/completions", page(text), methods=["POST"]),
            Route("/v1/models", page(list_models)),
            Route("/v1/models/{name:path}", page(one_model)),
            Route("/v1/trees/{name}", page(tree)),
            Route("/version", page(about)),
            Route("/metrics", page(metrics)),
            Route("/health", page(health, is_open=True)),
        ],
        exception_handlers={HTTPException: not_found},
        lifespan=lifespan,
    )


def refuse(error: RefusalError) -> Response:
    """An error as a reply."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(error.body, error.status, headers)


async def _begin(service: Service, request: Request, who: str, read: Callable, prefix: str) -> Response:
    """Read a request; its work begins when the reply is sent."""
    arrived = time.monotonic()
    request_id = f"{prefix}-{uuid.uuid4().hex}"
    try:
        asked = read(read_json(await _body(request)))
    except RefusalError as error:
        service.log(request_id, None, str(error.status), time.monotonic() - arrived, 0)
        raise
    return _Work(service, asked, request_id, who, arrived)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise RefusalError(413, f"The body of the request is larger than {MAX_BODY} bytes: shorten it.")
            parts.append(part)
    except ClientDisconnect:
        raise RefusalError(400, "The body of the request ended early.") from None
    return b"".join(parts)


class _Work(Response):
    """The reply to a request, which is worked out while it is sent."""

    def __init__(self, service: Service, asked: Asked, request_id: str, who: str, arrived: float):
        self.service, self.asked, self.request_id = service, asked, request_id
        self.who, self.arrived = who, arrived
        self.reply = Reply(service, asked, request_id, int(time.time()))
        self.background = None
        self.answers: list[Answer] = []

    async def __call__(self, scope, receive, send) -> None:
        sender = Sender(send, {"x-request-id": self.request_id})
        status = "left"
        try:
            status = await until_gone(receive, self._work(sender), sender) or "left"
        finally:
            tokens = sum(answer.tokens for answer in self.answers)
            seconds = time.monotonic() - self.arrived
            self.service.metrics.seconds.labels(self.asked.decoding).observe(seconds)
            self.service.log(self.request_id, self.asked, status, seconds, tokens)

    async def _work(self, sender: Sender) -> str:
        """Answer; gives the HTTP status, also that of an error within a stream."""
        try:
            async with self.service.place():
                await (self._stream(sender) if self.asked.stream else self._send(sender))
            await sender.end()
            return "200"
        except RefusalError as error:
            refusal = error
        except ContextLengthError:
            refusal = RefusalError(
                400, "This model's maximum context length is exceeded. Please reduce the length of the messages.",
                "messages", "context_length_exceeded",
            )  # fmt: skip
        except (EngineError, EnginesDownError) as error:
            logger.warning("%s: the engine failed (%s, status %s)", self.request_id, type(error).__name__,
                           getattr(error, "status", None))  # fmt: skip
            refusal = failed(error)
        except TimeoutError:
            refusal = RefusalError(
                504, f"There was no answer within {self.service.limits.max_seconds:g} s.", type="server_error",
                code="timeout",
            )  # fmt: skip
        except ConnectionError:  # nobody reads
            return "left"
        except Exception as error:
            refusal = _unexpected(error)
        try:
            await sender.refuse(refusal)
        except ConnectionError:
            return "left"
        return str(refusal.status)

    async def _send(self, sender: Sender) -> None:
        answers = await self._answer(None)
        trees = self._finish(answers)
        self.service.metrics.first_token_seconds.labels(self.asked.decoding).observe(time.monotonic() - self.arrived)
        if self.asked.decoding == "text":
            sender.put(self.reply.text(answers[0]))
        else:
            sender.put(self.reply.whole(answers, trees))

    async def _stream(self, sender: Sender) -> None:
        opened: set[int] = set()

        def tell(index: int, kind: str, text: str) -> None:
            if not opened:
                seconds = time.monotonic() - self.arrived
                self.service.metrics.first_token_seconds.labels(self.asked.decoding).observe(seconds)
            if index not in opened:
                opened.add(index)
                sender.put_event(self.reply.first(index))
            sender.put_event(self.reply.more(index, kind, text))

        answers = await sender.while_sending(self._answer(tell))
        trees = self._finish(answers)
        for index, answer in enumerate(answers):
            if index not in opened:
                sender.put_event(self.reply.first(index))
            sender.put_event(self.reply.last(index, answer, trees))
        if self.asked.include_usage:
            sender.put_event(self.reply.usage(answers))
        sender.put_event(None)

    async def _answer(self, tell: Callable[[int, str, str], None] | None) -> list[Answer]:
        choices = range(self.asked.num_choices)
        return await _all(self.service.answer(self.asked, index, tell and partial(tell, index)) for index in choices)

    def _finish(self, answers: list[Answer]) -> list[str]:
        """
        Count, and keep the trees; gives their names.

        Raises:
            RefusalError: A search or a vote came to no answer.
        """
        self.answers, metrics, decoding = answers, self.service.metrics, self.asked.decoding
        metrics.prompt_tokens.labels(decoding).inc(max(answer.prompt_tokens for answer in answers))
        metrics.generated_tokens.labels(decoding).inc(sum(answer.tokens for answer in answers))
        metrics.dropped_tokens.labels(decoding).inc(sum(answer.tokens - answer.chain_tokens for answer in answers))
        trees = self.service.keep_trees(self.request_id, answers, self.asked, self.who)
        if decoding in ("samples", "search") and not any(answer.chain_tokens for answer in answers):
            raise too_few_tokens("max_completion_tokens", self.asked.tokens)
        return trees


async def _all(works: Sequence[Coroutine]) -> list[Any]:
    """The results of all; if one fails, the others are stopped."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unexpected(error: Exception) -> RefusalError:
    """A defect of ours: where it is goes to the log, and what it says not, which may hold texts."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s\n%s", type(error).__name__, where)
    return RefusalError(
        500, "The server had an error while processing your request.", type="server_error", code="internal_error"
    )
