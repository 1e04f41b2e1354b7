"""What is not answered, and why, in OpenAI's format: the one exception that becomes an error reply."""

from typing import Any

from ..errors import EnginesDownError, TransientEngineError


class RefusalError(Exception):
    """
    A request that is not answered.

    Args:
        status (`int`): HTTP status.
        message (`str`): What is wrong, and what to do about it. Never a text of the request.
        param (`str`, *optional*): The parameter that is wrong.
        code (`str`, *optional*): OpenAI's code.
        type (`str`): OpenAI's type of error.
        retry_after (`int`, *optional*): Seconds after which it may be asked again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status, self.retry_after, self.code = status, retry_after, code
        self.body: dict[str, Any] = {"error": {"message": message, "type": type, "param": param, "code": code}}


def invalid(param: str, message: str, code: str = "invalid_value") -> RefusalError:
    """A parameter that is wrong."""
    return RefusalError(400, message, param, code)


def failed(error: Exception) -> RefusalError:
    """An engine that failed; what it said may hold texts, and is not repeated."""
    status = 503 if isinstance(error, EnginesDownError | TransientEngineError) else 500
    message = f"The model failed to answer ({type(error).__name__}). Ask again later."
    return RefusalError(status, message, code="engine_error", type="server_error")
