"""Trees with every verifier: an engine that knows right and wrong answers writes, a pool of workers verifies."""

import json
import os
from pathlib import Path

import pytest
from datasets import load_dataset
from instruction_cases import followed_and_broken

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.domains.blocksworld import parse_pddl, solve
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.verifiers import verifier_version
from hf_treecot.verifiers.worker import VerifierPool

from .worlds import ScriptedEngine


REAL = Path(os.environ.get("TREECOT_REAL_DATA", "not here"))
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real rows are not here: name them in TREECOT_REAL_DATA")


def answers(problem):
    """A right answer and a wrong one."""
    if problem.verifier == "planning":
        plan = "\n".join(f"({' '.join(action)})" for action in solve(parse_pddl(problem.answer)))
        return f"\n{plan}", f"\n{plan}\n{plan}"
    if problem.verifier == "instructions":
        instruction = json.loads(problem.answer)["instructions"][0]
        return followed_and_broken(instruction["id"], instruction["arguments"], problem.prompt)
    return rf"\boxed{{{problem.answer}}}", r"\boxed{77777}"


class KnowingEngine(ScriptedEngine):
    """Answers right every second time."""

    def __init__(self, problems):
        self.problems = problems
        super().__init__(self.write)

    async def generate(self, request):
        self.asked = next(p for p in self.problems if p.prompt in request.prompt)
        return await super().generate(request)

    def write(self, tag, chain, rng):
        if tag != "answer":
            return f" step {rng.randrange(1000)}"
        return f" {rng.choice(answers(self.asked))}"


def one_instruction(problems):
    return [p for p in problems if p.verifier != "instructions" or len(json.loads(p.answer)["instructions"]) == 1]


@pytest.mark.parametrize(
    "source",
    [
        "letters", "arithmetic", "blocksworld", "instructions",
        *(
            pytest.param(file, marks=real)
            for file in (
                "gsm8k/train.jsonl", "math500/test.jsonl", "aime24/test.jsonl", "letter_count/letter_count.json",
                "ifeval/input_data.jsonl", "blocksworld/plan_generation_3.json", "blocksworld/instances_3",
            )
        ),
    ],
)  # fmt: skip
async def test_trees_grow_with_every_verifier(tmp_path, source):
    problems = one_instruction(load_problems(str(REAL / source) if "/" in source else source, limit=12))[:4]
    engine = KnowingEngine(problems)
    config = BuildConfig(SearchConfig(num_simulations=6, min_right=1, max_right=4), show_progress=False)
    selector = Selector(str.split, SelectionConfig())
    async with VerifierPool() as pool:
        report = await build_trees(
            problems, [load_pattern("reflection")], {"generator": engine, "critic": engine}, pool.verify, selector,
            tmp_path / "run", config,
        )  # fmt: skip
    assert report.failures == {}
    assert report.trees == report.with_right == len(problems)
    assert report.statistics["wrong"] > 0
    trees = load_dataset(str(tmp_path / "run" / "dataset"), "trees", split="train")
    name = problems[0].verifier
    assert json.loads(trees[0]["provenance"])["verifier"] == f"{name} {verifier_version(name)}"
    rewarded = {node["reward"] for tree in trees for node in tree["nodes"] if node["kind"] == "answer"}
    assert {0.0, 1.0} <= rewarded
