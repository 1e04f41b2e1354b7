import itertools
import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hf_treecot.engines.engine import Completion
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError, VerifierError
from hf_treecot.mcts.pattern import OnWrong, Pattern, ThoughtSpec, available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig, _Search, search, stop_reason
from hf_treecot.mcts.spending import uct_score
from hf_treecot.mcts.tree import ROOT

from .worlds import (
    PROBLEM,
    FailingEngine,
    ScriptedEngine,
    bandit_pattern,
    rewards,
    verify_crashing,
    verify_inline,
)


GOLDEN = Path(__file__).parent / "data"
SMALL = SearchConfig(num_simulations=6, min_right=2, max_right=3, give_up_factor=2, max_depth=8)


def both(engine):
    return {"generator": engine, "critic": engine}


async def grow(pattern="reflection", config=SMALL, engine=None, verify=verify_inline, seed=0):
    pattern = load_pattern(pattern) if isinstance(pattern, str) else pattern
    return await search(PROBLEM, pattern, both(engine or ScriptedEngine()), verify, config, random.Random(seed))


@pytest.mark.parametrize(
    ("value", "visits", "parent_visits", "constant", "expected"),
    [
        # By hand: 1/2 + 2 * sqrt(ln 10 / 2) = 0.5 + 2 * sqrt(1.151293) = 0.5 + 2 * 1.072983
        (1.0, 2, 10, 2.0, 2.645966),
        # 3/4 + 2 * sqrt(ln 8 / 4) = 0.75 + 2 * sqrt(0.519860) = 0.75 + 2 * 0.721014
        (3.0, 4, 8, 2.0, 2.192027),
        (3.0, 4, 8, 0.0, 0.75),
        (0.0, 1, 1, 2.0, 0.0),  # ln 1 = 0
        (0.0, 0, 5, 2.0, math.inf),  # unvisited first
    ],
)
def test_uct_score_is_the_papers_formula(value, visits, parent_visits, constant, expected):
    assert uct_score(value, visits, parent_visits, constant) == pytest.approx(expected, abs=1e-6)


def test_uct_score_equals_that_of_the_released_code():
    # 1.414 * sqrt(2 ln N / n) is C = 2 in the paper's form.
    assert uct_score(2, 4, 20, 2.0) == pytest.approx(2 / 4 + 1.4142136 * math.sqrt(2 * math.log(20) / 4), abs=1e-6)


@pytest.mark.parametrize(
    ("simulations", "right", "expected"),
    [
        (0, 0, ""),
        (1, 8, "enough_right"),
        (31, 7, ""),
        (32, 4, "enough_simulations"),
        (32, 3, ""),
        (127, 3, ""),
        (128, 3, "gave_up"),
        (40, 4, "enough_simulations"),
        (128, 8, "enough_right"),
    ],
)
def test_stopping_rule(simulations, right, expected):
    assert stop_reason(simulations, right, SearchConfig()) == expected


@pytest.mark.parametrize(
    ("probability", "config", "expected"),
    [
        (1.0, SearchConfig(num_simulations=8, min_right=2, max_right=3), "enough_right"),
        (0.0, SearchConfig(num_simulations=4, min_right=1, max_right=2, give_up_factor=3), "gave_up"),
        (0.4, SearchConfig(num_simulations=10, min_right=1, max_right=100), "enough_simulations"),
    ],
)
async def test_search_stops_for_every_reason(probability, config, expected):
    def script(tag, chain, rng):
        right = 42 if rng.random() < probability else 41
        return rf" \boxed{{{right}}}" if tag == "answer" else f" {rng.random()}"

    tree = await grow(config=config, engine=ScriptedEngine(script))
    assert tree.stop_reason == expected
    assert tree.to_record()["status"] == ("solved" if tree.answers(right=True) else "failed")
    right, simulations = len(tree.answers(True)), len(tree.simulations)
    if expected == "gave_up":
        assert (right, simulations) == (0, 12)
    elif expected == "enough_right":
        assert right == 3
        assert simulations <= 8
    else:
        assert simulations == 10
        assert right >= 1


