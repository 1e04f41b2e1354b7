import pytest

from hf_treecot.base import Problem
from hf_treecot.errors import InvalidInputError
from hf_treecot.problems.decontamination import decontaminate
from hf_treecot.problems.loading import load_problems


LONG = "A farmer has seventeen sheep and twelve of them run away over the hill before the rain starts."


def problem(problem_id, prompt):
    return Problem(problem_id, prompt, "5")


@pytest.mark.parametrize(
    ("prompt", "evaluation", "left_out"),
    [
        (LONG, LONG, True),
        (f"Riddle: {LONG.upper().replace(' ', '  ')} How many stay?", LONG, True),
        (LONG.replace("twelve", "eleven"), LONG, False),  # no 13 words in a row are left
        ("What is 6 times 7?", "what is 6 times 7", True),  # a short one counts as a whole
        ("Say: what is 6 times 7, please?", "What is 6 times 7?", True),
        ("What is 6 times 8?", "What is 6 times 7?", False),
    ],
)
def test_problems_that_share_a_long_ngram_are_left_out(prompt, evaluation, left_out):
    kept, found = decontaminate([problem("train", prompt), problem("other", "Hello.")], [problem("test", evaluation)])
    assert found == ({"train": "test"} if left_out else {})
    assert [p.problem_id for p in kept] == (["other"] if left_out else ["train", "other"])


def test_wording_that_many_share_is_no_evidence():
    rules = "These are the rules of the game that everybody here has to follow at all times today."
    evaluation = [problem(f"test-{i}", f"{rules} Number {i}.") for i in range(10)]
    training = [problem("train", f"{rules} Something else."), problem("same", f"{rules} Number 3.")]
    kept, found = decontaminate(training, evaluation)
    assert [p.problem_id for p in kept] == ["train"]
    assert list(found) == ["same"]


def test_the_same_plan_in_other_words_is_left_out():
    worlds = load_problems("blocksworld", limit=3)
    other = Problem("other", "Quite other words.", worlds[1].answer, "planning")
    assert decontaminate([other], worlds)[1] == {"other": worlds[1].problem_id}


def test_ngrams_have_a_length():
    with pytest.raises(InvalidInputError, match="ngram=0 is out of range"):
        decontaminate([], [], 0)
