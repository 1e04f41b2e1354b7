import json
import os
import random
from pathlib import Path

import diagnostics_accuracy
import pytest

from hf_treecot.verifiers.diagnostics import (
    answer_thought,
    count_reflections,
    has_answer,
    is_looping,
    is_over_reflecting,
    repetition,
)


COLOURS = ("red", "blue", "green")
ROOT = Path(__file__).parents[1]
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
    assert count_reflections("<reflection>Wait! something is wrong</reflection><double-check>5</double-check>") == 2
    assert (
        count_reflections("Hold on. Let me double-check that. On second thought, no. I will wait for the waiter.") == 4
    )


LOOPS = (
    "wait, let me check the count again. " * 8,
    "Counting: " + "no, " * 40,
    f"{PROSE} " + "So I take 3 and 4 and get 7. Then I check it. " * 5,
    "".join(f"Step {n}: I add the numbers, see that it is not right, and go back to the start. " for n in range(30)),
    "a" * 3000,
    "The answer is\n" + "\n" * 2000,
    "Answer:" + " " * 3000,
    "Let me see.abcabc" + "abcde" * 500,
    "x = 0." + "0" * 3000,
    "1/7 = 0." + "142857" * 300,
    "我们再检查一次。" * 120,
    "Answer " + "-" * 1500,
    "Count: " + " ".join(map(str, range(1, 2000))),
    "1" + "".join(f", {n}" for n in range(2, 1500)),
    "\n".join(f"{n}." for n in range(1, 1500)),
    "".join(f"The next number is {n}. " for n in range(1, 200)),
)
REAL_LOOPS = json.loads((Path(__file__).parent / "data" / "looping_outputs.json").read_text())


@pytest.mark.parametrize("text", LOOPS)
def test_loops(text):
    assert is_looping(text)


@pytest.mark.parametrize("text", LOOPS[:3])
def test_a_loop_that_a_text_got_out_of_is_none(text):
    after = (ROOT / "README.md").read_text(encoding="utf-8")[:2000]
    assert not is_looping(f"{text} {after}")


def test_real_outputs_of_an_overtrained_model_are_loops():
    """The starter model after too much DPO, cut off as a token limit does."""
    assert REAL_LOOPS
    assert all(is_looping(text) for text in REAL_LOOPS)
    assert not any(has_answer(text) for text in REAL_LOOPS)


def test_going_round_in_the_same_few_words_is_a_loop():
    """As a model does that was trained on its longest chains: no phrase of it comes back as it was."""
    rng = random.Random(0)
    steps = [
        f"{verb} {a} {on} {b}."
        for verb, on in (("stack", "on"), ("unstack", "from"))
        for a in COLOURS
        for b in COLOURS
    ]
    text = " ".join(rng.choices(steps, k=100))
    assert is_looping(text)
    assert not is_looping(" ".join(rng.choices(steps, k=40)))  # a plan may be that long


ORDINARY = [
    PROSE,
    "",
    "one two three",
    "ha ha ha ha",
    r"A = \begin{pmatrix}" + r" \\ ".join([" & ".join("0" * 8)] * 8) + r"\end{pmatrix}. So its rank is 0. \boxed{0}",
    r"\begin{pmatrix}"
    + r"\\".join(" & ".join(f"{i == j:d}" for j in range(10)) for i in range(10))
    + r"\end{pmatrix}",
    "| n | n^2 | even |\n| --- | --- | --- |\n" + "\n".join(f"| {n} | {n * n} | {n % 2 == 0} |" for n in range(1, 30)),
    "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n"
    * 3,
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n\n"
    + "".join(f"assert f({n}) == {n}\n" for n in range(12)),
    f"Step 1\n{'-' * 60}\nStep 2\n{'=' * 60}\nThe answer is 5.",
    "".join(f"The letter number {i} is {c}. " for i, c in enumerate("strawberryblueberry", 1)) + "So there are 5 r.",
    "pi = 3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798",
    f"List: {', '.join(map(str, range(1, 101)))}. The sum is 5050.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "<thinking>s is not r. t is not r. r is r: 1. a is not r. w is not r. b is not r. r is r: 2.</thinking>",
    *(ROOT / "README.md").read_text(encoding="utf-8").split("\n## "),
    (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"),
]


@pytest.mark.parametrize("text", ORDINARY)
def test_no_false_alarms_in_ordinary_text(text):
    assert not is_looping(text)
    assert not is_over_reflecting(text)


@pytest.mark.skipif("TREECOT_REAL_DATA" not in os.environ, reason="TREECOT_REAL_DATA names no directory")
@pytest.mark.parametrize(
    ("path", "column"),
    [("gsm8k/train.jsonl", "answer"), ("math500/test.jsonl", "solution"), ("ifeval/input_data.jsonl", "prompt")],
)
def test_no_false_alarms_in_real_solutions(path, column):
    lines = (Path(os.environ["TREECOT_REAL_DATA"]) / path).read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)[column] for line in lines]
    assert [text for text in texts if is_looping(text) or is_over_reflecting(text)] == []


def test_over_reflection_is_many_reflections_and_little_else():
    endless = "Wait, perhaps it is 4. Alternatively, it is 5. Hmm, let me recheck. " * 4
    assert is_over_reflecting(endless)
    assert not is_over_reflecting("Wait, it is 5. Hold on. Let me double-check. It is 6.")  # a few are good
    assert not is_over_reflecting(endless + PROSE * 20)


def precision_and_recall(rows):
    scores = diagnostics_accuracy.scores([row["label"] for row in rows], diagnostics_accuracy.kinds(rows))
    return {kind: (both / max(said, 1), both / read) for kind, (read, said, both) in scores.items() if read >= 10}


def test_the_kinds_agree_with_a_careful_reading():
    rows = diagnostics_accuracy.own_rows()
    hot = [row for row in rows if diagnostics_accuracy.drawn_as(row) == diagnostics_accuracy.HOT]
    found = precision_and_recall([row for row in rows if row not in hot])
    assert set(found) == {"answered", "unparseable", "looping", "truncated"}
    assert all(precision >= 0.97 and recall >= 0.95 for precision, recall in found.values()), found
    assert not any(is_over_reflecting(row["text"]) for row in rows)
    precision, recall = precision_and_recall(hot)["none_given"]  # which is rare among the others
    assert precision >= 0.9
    assert recall >= 0.95


@pytest.mark.skipif("TREECOT_REAL_DATA" not in os.environ, reason="TREECOT_REAL_DATA names no directory")
def test_and_so_they_do_on_outputs_of_others():
    found = precision_and_recall(diagnostics_accuracy.public_rows(Path(os.environ["TREECOT_REAL_DATA"])))
    assert all(precision >= 0.97 and recall >= 0.95 for precision, recall in found.values()), found