async def test_visits_converge_on_the_better_arm():
    texts = iter(["bad", "good", "fair"])
    engine = ScriptedEngine(lambda tag, chain, rng: next(texts))
    run = _Search(
        PROBLEM, bandit_pattern(3), both(engine), rewards({"bad": 0.0, "good": 1.0, "fair": 0.4}),
        SearchConfig(exploration_constant=0.5), random.Random(0),
    )  # fmt: skip
    for simulation in range(400):
        await run.simulate(simulation)
    visits = {run.tree.nodes[c].text: run.tree.nodes[c].visit_count for c in run.tree.nodes[ROOT].children}
    assert sum(visits.values()) == run.tree.nodes[ROOT].visit_count == 400
    assert visits["good"] > 350
    assert visits["good"] > visits["fair"] > visits["bad"] > 0
    assert run.tree.nodes[ROOT].value_sum == pytest.approx(visits["good"] + 0.4 * visits["fair"])


async def test_two_armed_bandit_by_hand():
    # C = 2. After one visit of each arm: good 1 + 2 sqrt(ln 2), bad 0 + 2 sqrt(ln 2): good. Then, with N = 3:
    # good 1 + 2 sqrt(ln 3 / 2) = 2.482, bad 2 sqrt(ln 3) = 2.096: good. N = 4: 1 + 2 sqrt(ln 4 / 3) = 2.360,
    # bad 2 sqrt(ln 4) = 2.355: good, by a hair. N = 5: 1 + 2 sqrt(ln 5 / 4) = 2.269, bad 2 sqrt(ln 5) = 2.537: bad.
    texts = iter(["bad", "good"])
    run = _Search(
        PROBLEM, bandit_pattern(), both(ScriptedEngine(lambda tag, chain, rng: next(texts))),
        rewards({"bad": 0.0, "good": 1.0}), SearchConfig(), random.Random(0),
    )  # fmt: skip
    for simulation in range(6):
        await run.simulate(simulation)
    names = [run.tree.nodes[leaf].text for leaf in run.tree.simulations]
    assert sorted(names[:2]) == ["bad", "good"]
    assert names[2:] == ["good", "good", "good", "bad"]


@pytest.mark.parametrize("name", available_patterns())
async def test_golden_tree(name, request):
    """Whole trees, node by node. After a change of the search that is meant: pytest --update-golden, and look."""
    tree = await grow(name)
    record = json.loads(json.dumps(tree.to_record()))
    path = GOLDEN / f"tree_{name}.json"
    if request.config.getoption("--update-golden"):
        path.write_text(json.dumps(record, indent=1) + "\n")
    assert record == json.loads(path.read_text())


@pytest.mark.parametrize("name", available_patterns())
async def test_no_request_is_made_twice_even_where_samples_are_equal(name):
    engine = ScriptedEngine(lambda tag, chain, rng: r" \boxed{41}" if tag == "answer" else f" {rng.randrange(2)}")
    await grow(name, replace(SMALL, num_simulations=24), engine)
    requests = Counter((request.prompt, request.seed) for request in engine.requests)
    assert max(requests.values()) == 1


