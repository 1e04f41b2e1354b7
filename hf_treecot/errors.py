"""The ways in which things go wrong, named so that callers can tell them apart.

A room without imports: everything else may import it, it knows nothing.
"""


class InvalidInputError(ValueError):
    """Something that the user gave is wrong; the message names it, its value and the remedy. Recipes exit with 2."""


class EngineError(RuntimeError):
    """An engine could not complete a request. Never a wrong answer: the problem is recorded as failed."""


class TransientEngineError(EngineError):
    """
    A server failed in a way that may pass: overloaded, restarting, a reset connection, an unreadable answer.

    Args:
        message (`str`): What happened.
        retry_after (`float`): Seconds that the server asks to be left alone.
    """

    def __init__(self, message: str, retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


class EnginesDownError(RuntimeError):
    """No server can be used any more. It ends the build, which goes on where it was when run again."""


class ContextLengthError(EngineError):
    """A request does not fit into the model's context. The search ends that chain there and goes on."""


class VerifierError(RuntimeError):
    """A verifier crashed, hung or ran out of memory. Never a reward of 0: the problem is recorded as failed."""


class HubError(RuntimeError):
    """The Hub could not be reached, or kept failing. Nothing is half done: the same call again goes on."""
