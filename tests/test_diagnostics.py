import pytest

from hf_treecot.diagnostics import answer_thought, count_reflections, has_answer, repetition


PROSE = (
    "A tree is grown for every problem, and its leaves are answers. Some are right and some wrong, and a rule says "
    "which. The longest right chain teaches a student how to think; the shortest one, set against a wrong chain, "
    "teaches it what to prefer. Nothing here says the same thing twice, although words such as the and a do occur."
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<thinking>2 + 2 = 4.</thinking>\n<answer>The answer is: \\boxed{4}</answer>", True),
        ("<answer>\\boxed{4", False),
        ("<answer>\\boxed{}</answer>", False),
        ("<answer>I do not know.</answer>", False),
        ("<thinking>\\boxed{4}</thinking><answer></answer>", False),  # a thought is not an answer
        ("So the answer is 4.", True),
        ("We get\n#### 4", True),
        ("<thinking>Let me think. Wait, ", False),
        ("", False),
    ],
)
def test_has_answer(text, expected):
    assert has_answer(text) is expected


def test_the_last_answer_thought_counts():
    assert answer_thought("<answer>3</answer> wait <answer>4</answer>") == "4"


def test_repetition():
    assert repetition("") == repetition("one two three") == repetition(PROSE) == 0.0
    loop = "wait, let me check the count again. " * 40
    assert repetition(loop) > 0.9
    assert 0.4 < repetition(f"{PROSE} {PROSE}") < 0.6
    assert repetition(f"{PROSE} {loop}") > 0.5


def test_reflections_are_counted_in_tags_and_in_prose():
    assert count_reflections(PROSE) == 0
    assert count_reflections("<reflection>Wait! something is wrong</reflection><double-check>5</double-check>") == 3
    assert (
        count_reflections("Hold on. Let me double-check that. On second thought, no. I will wait for the waiter.") == 4
    )
