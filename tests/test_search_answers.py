"""Search as a way of decoding, in worlds whose best answers are known."""

import asyncio
import random

import pytest

from hf_treecot.base import Problem
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.errors import EngineError, InvalidInputError
from hf_treecot.evaluation.judges import load_judge
from hf_treecot.evaluation.search_answers import grow_answers, search_answers
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.verifiers.judging import answer_key, answer_text, states_answer

from .worlds import PROBLEM, ScriptedEngine, verify_inline


def mostly_right(tag, chain, rng):
    """Answers that are right two times of three; the wrong ones are all different."""
    if tag == "answer":
        return rf" \boxed{{{42 if rng.random() < 2 / 3 else rng.randrange(100, 999)}}}"
    return f" step {rng.randrange(1000)}"


def decode(engine, budget=400, problem=PROBLEM, pattern="reflection", **options):
    settings = {name: options.pop(name) for name in ("temperature", "branching", "stopping") if name in options}
    config = SearchConfig(**{"temperature": 1.0, "top_p": 1.0, **settings})
    return asyncio.run(
        search_answers(problem, engine, load_pattern(pattern), config, budget, **{"seed": 0, **options})
    )


def test_the_majority_is_chosen_and_comes_first():
    found = decode(ScriptedEngine(mostly_right))
    assert found.has_answer
    assert "\\boxed{42}" in found.chains[0]
    assert len(found.chains) == len(found.tokens) == len(found.found_at) > 5


@pytest.mark.parametrize("budget", [20, 100, 400])
def test_no_answer_from_beyond_the_budget_counts(budget):
    engine = ScriptedEngine(mostly_right)
    found = decode(engine, budget)
    assert found.has_answer
    assert max(found.found_at) <= budget
    assert found.spent < budget + 60  # what the last simulation began, it ends
    assert found.spent == sum(len(mostly_right_words(engine, request)) for request in engine.requests)


def mostly_right_words(engine, request):
    """The words that the engine wrote to a request: its tokens."""
    chain = request.prompt.rpartition("[assistant]")[2]
    tag = chain.rpartition("<")[2].partition(">")[0]
    return mostly_right(tag, chain, random.Random(f"{request.seed} {request.prompt}")).split()


def test_a_budget_too_small_for_an_answer_gives_none():
    found = decode(ScriptedEngine(mostly_right), budget=1)
    assert not found.has_answer
    assert len(found.chains) == 1


def test_the_gold_answer_is_not_looked_at():
    engines = [ScriptedEngine(mostly_right) for _ in range(2)]
    other = Problem(PROBLEM.problem_id, PROBLEM.prompt, "no number at all", PROBLEM.verifier)
    assert decode(engines[0]) == decode(engines[1], problem=other)
    assert engines[0].requests == engines[1].requests


def test_the_same_seed_gives_the_same_answers():
    first = decode(ScriptedEngine(mostly_right, delay=0.002), seed=3)
    assert first == decode(ScriptedEngine(mostly_right), seed=3)
    assert first != decode(ScriptedEngine(mostly_right), seed=4)


def sure_of_the_wrong(tag, chain, rng):
    """Rarely right, but sure when it is."""
    text = mostly_right(tag, chain, rng)
    if tag != "answer":
        return Completion(text, "stop", 5, 2, 0.0)
    right = rng.random() < 0.3
    return Completion(r" \boxed{42}" if right else r" \boxed{41}", "stop", 5, 2, -0.01 if right else -60.0)


def test_confidence_may_outweigh_the_majority():
    assert "\\boxed{41}" in decode(ScriptedEngine(sure_of_the_wrong), answer_vote="majority").chains[0]
    assert "\\boxed{42}" in decode(ScriptedEngine(sure_of_the_wrong), reward="confidence").chains[0]


def test_confidence_needs_log_probabilities():
    def silent(tag, chain, rng):
        return Completion(r" \boxed{42}", "stop", 5, 2)

    with pytest.raises(EngineError, match="needs log-probabilities"):
        decode(ScriptedEngine(silent), reward="confidence")