@pytest.mark.parametrize("name", available_patterns())
async def test_trees_obey_their_pattern(name):
    pattern = load_pattern(name)
    tree = await grow(name, replace(SMALL, num_simulations=24, max_right=12))
    for node in tree.nodes[1:]:
        parent = tree.nodes[node.parent]
        allowed = pattern.start if node.parent == ROOT else pattern.thoughts[parent.kind].next
        added = (
            pattern.on_wrong is not None
            and node.kind == pattern.on_wrong.add
            and parent.kind in pattern.on_wrong.under
        )
        assert node.kind in allowed or added
        assert node.role == pattern.thoughts[node.kind].role
        assert (node.reward is not None) <= pattern.thoughts[node.kind].terminal
    for parent in tree.nodes:
        kinds = Counter()
        for node in (tree.nodes[child] for child in parent.children):  # the i-th sample starts with the i-th prefill
            prefills = pattern.thoughts[node.kind].prefills
            assert node.text.strip().startswith(prefills[kinds[node.kind] % len(prefills)])
            kinds[node.kind] += 1
        for kind, count in pattern.next_kinds(None if parent is tree.nodes[ROOT] else parent.kind).items():
            extra = pattern.on_wrong.max_per_node if pattern.on_wrong and pattern.on_wrong.add == kind else 0
            assert kinds[kind] <= count + extra
    # Visits add up: every simulation through a node went on to a child or ended there.
    for node_id, node in enumerate(tree.nodes):
        ended = tree.simulations.count(node_id)
        assert node.visit_count == ended + sum(tree.nodes[c].visit_count for c in node.children)


async def test_critic_writes_its_kinds_and_sees_its_own_prompt():
    generator, critic = ScriptedEngine(name="a"), ScriptedEngine(name="b")
    pattern = load_pattern("released_demo")
    tree = await search(
        PROBLEM, pattern, {"generator": generator, "critic": critic}, verify_inline, SMALL, random.Random(0)
    )
    openings = {engine.identity.model: {r.stop[0] for r in engine.requests} for engine in (generator, critic)}
    assert openings["a"] == {"</sub-task>", "</thinking>", "</answer>"}
    assert openings["b"] <= {"</double-check>", "</thinking_from_scratch>"}
    assert "</double-check>" in openings["b"]
    assert all("somebody else's reasoning" in r.prompt for r in critic.requests)
    assert all("somebody else's reasoning" not in r.prompt for r in generator.requests)
    assert any(node.role == "critic" for node in tree.nodes)


async def test_a_wrong_answer_adds_a_reflection_under_the_nearest_ancestor():
    engine = ScriptedEngine(lambda tag, chain, rng: r" \boxed{41}" if tag == "answer" else f" {rng.random()}")
    tree = await grow("released_demo", SearchConfig(2, 1, 1, 3), engine)
    reflections = [node for node in tree.nodes if node.kind == "reflection"]
    assert reflections
    for node in reflections:
        parent = tree.nodes[node.parent]
        assert parent.kind == "double_check"
        assert any(tree.nodes[c].reward == 0 for c in parent.children)
        assert node.text == "Wait! something is wrong, let's think again."
        assert node.tokens == 0  # closed: nothing was generated
        assert [tree.nodes[c].kind for c in parent.children].count("reflection") == 1


async def test_a_wrong_answer_without_such_an_ancestor_adds_nothing():
    pattern = replace(bandit_pattern(), on_wrong=OnWrong("thinking", ("thinking",)))
    thoughts = {**pattern.thoughts, "thinking": ThoughtSpec("thinking", "thinking", next={"answer": 1})}
    pattern = replace(pattern, thoughts=thoughts)
    tree = await grow(pattern, SearchConfig(2, 1, 1, 2), ScriptedEngine(lambda *_: r"\boxed{0}"))
    assert [node.kind for node in tree.nodes] == ["problem", "answer"]  # two equal samples are one node


async def test_equal_samples_are_one_node_but_were_paid_for():
    tree = await grow(bandit_pattern(3), SearchConfig(1, 1, 1, 1), ScriptedEngine(lambda *_: r"\boxed{42}"))
    assert len(tree.nodes) == 2
    assert (tree.requests, tree.generated_tokens) == (3, 3)


