"""The ways in which things go wrong, named so that callers can tell them apart.

Imports nothing: everything else may import it.
"""


class InvalidInputError(ValueError):
    """Something that the user gave is wrong; the message names it, its value and the remedy. Recipes exit with 2."""


class EngineError(RuntimeError):
    """
    An engine could not complete a request. Never a wrong answer: the problem is recorded as failed.

    Args:
        message (`str`): What happened.
        status (`int`, *optional*): The HTTP status of the server's answer; None if there was none.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class TransientEngineError(EngineError):
    """
    A server failed in a way that may pass: overloaded, restarting, a reset connection, an unreadable answer.

    Args:
        message (`str`): What happened.
        retry_after (`float`): Seconds that the server asks to be left alone.
        status (`int`, *optional*): As in [`EngineError`]; 200 if the answer could not be read.
    """

    def __init__(self, message: str, retry_after: float = 0.0, status: int | None = None):
        super().__init__(message, status)
        self.retry_after = retry_after


class OverloadedError(TransientEngineError):
    """A server has no room for all that it was asked at the same time. It is well: fewer requests at a time fit."""


class RateLimitError(TransientEngineError):
    """A server takes no more requests for a time that it tells (`retry_after`). It is well."""


class EnginesDownError(RuntimeError):
    """No server can be used any more. It ends the build, which goes on where it was when run again."""


class CostLimitError(EnginesDownError):
    """A build has cost as much as it may. It goes on where it was when run again with a higher limit."""


class ContextLengthError(EngineError):
    """A request does not fit into the model's context. The search ends that chain there and goes on."""


class VerifierError(RuntimeError):
    """A verifier cannot be used. Never a reward of 0: the problem is recorded as failed."""


class UnverifiableError(VerifierError):
    """
    A verifier crashed, hung or ran out of memory on one answer, twice. The search ends that chain there and goes on:
    it is neither right nor wrong.
    """


class HubError(RuntimeError):
    """The Hub could not be reached, or kept failing. Nothing is half done: the same call again goes on."""