@pytest.mark.parametrize(
    ("options", "engine", "expected"),
    [
        ({}, "local", "log_probability"),
        ({}, "openai", "majority"),  # which may be those after temperature: nobody knows this server
        ({"reward": "confidence"}, "local", "reward_model"),
        ({"answer_vote": "value"}, "local", "value"),
        ({"answer_vote": "log_probability"}, "openai", "log_probability"),  # if one says so
    ],
)
def test_how_the_answer_is_chosen(options, engine, expected):
    world = ScriptedEngine(sure_of_the_wrong)
    world.identity = EngineIdentity(engine, "m")
    found = decode(world, temperature=0.7, **options)
    assert found.answer_vote == expected
    if expected != "value":
        assert f"\\boxed{{{41 if expected == 'majority' else 42}}}" in found.chains[0]


def test_chains_without_log_probabilities_vote_by_majority_unless_told_otherwise():
    def silent(tag, chain, rng):
        return Completion(mostly_right(tag, chain, rng), "stop", 5, 2)

    assert decode(ScriptedEngine(silent)).answer_vote == "majority"
    with pytest.raises(EngineError, match="answer_vote='log_probability' needs log-probabilities"):
        decode(ScriptedEngine(silent), answer_vote="log_probability")
    with pytest.raises(InvalidInputError, match="answer_vote='best' is unknown: use one of majority"):
        decode(ScriptedEngine(silent), answer_vote="best")


def test_an_answer_that_is_drawn_again_has_another_vote():
    """Two replies that are always the same and three that are never, drawn equally often."""

    class Replies(ScriptedEngine):
        async def generate(self, request):
            self.requests.append(request)
            kind = request.seed % 5
            return Completion(rf"\boxed{{{42 if kind < 2 else request.seed}}}", "eos", 5, 4, -9.0 + (kind > 3))

    settings = {"branching": "root", "pattern": "best_of_1", "budget": 400}
    found = decode(Replies(), answer_vote="majority", **settings)
    assert found.chains[0] == r"\boxed{42}"
    assert found.spent == 400
    assert decode(Replies(), **settings).chains[0] != r"\boxed{42}"  # its chain is known once, and is not so probable
    stopped = decode(Replies(), stopping="majority_decided", answer_vote="majority", **settings)
    assert stopped.chains[0] == r"\boxed{42}"
    assert stopped.spent < 400


def test_more_models_may_write():
    engines = [ScriptedEngine(mostly_right), ScriptedEngine(mostly_right, name="other")]
    found = decode(engines[0], branching="thompson", others=engines[1:])
    assert found.has_answer
    assert engines[1].requests


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    config = SearchConfig(temperature=1.0, top_p=1.0)
    arguments = (PROBLEM, ScriptedEngine(mostly_right), load_pattern("reflection"), config)
    grown = asyncio.run(grow_answers(*arguments, 400))
    for budget in (60, 150, 400):
        smaller = asyncio.run(grow_answers(*arguments, budget))
        assert grown.ballot(budget)[0] == smaller.ballot(budget)[0]
        # The simulation that went beyond the budget was backed up in neither.
        assert grown.ballot(budget)[1] == smaller.ballot(budget)[1]


def test_answers_that_mean_the_same_vote_together():
    """Two roots and two notations of one number against a wrong answer that is always written alike."""
    problem = Problem("p", "How long is the diagonal of a square of side 2?", "", "math")

    def script(tag, chain, rng):
        if tag != "answer":
            return f" step {rng.randrange(1000)}"
        return rng.choice(
            [r" \boxed{\sqrt{8}}", r" \boxed{2\sqrt{2}}", r" \boxed{\sqrt8}", r" \boxed{3}", r" \boxed{3}"]
        )

    found = decode(ScriptedEngine(script), 100, problem, answer_vote="majority")
    assert "\\boxed{3}" not in found.chains[0]
    names = {chain.rpartition("boxed{")[2].partition("}</")[0] for chain in found.chains}
    assert names == {r"\sqrt{8}", r"2\sqrt{2}", r"\sqrt8", "3"}


def likes_41(prompt, chain):
    return 0.9 if "41" in chain else 0.1