async def test_depth_limit_ends_chains_with_an_answer_or_not_at_all():
    tree = await grow("reflection", replace(SMALL, max_depth=4, num_simulations=40, max_right=40))
    depths = [len(tree.path(i)) - 1 for i in range(len(tree.nodes))]
    assert max(depths) == 4
    assert all(tree.nodes[i].kind == "answer" for i, d in enumerate(depths) if d == 4)
    # (released demo) only a double-check leads to an answer, so at depth 2 thinking is a dead end
    tree = await grow("released_demo", replace(SMALL, max_depth=2))
    assert {node.dead_end for node in tree.nodes if node.visit_count and not node.children} == {"max_depth"}
    assert tree.stop_reason == "gave_up"
    assert tree.nodes[ROOT].value_sum == 0


async def test_token_limits():
    def script(tag, chain, rng):
        return Completion(f" {rng.random()}", "stop", 1, 10)

    tree = await grow("reflection", replace(SMALL, max_chain_tokens=25), engine := ScriptedEngine(script))
    assert {node.dead_end for node in tree.nodes} == {"", "max_chain_tokens"}
    assert {request.max_new_tokens for request in engine.requests} == {25, 15, 5}


@pytest.mark.parametrize("may_continue", [False, True])
async def test_unfinished_thoughts(may_continue):
    specs = {
        "thinking": ThoughtSpec("thinking", "thinking", next={"answer": 1}, continue_unfinished=may_continue),
        "answer": ThoughtSpec("answer", "answer", terminal=True),
    }

    def script(tag, chain, rng):
        return r"\boxed{42}" if tag == "answer" else Completion("and so on", "length", 1, 5)

    tree = await grow(Pattern("p", {"thinking": 1}, specs), SearchConfig(1, 1, 1, 1), ScriptedEngine(script))
    assert tree.nodes[1].finish_reason == "length"
    assert (tree.nodes[1].dead_end, len(tree.nodes)) == (("", 3) if may_continue else ("unfinished", 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("six</thinking>\n<answer>42", "six"),  # an engine that missed the stop string
        ("six <answer>42</answer>", "six"),  # a model that opened another tag before closing
        ("six < seven", "six < seven"),
    ],
)
async def test_overrun_is_cut(text, expected):
    engine = ScriptedEngine(lambda tag, chain, rng: text if tag == "thinking" else r"\boxed{42}")
    tree = await grow("double_check", SearchConfig(1, 1, 1, 1), engine)
    assert {node.text for node in tree.nodes if node.kind == "thinking"} == {expected}


async def test_empty_thoughts_are_dead_ends():
    engine = ScriptedEngine(lambda tag, chain, rng: " " if tag == "thinking" else "text")
    tree = await grow("double_check", replace(SMALL, num_simulations=2), engine)
    assert {node.dead_end for node in tree.nodes if node.kind == "thinking"} == {"empty"}


async def test_a_chain_that_does_not_fit_ends_and_the_tree_goes_on():
    class SmallContext(ScriptedEngine):
        async def generate(self, request):
            if request.prompt.count("<thinking>") > 1:
                raise ContextLengthError("too long")
            return await super().generate(request)

    tree = await grow("reflection", engine=SmallContext())
    assert "context_length" in {node.dead_end for node in tree.nodes}
    assert tree.stop_reason


async def test_one_sample_that_does_not_fit_keeps_the_siblings_that_were_paid_for():
    """
    By hand: three answers under the root, of which the second does not fit. The other two are its children; both are
    visited once, and no request is made again.
    """

    class OneTooLong(ScriptedEngine):
        async def generate(self, request):
            if len(self.requests) == 1:
                self.requests.append(request)
                raise ContextLengthError("too long")
            return await super().generate(request)

    texts = iter(["good", "bad"])
    engine = OneTooLong(lambda tag, chain, rng: next(texts))
    tree = await grow(bandit_pattern(3), SearchConfig(2, 1, 2, 1), engine, rewards({"good": 1.0, "bad": 0.0}))
    assert [(node.text, node.parent, node.visit_count, node.reward) for node in tree.nodes[1:]] == [
        ("good", ROOT, 1, 1.0), ("bad", ROOT, 1, 0.0),
    ]  # fmt: skip
    assert tree.nodes[ROOT].dead_end == ""
    assert (tree.requests, tree.generated_tokens, len(engine.requests)) == (2, 2, 3)
    texts = iter(["good", "bad"])
    assert tree == await grow(
        bandit_pattern(3), SearchConfig(2, 1, 2, 1), OneTooLong(engine.script), rewards({"good": 1.0, "bad": 0.0})
    )


