"""Which words after a number are a unit, and which change it; tried through the verifier of mathematics."""

import pytest

from hf_treecot import Problem
from hf_treecot.verifiers.math import verify
from hf_treecot.verifiers.units import canonical, is_unit


FORMS = (r"\boxed{{7 {}}}", r"\boxed{{7\text{{ {}}}}}", "The answer is 7 {}.", "The answer is $7$ {}.")
# Words that the question uses as well: being there makes none of them a unit.
QUESTION = "To the nearest of 7 tenths, thousands, log and x: what is twice that, or does it fail?"
CHANGING = (
    *"tenths thousands hundredths thousandths fifths sixths eighths twentieths hundreds millions lakh crore".split(),
    *"bn gross dozen twenty factorial twice doubled sqrt log sin infinity mod divided excluded impossible".split(),
    *"unlikely nope fails x y n k a i e".split(),
    "cannot be it", "unless x", "below zero", "and a half", "any text", "of the eighths", "tenths of a meter",
)  # fmt: skip
UNITS = (
    "m", "meters", "m/s", "km per hour", "square meters", "apples", "apples left", "in total", "people", "years old",
    "days", "cents", "mph", "dollars every day", "calories",
)  # fmt: skip


def reward(completion, gold="7", question="What is it?"):
    return verify(completion, Problem("1", question, gold, "math")).reward


@pytest.mark.parametrize("words", CHANGING)
def test_words_that_change_a_number_are_never_its_unit(words):
    assert [reward(form.format(words), question=QUESTION) for form in FORMS] == [0.0] * len(FORMS)


@pytest.mark.parametrize("words", UNITS)
def test_units_and_what_is_counted_are_taken_off(words):
    assert [reward(form.format(words)) for form in FORMS] == [1.0] * len(FORMS)


@pytest.mark.parametrize(
    ("completion", "gold", "question", "expected"),
    [
        (r"\boxed{7 km}", "7 m", "How far is it?", 0.0),
        (r"\boxed{7 meters}", "7 m", "How far is it?", 1.0),
        (r"\boxed{7 cm^2}", "7 cm^3", "How large is it?", 0.0),
        (r"\boxed{75 dollars}", "75", "How many cents is it?", 0.0),
        (r"\boxed{75 cents}", "75", "How many cents is it?", 1.0),
        (r"\boxed{7 children}", "7", "How many people are there?", 1.0),
        ("The answer is $7$ m/s^2.", "7", "How fast?", 1.0),
        (r"\boxed{\varnothing}", r"\emptyset", "Which?", 1.0),
        (r"\boxed{2√3}", r"2\sqrt{3}", "Which?", 1.0),
        ("The answer is exactly 7.", "7", "Which?", 1.0),
        ("The answer is: 5 because 2+3=5.", "5", "Which?", 1.0),
        ("The answer is 7 (since 3+4=7).", "7", "Which?", 1.0),
        ("The answer is 5 because it is not 6.", "6", "Which?", 0.0),
    ],
)
def test_what_the_question_and_the_gold_answer_measure(completion, gold, question, expected):
    assert reward(completion, gold, question) == expected


def test_a_word_of_the_question_is_a_unit():
    assert not is_unit("fish tank", "")
    assert is_unit("fish tank", "Every tank holds 3 fish.")


@pytest.mark.parametrize(("word", "name"), [("kilometres", "km"), ("Inches", "in"), ("Kelvin", "K"), ("k", None)])
def test_names_of_units(word, name):
    assert canonical(word) == name
