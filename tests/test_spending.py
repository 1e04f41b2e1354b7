"""Where simulations are spent, by hand and in small worlds whose best way is known."""

import asyncio
import math
import random
from collections import Counter

import pytest

from hf_treecot.engines.engine import Completion
from hf_treecot.errors import EngineError, InvalidInputError
from hf_treecot.mcts.pattern import FREE, best_of, load_pattern
from hf_treecot.mcts.search import SearchConfig, drawn, search
from hf_treecot.mcts.spending import (
    STOPPINGS,
    Branch,
    Child,
    Drawn,
    branch_at_root,
    branch_by_disagreement,
    branch_by_entropy,
    branch_by_thompson,
    majority_is_decided,
    probability_above,
    probability_is_decided,
    puct,
    thompson,
    uct,
)
from hf_treecot.mcts.tree import ROOT, Node, Tree

from .worlds import PROBLEM, ScriptedEngine, bandit_pattern, rewards, verify_inline


FREE_PATTERN = load_pattern("free")
ARMS = {FREE: ["generator"], "answer": ["generator"], "thinking": ["generator"]}


def tree_of(*nodes):
    """A tree of (parent, kind, answer or None, log-probability) rows."""
    tree = Tree(PROBLEM, "by hand")
    for parent, kind, answer, log_probability in nodes:
        reward = None if answer is None else 1.0
        tree.add(
            Node(kind, kind, "text", parent, tokens=2, log_probability=log_probability, answer=answer, reward=reward)
        )
    return tree


def test_scores_of_children_by_hand():
    # v/N = 3/4. PUCT: 0.75 + 2 * 0.5 * sqrt(9) / 5 = 1.35. UCT: 0.75 + 2 * sqrt(ln 9 / 4) = 2.2323.
    child = Child(3.0, 4, 9, prior=0.5)
    assert puct(child, 2.0, random.Random(0)) == pytest.approx(1.35)
    assert uct(child, 2.0, random.Random(0)) == pytest.approx(2.2323, abs=1e-4)
    assert puct(Child(0.0, 0, 9, 0.25), 2.0, random.Random(0)) == pytest.approx(1.5)


def test_a_thompson_score_is_a_draw_of_the_posterior():
    """Beta(1 + 3, 1 + 1) has the mean 4/6."""
    rng = random.Random(0)
    draws = [thompson(Child(3.0, 4, 9), 2.0, rng) for _ in range(4000)]
    assert sum(draws) / len(draws) == pytest.approx(4 / 6, abs=0.01)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    # Beta(1 + first, 1 + second) above one half: 1 - 2^-(n + 1) if all agree; one half for a tie.
    [(0, 0, 0.5), (1, 0, 0.75), (3, 0, 0.9375), (4, 0, 0.96875), (2, 2, 0.5), (4, 1, 57 / 64)],
)
def test_probability_of_a_lead(first, second, expected):
    assert probability_above(0.5, first, second) == pytest.approx(expected)


def test_when_a_majority_is_decided():
    assert not majority_is_decided(answers(""), 0.95)
    assert not majority_is_decided(answers("aaa"), 0.95)
    assert majority_is_decided(answers("aaaa"), 0.95)
    assert not majority_is_decided(answers("aaaab"), 0.95)
    assert majority_is_decided(answers("aaaaaabc"), 0.95)  # against the next one alone


def answers(letters, probability=None):
    """Answers, each by a chain of its own of the same probability."""
    return [Drawn(a, i, probability and math.log(probability)) for i, a in enumerate(letters)]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([], False),
        (answers("a", 0.55), True),  # no other can be as probable
        (answers("a", 0.3), False),  # 0.7 are unseen: (1 - 3/7) / 2 = 0.286 of it; 1 - 0.286^2 = 0.918
        (answers("aa", 0.2), True),  # 0.4 against 0.6: (1 - 2/3) / 2 = 1/6 of it, 1 - (1/6)^3
        ([Drawn("a", 0, math.log(0.3))] * 3, True),  # drawn three times, known once: 1 - 0.286^4
        (answers("ab", 0.45), False),  # as probable
        (answers("aaa", 1e-12), False),  # of next to nothing this is the majority's rule
        (answers("aaaa", 1e-12), True),
    ],
)
def test_when_the_most_probable_answer_is_decided(drawn, expected):
    assert probability_is_decided(drawn, 0.95) is expected


