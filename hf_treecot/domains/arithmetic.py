"""Arithmetic word problems of two or three steps, and how a person would think them through."""

import random
from dataclasses import dataclass

from .whole_numbers import WholeNumberTask


NAMES = ["Mia", "Tom", "Ana", "Ben", "Eva", "Leo", "Zoe", "Sam", "Ida", "Max"]
ITEMS = ["apples", "books", "coins", "cards", "shells", "stamps", "pens", "cups"]


@dataclass(frozen=True)
class ArithmeticTask(WholeNumberTask):
    """One problem: somebody starts with `start` items; each step is an operator (`+`, `-`, `*`) and a number."""

    name_of_owner: str
    item: str
    start: int
    steps: tuple[tuple[str, int], ...]
    sentences: tuple[str, ...]

    name = "arithmetic"
    verifier = "math"
    styles = (("steps", 0.8), ("glance", 0.2))

    @property
    def prompt(self) -> str:
        """The problem, as it is asked."""
        opening = f"{self.name_of_owner} has {self.start} {self.item}."
        question = f"How many {self.item} does {self.name_of_owner} have now?"
        return " ".join((opening, *self.sentences, question))

    @property
    def result(self) -> int:
        """The right answer."""
        return self._values()[-1]

    def _values(self) -> list[int]:
        values = [self.start]
        for operator, number in self.steps:
            values.append(_apply(operator, values[-1], number))
        return values

    def _operations(self) -> str:
        return " and then ".join(f"{operator} {number}" for operator, number in self.steps)

    def plan(self, style: str) -> str:
        """What a thinker of this style is going to do."""
        how = "one step at a time" if style == "steps" else "all at once"
        return f"I start with {self.start}, then {self._operations()}, {how}."

    def restate(self) -> str:
        """The problem in other words."""
        return f"the question: from {self.start}, {self._operations()}."

    def work(self, style: str, rng: random.Random, wrong: bool = False) -> tuple[str, int]:
        """The reasoning in one style and its result; `wrong` makes one slip in it."""
        slip = rng.randrange(len(self.steps)) if wrong else None
        error = rng.choice((-2, -1, 1, 2))
        value, parts = self.start, []
        for index, (operator, number) in enumerate(self.steps):
            before, value = value, _apply(operator, value, number)
            if index == slip:
                value = value + error if value + error >= 0 else value + 1
            parts.append(f"{before} {operator} {number} = {value}.")
        if style == "glance":
            # Brackets keep the expression true to the story whatever the operators are.
            parts = [f"{'(' * (len(self.steps) - 1)}{self.start}"]
            parts += [f" {op} {n}{')' if i < len(self.steps) - 1 else ''}" for i, (op, n) in enumerate(self.steps)]
            return f"{''.join(parts)} = {value}. The total is {value}.", value
        return f"{' '.join(parts)} The total is {value}.", value


def _apply(operator: str, value: int, number: int) -> int:
    return {"+": value + number, "-": value - number, "*": value * number}[operator]


def random_step(value: int, rng: random.Random) -> tuple[str, int, int]:
    """A random operation on a value: its operator, its number and its result, which is above 0 and at most 20."""
    operator = rng.choice(["+"] * (value <= 18) + ["-"] * (value >= 3) + ["*"] * (value <= 10))
    if operator == "*":
        number = rng.randint(2, 3) if value <= 6 else 2
    elif operator == "+":
        number = rng.randint(2, min(9, 20 - value))
    else:
        number = rng.randint(2, min(9, value - 1))
    return operator, number, _apply(operator, value, number)


def random_task(rng: random.Random) -> ArithmeticTask:
    """A random problem of two or three steps."""
    owner, other = rng.sample(NAMES, 2)
    value = start = rng.randint(2, 12)
    steps, sentences = [], []
    for _ in range(rng.choice((2, 2, 3))):
        operator, number, value = random_step(value, rng)
        steps.append((operator, number))
        sentences.append(_sentence(operator, number, other, rng))
    return ArithmeticTask(owner, rng.choice(ITEMS), start, tuple(steps), tuple(sentences))


def _sentence(operator: str, number: int, other: str, rng: random.Random) -> str:
    if operator == "+":
        return rng.choice((f"Then {other} gives {number} more.", f"Then a shop sells {number} more of them."))
    if operator == "-":
        return rng.choice((f"Then {number} of them get lost.", f"Then {other} takes {number} of them."))
    return f"Then the number becomes {number} times as large."