def test_a_reward_function_of_ones_own():
    found = decode(ScriptedEngine(sure_of_the_wrong), reward=f"{__name__}:likes_41")
    assert "\\boxed{41}" in found.chains[0]


@pytest.mark.parametrize("name", ["best", "os:nothing", "no.module:f"])
def test_unknown_rewards(name):
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load_judge(name)


def test_a_search_stops_at_its_tokens():
    config = SearchConfig(max_tree_tokens=50, min_right=100, max_right=100)
    engines = dict.fromkeys(("generator", "critic"), ScriptedEngine())
    tree = asyncio.run(search(PROBLEM, load_pattern("reflection"), engines, verify_inline, config, random.Random(0)))
    assert tree.stop_reason == "enough_tokens"
    assert 50 <= tree.generated_tokens < 110
    with pytest.raises(InvalidInputError, match="max_tree_tokens=0 is out of range"):
        SearchConfig(max_tree_tokens=0)


@pytest.mark.parametrize(
    ("texts", "verifier"),
    [
        ([r"<answer>\boxed{1,000}</answer>", r"\boxed{ 1{,}000 }", "The answer is 1000 dollars."], "math"),
        ([r"\boxed{\frac12}", r"\boxed{\dfrac12}", r"\boxed{$\frac12$}"], "math"),
        (["[PLAN]\npick up the red block\n[PLAN END]", "<answer>1. (pick-up red)</answer>"], "planning"),
        (["<answer>Ok.</answer>", " Ok. "], "instructions"),
    ],
)
def test_answers_that_are_the_same(texts, verifier):
    keys = {answer_key(text, verifier) for text in texts}
    assert len(keys) == 1
    assert None not in keys


def test_answers_that_are_not():
    assert answer_key(r"\boxed{4}", "math") != answer_key(r"\boxed{5}", "math")
    assert answer_key("<thinking>4</thinking>", "math") is None
    assert answer_key("[PLAN]\nfly away\n[PLAN END]", "planning") is None
    assert answer_key("<thinking>Ok</thinking>", "instructions") is None
    assert answer_text("<thinking>Ok</thinking>") == ""
    assert states_answer("<answer>perhaps</answer>")
    assert not states_answer("<answer></answer>")


class LikesOf41:
    """A value model that is sure of 41, with what it was asked."""

    identity = EngineIdentity("local", "values", "abc")

    def __init__(self):
        self.asked = []

    async def value(self, prompt, chain):
        self.asked.append((prompt, chain))
        await asyncio.sleep(0)
        return 0.99 if "41" in chain.rpartition("boxed")[2] else 0.01


def test_a_vote_by_a_value_model():
    """41 is rarer and less likely; the model's values outweigh both."""

    def rarely_41(tag, chain, rng):
        if tag != "answer":
            return Completion(f" step {rng.randrange(1000)}", "stop", 5, 2, 0.0)
        return Completion(r" \boxed{41}" if rng.random() < 0.3 else r" \boxed{42}", "stop", 5, 2, -0.1)

    model = LikesOf41()
    assert "\\boxed{42}" in decode(ScriptedEngine(rarely_41), answer_vote="value").chains[0]
    found = decode(ScriptedEngine(rarely_41), answer_vote="value", value_model=model)
    assert "\\boxed{41}" in found.chains[0]
    assert sorted(model.asked) == sorted((PROBLEM.prompt, chain) for chain in found.chains)
    assert {vote.value for vote in found.ballot} == {0.01, 0.99}


def test_a_value_model_rewards_answers_instead_of_a_verifier():
    model = LikesOf41()
    found = decode(ScriptedEngine(sure_of_the_wrong), reward="value", value_model=model)
    assert found.answer_vote == "reward_model"
    assert "\\boxed{41}" in found.chains[0]
    assert [vote.reward for vote in found.ballot] == [vote.value for vote in found.ballot]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": "value"}, "search_reward='value' needs a value_model"),
        ({"value_model": LikesOf41()}, "value_model would not be used: set answer_vote or search_reward to value"),
    ],
)
def test_a_value_model_where_it_is_needed_and_nowhere_else(options, message):
    with pytest.raises(InvalidInputError, match=message):
        decode(ScriptedEngine(mostly_right), **options)