def test_probabilities_that_are_not_known_decide_nothing():
    with pytest.raises(EngineError, match="stopping='probability_decided' needs log-probabilities"):
        probability_is_decided(answers("a"), 0.95)


def test_the_root_branches_once_it_has_children():
    assert branch_at_root(tree_of(), FREE_PATTERN, ARMS, random.Random(0)) is None
    tree = tree_of((ROOT, "thinking", None, -1.0))
    assert branch_at_root(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(ROOT, FREE)


def test_entropy_branches_at_the_least_likely_thought_per_sibling():
    tree = tree_of((ROOT, "sub_task", None, -1.0), (1, "thinking", None, -9.0), (2, "answer", "a", -2.0))
    assert branch_by_entropy(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(1, "thinking")
    tree.add(Node("thinking", "thinking", "x", 1, tokens=2, log_probability=-8.0))
    assert branch_by_entropy(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(1, "thinking")  # 9 / 2
    for log_probability in (-1.0, -1.0, -1.0):  # 9 / 5 < 2
        tree.add(Node("thinking", "thinking", "x", 1, tokens=2, log_probability=log_probability))
    assert branch_by_entropy(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(2, "answer")
    with pytest.raises(EngineError, match="branching='entropy' needs log-probabilities"):
        branch_by_entropy(tree_of((ROOT, "thinking", None, None)), FREE_PATTERN, ARMS, random.Random(0))


def test_disagreement_branches_where_answers_part():
    """Below the first thinking both answers are a, below the second they are b and c: of the root, ln 4 of 3 kinds."""
    agreeing = [(ROOT, "sub_task", None, -1.0), (1, "thinking", None, -1.0), (1, "thinking", None, -1.0)]
    agreeing += [(2, "answer", "a", -1.0), (2, "answer", "a", -1.0), (3, "answer", "a", -1.0)]
    tree = tree_of(*agreeing, (3, "answer", "a", -1.0))
    assert branch_by_disagreement(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(ROOT, FREE)
    wide = [(ROOT, "thinking", None, -1.0)] * 3 + [(1, "answer", "a", -1.0), (2, "answer", "a", -1.0)]
    tree = tree_of(*wide, (3, "answer", "b", -1.0), (3, "answer", "c", -1.0))
    # The root: (2/4, 1/4, 1/4), 1.04 nats for 3 children; the third thinking: ln 2 = 0.69 for 2.
    assert branch_by_disagreement(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(ROOT, "thinking")
    for parent in (1, 2):
        tree.add(Node("answer", "answer", "text", parent, answer="a", reward=1.0))
    tree.add(Node("thinking", "thinking", "text", ROOT))
    # Now the root: (4/6, 1/6, 1/6), 0.87 nats for 4 children.
    assert branch_by_disagreement(tree, FREE_PATTERN, ARMS, random.Random(0)) == Branch(3, "answer")


def test_thompson_prefers_the_model_whose_thoughts_were_worth_more():
    tree = tree_of(*[(ROOT, "answer", "a", -1.0)] * 20)
    for node in tree.nodes[1:]:
        node.visit_count, node.role = 1, "generator_2"
        node.value_sum = 1.0
    for node in tree.nodes[1:11]:
        node.role, node.value_sum = "generator", 0.0
    arms = {FREE: ["generator", "generator_2"]}
    rng = random.Random(0)
    chosen = Counter(branch_by_thompson(tree, FREE_PATTERN, arms, rng).role for _ in range(200))
    assert chosen["generator_2"] > 190
    assert branch_by_thompson(tree_of(), FREE_PATTERN, arms, rng) is None


class FreeEngine(ScriptedEngine):
    """Writes its thoughts itself, tags included: a sub-task that is always the same, a thought, an answer."""

    async def generate(self, request):
        self.requests.append(request)
        rng = random.Random(f"{request.seed} {request.temperature} {request.prompt}")
        chain = request.prompt.rpartition("[assistant]")[2]
        if "</thinking>" in chain:
            text = rf"<answer>The answer is: \boxed{{{chain.rpartition('so ')[2].partition('<')[0].strip()}}}"
        elif "</sub-task>" in chain:
            text = f"<thinking>so {42 if not request.temperature else rng.choice((42, 42, 41, 40))}"
        else:
            text = "<sub-task>What is asked?"
        return Completion(text, "stop", 5, 4, -3.0 if "thinking" in text else -0.5)


async def grow(engine, pattern="free", verify=verify_inline, **settings):
    config = SearchConfig(**{"num_simulations": 12, "min_right": 1, "max_right": 99, "give_up_factor": 1, **settings})
    pattern = load_pattern(pattern) if isinstance(pattern, str) else pattern
    engines = engine if isinstance(engine, dict) else {"generator": engine, "critic": engine}
    return await search(PROBLEM, pattern, engines, verify, config, random.Random(0))


async def test_a_model_chooses_the_kinds_of_its_thoughts_itself():
    tree = await grow(engine := FreeEngine())
    assert [node.kind for node in tree.nodes] == ["problem", "sub_task", "thinking", "answer"]
    assert tree.render(3).startswith("<sub-task>What is asked?</sub-task>\n<thinking>so 4")
    assert engine.requests[0].prompt.endswith("[assistant]")  # no tag is opened for it
    assert set(engine.requests[0].stop) >= {"</sub-task>", "</thinking>", "</answer>"}
    assert Tree.from_record(tree.to_record()) == tree


async def test_at_the_root_every_simulation_draws_a_chain_of_its_own():
    """Though all begin with the same thought, of which there is one node."""
    tree = await grow(FreeEngine(), branching="root", num_simulations=40)
    assert [tree.nodes[c].kind for c in tree.nodes[ROOT].children] == ["sub_task"]
    counts = Counter(tree.nodes[leaf].answer for leaf in tree.simulations)
    assert sum(counts.values()) == 40
    assert set(counts) == {"42", "41", "40"}
    assert 12 <= counts["42"] <= 28  # one half
    assert tree.generated_tokens == 40 * 12  # every chain was paid for


async def test_the_first_chain_is_greedy_and_others_are_not():
    engine = FreeEngine()
    tree = await grow(engine, branching="root", greedy="first_chain", temperature=1.0)
    assert [request.temperature for request in engine.requests[:3]] == [0.0] * 3
    assert {request.temperature for request in engine.requests[3:]} == {1.0}
    assert tree.nodes[tree.simulations[0]].answer == "42"


async def test_continuations_of_what_was_sampled_are_greedy():
    engine = FreeEngine()
    await grow(engine, branching="entropy", greedy="continuations", temperature=1.0)
    first = {r.prompt: r.temperature for r in reversed(engine.requests) if r.prompt.endswith("</thinking>\n")}
    assert set(first.values()) == {0.0}
    assert {r.temperature for r in engine.requests if r.prompt.endswith("</sub-task>\n")} == {0.0, 1.0}


@pytest.mark.parametrize("stopping", ["majority_decided", "probability_decided"])
async def test_a_decided_search_stops(stopping):
    tree = await grow(FreeEngine(), branching="root", stopping=stopping, greedy="first_chain", num_simulations=60)
    assert tree.stop_reason == "decided"
    found = drawn(tree, tree.simulations)
    assert STOPPINGS[stopping](found, 0.95)
    assert not STOPPINGS[stopping](found[:-1], 0.95)


async def test_probabilities_of_chains_whose_kinds_were_prescribed_decide_nothing():
    with pytest.raises(InvalidInputError, match="pattern 'reflection' says which thoughts follow"):
        await grow(FreeEngine(), "reflection", stopping="probability_decided")


async def test_entropy_spends_its_tokens_behind_the_unsure_thought():
    """Forks are at the thinking, so that the sub-task is written once."""
    tree = await grow(engine := FreeEngine(), branching="entropy")
    assert sum(request.prompt.endswith("[assistant]") for request in engine.requests) == 1
    assert {tree.nodes[leaf].answer for leaf in tree.simulations} == {"42", "41", "40"}


async def test_best_of_n_is_one_expansion_of_whole_replies():
    class Replies(ScriptedEngine):
        async def generate(self, request):
            self.requests.append(request)
            text = f"<thinking>so</thinking>\n<answer>\\boxed{{{request.seed}}}</answer>"
            return Completion(text, "eos", 5, 9, -1.0)

    tree = await grow(engine := Replies(), "best_of_5")
    assert len(engine.requests) == 5
    assert {request.stop for request in engine.requests} == {()}
    assert [(node.kind, node.tag, node.parent) for node in tree.nodes[1:]] == [("answer", "", ROOT)] * 5
    assert tree.render(1) == tree.nodes[1].text
    assert set(tree.simulations) == set(range(1, 6))


async def test_a_reply_without_thoughts_is_an_answer_and_a_thought_that_never_began_is_none():
    class Plain(ScriptedEngine):
        async def generate(self, request):
            return Completion(r"It is \boxed{42}.", self.script, 5, 4, -1.0)

    tree = await grow(Plain("eos"), num_simulations=1)
    assert [(node.kind, node.tag, node.reward) for node in tree.nodes[1:]] == [("answer", "", 1.0)]
    assert (await grow(Plain("stop"), num_simulations=1)).nodes[1].dead_end == "malformed"


async def test_the_prior_of_puct_is_the_models_own():
    class Sure(ScriptedEngine):
        async def generate(self, request):
            if request.stop == (">",):
                self.requests.append(request)
                return Completion("<answer", "stop", 5, 1, -0.1)
            return await super().generate(request)

    engine = Sure(lambda tag, chain, rng: r"\boxed{41}" if tag == "answer" else f" {rng.random()}")
    tree = await grow(engine, "double_check", child_selection="puct", num_simulations=8)
    asked = [request for request in engine.requests if request.stop == (">",)]
    assert {request.temperature for request in asked} == {0.0}
    assert all(
        request.prompt.endswith(("</thinking>\n", "</double-check>\n")) for request in asked
    )  # several may follow
    # 0.905 for an answer; the rest is for the two other kinds.
    visits = Counter()
    for node in tree.nodes:
        if node.kind == "thinking" and node.children:
            visits.update({tree.nodes[c].kind: tree.nodes[c].visit_count for c in node.children})
    assert visits["answer"] > max(visits["thinking"], visits["double_check"])


async def test_models_are_arms():
    """One always right, one always wrong: Thompson sampling comes to ask the right one."""
    engines = {
        "generator": FreeEngine(name="a"), "critic": FreeEngine(name="a"),
        "generator_2": ScriptedEngine(lambda tag, chain, rng: "", name="b"),
    }  # fmt: skip

    class Wrong(ScriptedEngine):
        async def generate(self, request):
            self.requests.append(request)
            return Completion(f"It is \\boxed{{{request.seed}}}.", "eos", 5, 4, -1.0)

    engines["generator_2"] = wrong = Wrong(name="b")
    tree = await grow(engines, branching="thompson", num_simulations=60)
    roles = Counter(tree.nodes[tree.path(leaf)[1]].role for leaf in tree.simulations)
    assert roles["generator"] > 2 * roles["generator_2"] > 0
    assert wrong.requests


@pytest.mark.parametrize(
    "settings", [{"branching": "root"}, {"branching": "thompson"}, {"child_selection": "thompson"}]
)
async def test_the_same_seed_gives_the_same_tree(settings):
    trees = [await grow(FreeEngine(), **settings) for _ in range(2)]
    assert trees[0] == trees[1]


async def test_names_that_are_none():
    for name in ("child_selection", "branching", "stopping", "greedy"):
        with pytest.raises(InvalidInputError, match=f"{name}='best' is unknown: use one of "):
            SearchConfig(**{name: "best"})
    with pytest.raises(InvalidInputError, match="decided_probability=1 is out of range"):
        SearchConfig(decided_probability=1)
    with pytest.raises(InvalidInputError, match="role 'judge' is unknown: call it generator or critic"):
        await grow({"judge": FreeEngine()})
    with pytest.raises(InvalidInputError, match="free, best_of_N with N up to 64"):
        load_pattern("best_of_65")


def test_thompson_selection_finds_the_better_arm():
    async def run():
        texts = iter(["bad", "good"])
        engine = ScriptedEngine(lambda tag, chain, rng: next(texts))
        verify = rewards({"bad": 0.2, "good": 0.8})
        return await grow(
            engine, bandit_pattern(), verify, child_selection="thompson", num_simulations=200, min_right=99
        )

    tree = asyncio.run(run())
    visits = {tree.nodes[c].text: tree.nodes[c].visit_count for c in tree.nodes[ROOT].children}
    assert visits["good"] > 4 * visits["bad"]


def test_best_of_is_a_pattern_like_any_other():
    assert load_pattern("best_of_8") == best_of(8)
