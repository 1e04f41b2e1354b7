"""Letter counting: problems as in the seed data of Marco-o1 v2, and how a person would think them through.

A problem asks how often two letters occur in a long word, so that a right answer is seldom luck. Words are made of
syllables and of random letters: none comes from a dictionary, so that real words are unseen ones.
"""

import random
from dataclasses import dataclass
from string import ascii_lowercase

from .whole_numbers import WholeNumberTask


PHRASINGS = (
    "What is the combined count of {a} and {b} in {word}?",
    "How many {a} and {b} are there in total in {word}?",
    "Add up the counts of {a} and {b} in {word}.",
    "Find out the total number of {a} and {b} in {word}.",
    "What is the sum of the counts of {a} and {b} in {word}?",
    "Calculate the total occurrences of {a} and {b} together in {word}.",
    "What is the combined total of {a} and {b} present in {word}?",
)
ONSETS = "b c d f g h j k l m n p r s t v w z ch sh th st tr pl cr br ph qu".split()
VOWELS = "a e i o u a e i o ea ou io y".split()
CODAS = ["", "", "", "", *"n r s t l m ck ss nd st x".split()]
ENDINGS = ["", "", *"ness less able ing ly ation er ism ous ical".split()]
LETTER_FREQUENCIES = dict(
    zip(ascii_lowercase, (8, 2, 4, 4, 11, 2, 2, 3, 8, 1, 1, 5, 3, 7, 7, 3, 1, 7, 7, 7, 4, 1, 1, 1, 2, 1), strict=True)
)


@dataclass(frozen=True)
class LettersTask(WholeNumberTask):
    """One problem: how often letters `a` and `b` occur in `word`, asked in the words of `phrasing`."""

    word: str
    a: str
    b: str
    phrasing: str

    name = "letters"
    verifier = "letters"
    # Both are honest; the hasty one goes wrong more often, without a lie in the training data. It is rare, so that who
    # can count in steps cannot yet do it in one go.
    styles = (("tally", 0.95), ("glance", 0.05))

    @property
    def prompt(self) -> str:
        """The problem, as it is asked."""
        return self.phrasing.format(a=self.a, b=self.b, word=self.word)

    @property
    def result(self) -> int:
        """The right answer."""
        return self.word.count(self.a) + self.word.count(self.b)

    def plan(self, style: str) -> str:
        """What a thinker of this style is going to do."""
        if style == "tally":
            return f"I count {self.a}, then I count {self.b}, then I add the two."
        return f"I count {self.a} and {self.b} in one go."

    def restate(self) -> str:
        """The problem in other words."""
        return f"the question: the number of {self.a} plus the number of {self.b}."

    def work(self, style: str, rng: random.Random, wrong: bool = False) -> tuple[str, int]:
        """The reasoning in one style and its result; `wrong` makes one slip in it."""
        letters = (self.a, self.b)  # in the order of the question: which comes first must not be a guess
        counts = [self.word.count(letter) for letter in letters]
        if wrong:
            which = rng.randrange(2)
            counts[which] += 1 if counts[which] == 0 or rng.random() < 0.5 else -1
        total = sum(counts)
        if style == "tally":
            tallies = ". ".join(f"{letter} appears {n} times" for letter, n in zip(letters, counts, strict=True))
            return f"{tallies}. {counts[0]} + {counts[1]} = {total}. The total is {total}.", total
        return f"{letters[0]} and {letters[1]} together appear {total} times. The total is {total}.", total


def random_word(rng: random.Random) -> str:
    """A made-up word of 6 to 13 letters."""
    length = rng.randint(6, 13)
    if rng.random() < 0.4:
        return "".join(rng.choices(list(LETTER_FREQUENCIES), list(LETTER_FREQUENCIES.values()), k=length))
    word = ""
    while len(word) < length:
        word += rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)
    return (word + rng.choice(ENDINGS))[:13]


def random_task(rng: random.Random) -> LettersTask:
    """A random problem; at least one of the two letters is in the word, mostly both."""
    word = random_word(rng)
    present = sorted(set(word), key=lambda letter: (-word.count(letter), letter))
    # Frequent letters more often: counts from 2 to 6 tell reasoning from luck better than 0 and 1 do.
    a = rng.choice(present[:3] if rng.random() < 0.75 else present)
    others = [letter for letter in present if letter != a]
    b = rng.choice(others) if others and rng.random() < 0.85 else rng.choice(sorted(set(LETTER_FREQUENCIES) - {a}))
    a, b = rng.sample((a, b), 2)
    return LettersTask(word, a, b, rng.choice(PHRASINGS))
