"""What the tasks of the starter model have in common whose result is a whole number."""


class WholeNumberTask:
    """A task with one right result, `result`, which verifiers read and answers state as it is."""

    result: int

    @property
    def gold(self) -> str:
        """The gold answer, as the verifier reads it."""
        return str(self.result)

    def is_right(self, result: int) -> bool:
        """Whether a result is right."""
        return result == self.result

    def answer(self, result: int) -> str:
        """A result, as an answer states it."""
        return str(result)
