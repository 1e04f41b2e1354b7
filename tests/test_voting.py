"""Votes, by hand."""

import math

import pytest

from hf_treecot.engines.engine import EngineIdentity
from hf_treecot.errors import EngineError, InvalidInputError
from hf_treecot.evaluation.voting import ANSWER_VOTES, Vote, elect, is_untempered, weigh


# One sure answer against two unsure ones; no answer at all, however likely, is not voted for.
BALLOT = [
    Vote("a", "1", log_probability=-5.0, value=0.1, reward=0.2),
    Vote(None, "2", log_probability=0.0, value=1.0, reward=1.0),
    Vote("b", "3", log_probability=-1.0, value=0.1, reward=0.3),
    Vote("a", "4", log_probability=-4.0, value=0.3, reward=0.0),
]


@pytest.mark.parametrize(
    ("answer_vote", "expected"), [("majority", 0), ("log_probability", 2), ("value", 3), ("reward_model", 2)]
)
def test_who_is_elected(answer_vote, expected):
    """By hand: two votes for a; e^-1 > e^-4 + e^-5; 0.4 > 0.1; 0.2 < 0.3. Of those for a, the one of most weight."""
    assert elect(BALLOT, answer_vote) == expected


def test_a_chain_that_was_drawn_twice_has_its_probability_once():
    twice = [Vote("a", "1", -1.5), Vote("a", "1", -1.5), Vote("b", "2", -1.0)]
    assert weigh(twice, "log_probability") == pytest.approx([math.exp(-0.5), 0.0, 1.0])
    assert elect(twice, "log_probability") == 2
    assert elect(twice, "majority") == 0


def test_chains_may_be_as_unlikely_as_they_like():
    assert elect([Vote("a", "1", -5000.0), Vote("b", "2", -4999.0)], "log_probability") == 1


@pytest.mark.parametrize("answer_vote", ANSWER_VOTES)
def test_of_no_answers_none_is_elected(answer_vote):
    assert elect([], answer_vote) is None
    assert elect([Vote(None, "1")], answer_vote) is None


@pytest.mark.parametrize("answer_vote", ANSWER_VOTES[1:])
def test_weights_that_are_not_known(answer_vote):
    with pytest.raises(EngineError, match=f"answer_vote='{answer_vote}' needs"):
        elect([Vote("a", "1")], answer_vote)


def test_an_unknown_vote():
    with pytest.raises(InvalidInputError, match="answer_vote='lottery' is unknown: use one of majority"):
        weigh(BALLOT, "lottery")


@pytest.mark.parametrize(
    ("engine", "version", "temperature", "top_p", "expected"),
    [
        ("local", "", 0.7, 0.9, True),
        ("openai", "vllm 0.11.0", 0.7, 0.9, True),
        ("openai", "llamacpp b6000", 0.7, 1.0, True),
        ("openai", "sglang 0.5", 0.7, 1.0, False),
        ("tgi", "3.3.6", 1.0, 0.9, False),
        ("tgi", "3.3.6", 1.0, 1.0, True),
    ],
)
def test_whose_log_probabilities_are_those_of_the_model(engine, version, temperature, top_p, expected):
    assert is_untempered(EngineIdentity(engine, "m", version=version), temperature, top_p) is expected
