"""
Whatever comes in, nothing but an error of ours comes out, and in time. Some dozens of examples here; as many as wanted
with `TREECOT_FUZZ=10000 pytest tests/test_fuzz.py`.
"""

import copy
import json
import os

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hf_treecot.base import Problem
from hf_treecot.control_tokens import count_escaped, escape_control_tokens
from hf_treecot.errors import InvalidInputError, VerifierError
from hf_treecot.mcts.pattern import PATTERN_DIRECTORY, available_patterns, load_pattern
from hf_treecot.mcts.tree import Tree
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.verifiers import load_verifier
from hf_treecot.verifiers.diagnostics import has_answer, is_looping, is_over_reflecting, repetition
from hf_treecot.verifiers.worker import VerifierPool

from .test_tree import small_tree


EXAMPLES = int(os.environ.get("TREECOT_FUZZ", 60))
fuzz = settings(
    max_examples=EXAMPLES, deadline=5000, derandomize="TREECOT_FUZZ" not in os.environ, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PIECES = st.sampled_from(
    r"\boxed{ } { $ $$ \( \) \[ \] \frac \sqrt ^ _ = , ; . 3 1/2 0.5 10^ ! 99999999999 pi \pi \infty x y + - * / % "
    r"or and \text{ \begin{pmatrix} \end{pmatrix} & \\ \left( \right) \binom \log \ln \sin e^{ i The answer is A: "
    r"** ### #### <answer> </answer> <thinking> <|im_end|> [PLAN] [PLAN END] (unstack b c) (pick-up a) put down the "
    r"red block unstack the red block from on top of the blue block Step 1: Wait, no".split(" ")
)
COLUMNS = st.sampled_from(["prompt", "answer", "problem", "solution", "id", "question", "verifier", "pddl"])
COMPLETION = st.lists(PIECES | st.text(max_size=5), max_size=40).map(" ".join) | st.text(max_size=200)
WORLD = (
    "(define (problem blocks) (:domain blocksworld-4ops) (:objects blue red)\n(:init (clear blue) (clear red) "
    "(handempty) (ontable blue) (ontable red))\n(:goal (and (on red blue))))"
)


def paths_of(value, prefix=()):
    """Every place in a nested value."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_of(inner, (*prefix, key))


@st.composite
def damaged(draw, value):
    """A copy of a nested value with another one at one to three places."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in paths_of(value) if path]))
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        if draw(st.booleans()) and isinstance(inner, dict):
            del inner[path[-1]]
        else:
            inner[path[-1]] = draw(JSON | st.integers(-2, 12))
        if not any(path for path in paths_of(value)):
            break
    return value


@fuzz
@given(damaged(small_tree()[0].to_record()))
def test_records_of_trees(record):
    try:
        tree = Tree.from_record(record)
    except InvalidInputError:
        return
    selector = Selector(lambda text: list(text.encode()))
    rows = [*selector.select_sft(tree), *selector.select_preferences(tree)]
    assert all(row["tree_id"] == tree.tree_id for row in rows)
    assert Tree.from_record(json.loads(json.dumps(tree.to_record()))).statistics == tree.statistics


@fuzz
@given(st.sampled_from(available_patterns()).flatmap(
    lambda name: damaged(yaml.safe_load((PATTERN_DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8")))
))  # fmt: skip
def test_patterns(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        pattern = load_pattern(path)
    except InvalidInputError:
        return
    assert pattern.next_kinds(None)
    assert all(pattern.system_prompt(role) is not None for role in ("generator", "critic"))


@settings(fuzz, max_examples=max(10, EXAMPLES // 10))
@given(st.lists(st.dictionaries(COLUMNS, JSON, min_size=1), min_size=1, max_size=3))
@example([{"prompt": None, "answer": {"\x00": {}}}])
def test_files_of_problems(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        problems = load_problems(str(path))
    except InvalidInputError:
        return
    assert all(isinstance(problem.answer, str) and problem.prompt.strip() for problem in problems)


@fuzz
@given(COMPLETION)
def test_completions_read_in_this_process(text):
    for verifier, answer in (("letters", "3"), ("planning", WORLD)):
        verdict = load_verifier(verifier)(text, Problem("p", "?", answer, verifier))
        assert 0 <= verdict.reward <= 1
    assert 0 <= repetition(text) <= 1
    assert {type(check(text)) for check in (has_answer, is_looping, is_over_reflecting)} == {bool}
    escaped = escape_control_tokens(text)
    assert escape_control_tokens(escaped) == escaped
    assert count_escaped(escaped) >= count_escaped(text) * (escaped == text)


@settings(fuzz, deadline=60_000)
@given(COMPLETION, st.sampled_from([r"\frac{1}{2}", "3", "x^2+1", r"\{1,2\}", "(0,1]", "5\\text{ cm}"]))
def test_completions_read_by_the_math_verifier(pool, text, gold):
    try:
        verdict = pool.verify_blocking(text, Problem("p", "?", gold, "math"))
    except VerifierError:  # a limit, named and counted
        return
    assert 0 <= verdict.reward <= 1


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(num_workers=2, time_limit=3) as pool:
        yield pool
