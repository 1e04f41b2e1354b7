"""Drills: the skills that thoughts are made of, exercised densely before the first chain is read.

A chain holds a few tokens that take counting or adding, among many that anyone could guess. A small model that sees
chains alone does not learn to count in minutes; with drills first it does.
"""

import random
from itertools import pairwise
from string import ascii_lowercase

from ..domains.arithmetic import random_step
from ..domains.blocks import random_task as random_blocks
from ..domains.blocksworld import COLOURS
from ..domains.letters import random_word
from .chains import Segment


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


def placing(rng: random.Random) -> list[Segment]:
    """What is on what, asked in both directions, and towers from top to bottom."""
    segments = []
    for _ in range(3):
        tower = rng.sample(COLOURS, 3)
        places = [*pairwise(tower), (tower[-1], "table")]
        told = ". ".join(f"{block} is on {under}" for block, under in rng.sample(places, 3))
        segments.append(Segment(f"{told}.", False))
        questions = [(f" unstack {upper} from", f" {lower},") for upper, lower in places[:2]]
        questions += [(f" {lower} is under", f" {upper},") for upper, lower in places[:2]]
        for question, answer in rng.sample(questions, 4):
            segments += [Segment(question, False), Segment(answer, True)]
        segments += [Segment(" from the top", False), Segment(f" {' and '.join(tower)}.", True), Segment(" ", False)]
    return segments


def standing(rng: random.Random) -> list[Segment]:
    """How the blocks of a problem stand, and what is to be built of them: what a plan is read from."""
    task = random_blocks(rng)
    return [
        Segment(f"{task.prompt}", False), Segment(f" {task.standing()}", True), Segment(f" {task.building()}", True),
    ]  # fmt: skip


DRILLS = (adding, counting, counting, counting, counting, placing, standing, standing)
