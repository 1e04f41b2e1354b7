"""Drills: the skills that thoughts are made of, exercised densely before the first chain is read.

A chain holds a few tokens that take counting or adding, among many that anyone could guess. A small model that sees
chains alone does not learn to count in minutes; with drills first it does.
"""

import random
from string import ascii_lowercase

from .arithmetic import random_step
from .chains import Segment
from .letters import random_word


def adding(rng: random.Random) -> list[Segment]:
    """Sums, one after the other."""
    segments = []
    for _ in range(12):
        value = rng.randint(2, 20)
        operator, number, result = random_step(value, rng)
        segments += [
            Segment(f"{value} {operator} {number} =", False),
            Segment(f" {result}.", True),
            Segment(" ", False),
        ]
    return segments


def counting(rng: random.Random) -> list[Segment]:
    """Letters of one word, counted one after the other."""
    word = random_word(rng)
    present = sorted(set(word))
    asked = rng.sample(present, min(6, len(present))) + rng.sample(ascii_lowercase, 2)
    rng.shuffle(asked)
    segments = [Segment(f"Add up the counts in {word}.", False)]
    for letter in asked:
        segments += [Segment(f" {letter} appears", False), Segment(f" {word.count(letter)} times.", True)]
    return segments


DRILLS = (adding, counting, counting)
