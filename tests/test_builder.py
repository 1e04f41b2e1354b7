import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import load_dataset
from filelock import FileLock

from hf_treecot.base import Problem
from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.engines.journal import Journal
from hf_treecot.errors import InvalidInputError, UnverifiableError
from hf_treecot.hub.dataset import load_trees, read_tables
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.selection.selector import SelectionConfig, Selector

from .build_worker import PROBLEMS, build
from .worlds import FailingEngine, ScriptedEngine, verify_crashing, verify_inline


SEARCH = SearchConfig(num_simulations=4, min_right=1, max_right=2, give_up_factor=2, max_depth=6)


def files_of(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


async def small_build(
    output_dir, engine=None, verify=verify_inline, problems=None, patterns=("reflection",), **options
):
    engine = engine or ScriptedEngine()
    problems = problems or [Problem(f"p{i}", f"Problem {i}?", "42", "letters") for i in range(6)]
    return await build_trees(
        problems, [load_pattern(p) for p in patterns], {"generator": engine, "critic": engine}, verify,
        Selector(str.split, options.pop("selection", SelectionConfig())), output_dir,
        BuildConfig(options.pop("search", SEARCH), show_progress=False, **options),
    )  # fmt: skip


async def test_a_build_ends_in_a_dataset_and_a_report(tmp_path):
    report = await small_build(tmp_path / "run")
    trees = list(load_trees(tmp_path / "run"))
    assert [tree.problem.problem_id for tree in trees] == [f"p{i}" for i in range(6)]
    assert report.trees == report.rows["trees"] == 6
    assert report.statistics["right"] == sum(len(tree.answers(True)) for tree in trees)
    assert report.with_pair == sum(bool(tree.answers(True) and tree.answers(False)) for tree in trees)
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    assert written["rows"] == report.rows
    provenance = trees[0].provenance
    assert provenance["generator_model"] == "scripted"
    assert provenance["verifier"] == "letters 5"
    assert provenance["temperature"] == "0.7"


async def test_same_trees_with_1_and_16_in_flight(tmp_path):
    one = await build(tmp_path / "one", tmp_path / "log1", delay=0.0, trees_in_flight=1)
    many = await build(tmp_path / "many", tmp_path / "log2", delay=0.003, trees_in_flight=16)
    assert files_of(tmp_path / "one" / "dataset") == files_of(tmp_path / "many" / "dataset")
    assert one.trees == many.trees == len(PROBLEMS)
    assert len({tree.pattern for tree in load_trees(tmp_path / "one")}) > 2


def test_killed_at_random_moments_and_run_again_it_gives_the_same_bytes(tmp_path):
    asyncio.run(build(tmp_path / "whole", tmp_path / "whole.log", delay=0.0))
    requests_in_all = len((tmp_path / "whole.log").read_text().split())
    output, log = tmp_path / "killed", tmp_path / "killed.log"
    log.touch()
    rng = random.Random(0)
    kills, asked = 0, 0
    for attempt in range(40):
        finished = set()
        if (output / "journal.sqlite").exists():
            journal = Journal(output / "journal.sqlite")
            finished = {key.hex() for key in journal.keys()}
            journal.close()
        already = len(log.read_text().split())
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.build_worker", str(output), str(log)], cwd=Path(__file__).parents[1]
        )
        # Killed when it has asked a random number of requests more: some 14 times before it is done.
        target = already + rng.randint(1, max(2, requests_in_all // 8)) if kills < 12 else 10**9
        while process.poll() is None and len(log.read_text().split()) < target:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        asked_now = log.read_text().split()[already:]
        assert not finished & set(asked_now), "a finished request was asked again"
        asked += len(asked_now)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
    assert kills == 12
    assert files_of(output / "dataset") == files_of(tmp_path / "whole" / "dataset")
    # Only what was in flight at a kill was asked twice.
    assert requests_in_all <= asked <= requests_in_all + kills * 4 * 6
    assert attempt < 39


@pytest.mark.parametrize(
    ("engine", "verify", "reason"),
    [
        (FailingEngine(every=40), verify_inline, "EngineError: the server said 500"),
        (ScriptedEngine(), verify_crashing, "VerifierError: the verifier crashed"),
    ],
)
async def test_failed_problems_are_recorded_and_do_not_stop_the_rest(tmp_path, engine, verify, reason):
    report = await small_build(tmp_path / "run", engine, verify, trees_in_flight=2)
    assert report.failures
    assert set(report.failures.values()) == {reason}
    assert report.trees + len(report.failures) == 6
    assert (report.trees > 0) is (verify is verify_inline)
    assert len(list(load_trees(tmp_path / "run"))) == report.trees
    # Run again with what works, the failed ones are tried again and the result is as if nothing had happened.
    again = await small_build(tmp_path / "run")
    assert (again.trees, again.failures) == (6, {})
    await small_build(tmp_path / "clean")
    assert files_of(tmp_path / "run" / "dataset") == files_of(tmp_path / "clean" / "dataset")


async def test_a_verifier_that_hangs_costs_its_chains_alone(tmp_path):
    asked = []

    async def verify(text, problem):
        if problem.problem_id == "bad":
            asked.append(text)
            raise UnverifiableError("checking took more than 0.3 s, so it was killed")
        return await verify_inline(text, problem)

    problems = [Problem("good", "?", "42", "letters"), Problem("bad", "?", "42", "letters")]
    report = await small_build(tmp_path / "run", verify=verify, problems=problems)
    assert (report.trees, report.failures) == (2, {})
    good, bad = load_trees(tmp_path / "run")
    ends = [node for node in bad.nodes if node.kind == "answer" and node.dead_end == "unverifiable"]
    assert len(ends) == len(asked) == bad.statistics["unverifiable"] == report.statistics["unverifiable"] > 0
    assert {(node.reward, node.reason) for node in ends} == {(None, "checking took more than 0.3 s, so it was killed")}
    assert good.statistics["unverifiable"] == 0
    for config in ("sft", "preference"):
        tables = list(read_tables(tmp_path / "run" / "dataset", config))
        assert {row["tree_id"] for table in tables for row in table.to_pylist()} <= {good.tree_id}
    again = await small_build(tmp_path / "run", verify=verify_crashing, problems=problems)
    assert (again.trees, again.statistics) == (2, report.statistics)  # it is in the journal


async def test_a_finished_run_is_not_asked_anything_again(tmp_path):
    await small_build(tmp_path / "run")
    engine = ScriptedEngine()
    report = await small_build(tmp_path / "run", engine)
    assert (engine.requests, report.asked, report.trees) == ([], 0, 6)


async def test_another_selection_needs_no_generation(tmp_path):
    engine = ScriptedEngine()
    await small_build(tmp_path / "run", engine)
    before = len(engine.requests)
    longest = [row["length"] for row in load_dataset(str(tmp_path / "run" / "dataset"), "sft", split="train")]
    other = SelectionConfig(sft="shortest")  # neither it nor the concurrency is part of a run's identity
    await small_build(tmp_path / "run", engine, trees_in_flight=3, selection=other)
    shortest = [row["length"] for row in load_dataset(str(tmp_path / "run" / "dataset"), "sft", split="train")]
    assert sum(shortest) < sum(longest)
    assert len(engine.requests) == before


async def test_a_directory_in_use_is_refused(tmp_path):
    await small_build(tmp_path / "run")
    with FileLock(tmp_path / "run" / "run.lock"), pytest.raises(InvalidInputError, match="in use by another process"):
        await small_build(tmp_path / "run")


async def test_a_damaged_description_of_a_run_is_refused(tmp_path):
    await small_build(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"seed": 0')
    with pytest.raises(InvalidInputError, match=r"run\.json' cannot be read .*: restore it, or choose another"):
        await small_build(tmp_path / "run")


async def test_two_patterns_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="each a name of its own"):
        await small_build(tmp_path / "run", patterns=("reflection", "reflection"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another configuration (other seed)"),
        ({"search": replace(SEARCH, temperature=0.1)}, "another configuration (other search)"),
        ({"patterns": ("hypothesis",)}, "another configuration (other patterns)"),
        ({"problems": [Problem("x", "?", "1", "letters")]}, "another configuration (other problems)"),
        ({"engine": ScriptedEngine(name="other")}, "another configuration (other engines)"),
    ],
)
async def test_a_directory_of_another_run_is_refused_and_left_alone(tmp_path, change, message):
    await small_build(tmp_path / "run")
    before = files_of(tmp_path / "run")
    with pytest.raises(InvalidInputError) as error:
        await small_build(tmp_path / "run", **change)
    assert message in str(error.value)
    assert "choose another directory" in str(error.value)
    assert files_of(tmp_path / "run") == before


async def test_what_differs_is_named_with_both_values(tmp_path):
    engine = ScriptedEngine()
    await small_build(tmp_path / "run", engine)
    engine.identity = replace(engine.identity, version="vllm 0.11.0", dtype="bfloat16")
    with pytest.raises(InvalidInputError) as error:
        await small_build(tmp_path / "run", engine, search=replace(SEARCH, temperature=0.1))
    message = str(error.value)
    assert "(other engines, search)" in message
    for part in (
        'engines.critic.dtype was "" and is "bfloat16"',
        'engines.critic.version was "" and is "vllm 0.11.0"',
    ):
        assert part in message
    assert ", and 2 more; choose another directory" in message
    assert len(message.replace(str(tmp_path), "")) < 500
    with pytest.raises(InvalidInputError, match=r"search\.temperature was 0\.7 and is 0\.1; choose"):
        await small_build(tmp_path / "run", search=replace(SEARCH, temperature=0.1))


async def test_other_directories_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(InvalidInputError, match="is not empty and holds no run of ours"):
        await small_build(tmp_path / "mine")
    with pytest.raises(InvalidInputError, match="is a file: choose a directory"):
        await small_build(tmp_path / "mine" / "thesis.tex")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


async def test_ids_must_be_unique_and_verifiers_exist(tmp_path):
    problem = Problem("same", "?", "1", "letters")
    with pytest.raises(InvalidInputError, match="problem_id='same' is used twice"):
        await small_build(tmp_path / "a", problems=[problem, problem])
    with pytest.raises(InvalidInputError, match="verifier 'vibes' cannot be loaded"):
        await small_build(tmp_path / "a", problems=[replace(problem, verifier="vibes")])
    assert not (tmp_path / "a").exists()


def test_bad_concurrency_is_refused():
    with pytest.raises(InvalidInputError, match="trees_in_flight=0"):
        BuildConfig(trees_in_flight=0)