async def test_a_failure_beside_a_sample_that_does_not_fit_is_a_failure():
    class Both(ScriptedEngine):
        async def generate(self, request):
            self.requests.append(request)
            raise (ContextLengthError if len(self.requests) == 1 else EngineError)("no")

    with pytest.raises(EngineError) as error:
        await grow(bandit_pattern(3), SearchConfig(1, 1, 1, 1), Both())
    assert type(error.value) is EngineError


@pytest.mark.parametrize(
    ("engine", "verify", "error"),
    [
        (FailingEngine(every=3), verify_inline, EngineError),
        (ScriptedEngine(), verify_crashing, VerifierError),
    ],
)
async def test_failures_propagate(engine, verify, error):
    with pytest.raises(error):
        await grow(engine=engine, verify=verify)


async def test_same_seed_same_tree_whatever_the_order_of_answers():
    trees = [await grow(engine=ScriptedEngine(delay=delay)) for delay in (0.0, 0.004, 0.004)]
    assert trees[0] == trees[1] == trees[2]
    assert trees[0] != await grow(seed=1)


async def test_every_request_has_a_seed_of_its_own():
    engine = ScriptedEngine()
    await grow("released_demo", replace(SMALL, num_simulations=20), engine)
    assert len({request.seed for request in engine.requests}) == len(engine.requests)
    assert all(0 <= request.seed < 2**31 for request in engine.requests)


async def test_two_patterns_side_by_side():
    import asyncio

    alone = [await grow(name) for name in ("reflection", "released_demo")]
    together = await asyncio.gather(
        *(grow(name, engine=ScriptedEngine(delay=0.002)) for name in ("reflection", "released_demo"))
    )
    assert alone == list(together)


async def test_simulations_in_flight_keep_the_books():
    config = SearchConfig(24, 4, 24, 1, simulations_in_flight=6)
    engine = ScriptedEngine(delay=0.003)
    tree = await grow("reflection", config, engine)
    assert len(tree.simulations) == 24
    assert tree.nodes[ROOT].visit_count == 24
    assert tree.nodes[ROOT].value_sum == sum(tree.nodes[leaf].reward or 0 for leaf in tree.simulations)
    assert len(set(tree.simulations)) > 6  # virtual losses spread them
    assert len({(n.parent, n.kind, n.text) for n in tree.nodes}) == len(tree.nodes)  # nothing was expanded twice


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_simulations", 0), ("min_right", 0), ("give_up_factor", -1), ("max_depth", 0), ("max_new_tokens", 0),
        ("max_chain_tokens", -5), ("temperature", -0.1), ("top_p", 0.0), ("top_p", 1.5), ("simulations_in_flight", 0),
        ("exploration_constant", -1.0), ("max_right", 3),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name_and_value(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}={value}"):
        SearchConfig(**{name: value})


async def test_a_search_can_be_watched():
    simulations, thoughts = [], [1]

    def observe(tree):
        simulations.append(len(tree.simulations))
        thoughts.append(len(tree.nodes))

    tree = await search(
        PROBLEM, load_pattern("reflection"), dict.fromkeys(("generator", "critic"), ScriptedEngine()), verify_inline,
        SearchConfig(num_simulations=6), random.Random(0), observe=observe,
    )  # fmt: skip
    assert sorted(set(simulations)) == list(range(len(tree.simulations) + 1))
    assert thoughts == sorted(thoughts)
    assert thoughts[-1] == len(tree.nodes)
    most_siblings = max(len(node.children) for node in tree.nodes)
    assert max(after - before for before, after in itertools.pairwise(thoughts)) <= most_siblings
