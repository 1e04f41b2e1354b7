"""The Hub's client for inference, with connections that are fit for a server under load, and its errors as ours."""

from collections.abc import Callable, Mapping
from typing import Any

from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HTTPError, TextGenerationError
from huggingface_hub.utils import httpx

from ..errors import EngineError, TransientEngineError
from .server import HTTPX_ERRORS, describe, failure, new_client


NO_TOKEN = "-"  # noqa: S105  `AsyncInferenceClient` would send the user's Hub token to any server if it is given none
CLIENT_ERRORS = (HTTPError, *HTTPX_ERRORS)


class ServerClient(AsyncInferenceClient):
    """
    The Hub's client with connections for a server. Its own refuse every host in the Hub's offline mode, as compute
    nodes have it, and are 100 at most. The method is private: as in huggingface_hub 1.33.

    Args:
        token (`str`, *optional*): The only one that is ever sent.
        connections (`int`): Requests at the same time.
        observe (`Callable`, *optional*): Is told every answer's headers.
        options: As of `AsyncInferenceClient`.
    """

    def __init__(
        self,
        token: str | None,
        connections: int,
        observe: Callable[[Mapping[str, str]], None] | None = None,
        **options: Any,
    ):
        super().__init__(api_key=token or NO_TOKEN, **options)
        self._connections, self._observe = connections, observe

    async def _get_async_client(self) -> httpx.AsyncClient:
        if self._async_client is None:
            client = new_client(None, self._connections)  # the token is in the headers of every request
            client.event_hooks = {"response": [self._note]}
            self._async_client = await self.exit_stack.enter_async_context(client)
        return self._async_client

    async def _note(self, response: httpx.Response) -> None:
        if self._observe is not None:
            self._observe(response.headers)


def client_failure(url: str, error: Exception, token: str | None) -> EngineError:
    """What one of `CLIENT_ERRORS` means, as the exception to be raised."""
    source = error.__cause__ if isinstance(error, TextGenerationError) else error
    response = getattr(source, "response", None)
    if response is None:
        return TransientEngineError(describe(url, error))
    return failure(url, response, token)
