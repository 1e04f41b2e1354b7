import itertools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from hf_treecot.base import Problem, Verdict
from hf_treecot.building.builder import BuildReport
from hf_treecot.building.run_directory import locked
from hf_treecot.cli import evolve, evolve_problems
from hf_treecot.cli.evolve import Round
from hf_treecot.cli.evolve_problems import PassRates, by_difficulty, choose_problems, new_problems
from hf_treecot.errors import InvalidInputError
from hf_treecot.verifiers.judging import Judged


ROOT = Path(__file__).parents[1]
SMALL = ("--problems", "letters", "--num_problems", 3, "--num_evaluated", 20, "--output_dir", "run")
ROWS = {"trees": 3, "sft": 2, "preference": 2}


@pytest.fixture
def stages(monkeypatch):
    """Stages that do nothing: what was asked of them, and what they are told to answer."""
    told = {"right": [], "rows": ROWS, "failures": {}, "asked": []}

    async def build(settings, problems):
        told["asked"].append(("build", settings.engines.model, settings.build.seed))
        told["grown"] = [*told.get("grown", []), [problem.prompt for problem in problems]]
        report = BuildReport(3, told["failures"], {"right": 4, "wrong": 0}, rows=told["rows"])
        path = Path(settings.build.output_dir) / "report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(report)))
        return report

    def train(recipe, model, dataset, directory, seed):
        told["asked"].append((recipe, model, seed))
        assert dataset.name == "trees"
        assert dataset.parent == directory.parent
        return directory

    def outcomes(model, problems, max_new_tokens):
        told["asked"].append(("evaluate", model))
        told["held_out"] = [problem.prompt for of_kind in problems.values() for problem in of_kind]
        right, count = told["right"].pop(0), len(told["held_out"])
        found = {"accuracy": [1] * right + [0] * (count - right), "no_answer_rate": [0] * count, "tokens": [9] * count}
        return [{"task": "letters", "decoding": "greedy", **found}]

    for name, stage in (("build", build), ("train", train), ("outcomes", outcomes)):
        monkeypatch.setattr(evolve, name, stage)
    return told


def test_each_round_starts_from_the_model_of_the_last(stages, run, tmp_path):
    stages["right"] = [2, 9, 17]
    result = run("evolve", *SMALL, "--rounds", 2)
    assert result.returncode == 0, result.stderr
    assert stages["asked"] == [
        ("evaluate", "hasty"),
        ("build", "hasty", 1001),
        ("sft", "hasty", 1001),
        ("joint", "run/round-1/sft", 1001),
        ("evaluate", "run/round-1/joint"),
        ("build", "run/round-1/joint", 1002),
        ("sft", "run/round-1/joint", 1002),
        ("joint", "run/round-2/sft", 1002),
        ("evaluate", "run/round-2/joint"),
    ]
    assert len(set(itertools.chain(stages["held_out"], *stages["grown"]))) == 20 + 2 * 3
    assert "| round 2 | 85 % [70–100] (0 % [0–0]) |" in result.stdout
    assert "- round 1: 3 problems, 2 sft rows, 2 preference rows; accuracy +35.0 points (+" in result.stdout
    assert "Stopped after rounds=2; accuracy still rose in the last one." in result.stdout
    assert (tmp_path / "run" / "table.md").read_text() in result.stdout
    assert (tmp_path / "run" / "evolve.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_kept(stages, run, tmp_path):
    stages["right"] = [2, 9, 17, 20]
    first = run("evolve", *SMALL, "--rounds", 2)
    figures = tmp_path / "run" / "round-2" / "figures.json"
    kept = figures.read_bytes()
    stages["asked"].clear()
    again = run("evolve", *SMALL, "--rounds", 2)
    assert again.stdout == first.stdout.replace("round 0 is done\nround 1 is done\nround 2 is done\n", "")
    assert {name for name, *_ in stages["asked"]} == {"sft", "joint"}  # which see for themselves
    more = run("evolve", *SMALL, "--rounds", 3)
    assert more.returncode == 0, more.stderr
    assert stages["asked"][-1] == ("evaluate", "run/round-3/joint")
    assert figures.read_bytes() == kept
    other = run("evolve", *SMALL, "--seed", 1)
    assert other.returncode == 2
    assert "holds a run with another configuration (other settings): settings.seed was 0 and is 1" in other.stderr


@pytest.mark.parametrize(
    ("right", "last", "keep"),
    [
        ([2, 12, 12], "round 2", "of round 1"),
        ([2, 12, 7], "round 2", "of round 1"),
        ([10, 11], "round 1", "that it began with"),  # more, but not beyond the interval
    ],
)
def test_it_ends_when_accuracy_no_longer_rises_beyond_its_interval(right, last, keep, stages, run):
    stages["right"] = list(right)
    result = run("evolve", *SMALL)
    assert result.returncode == 0, result.stderr
    assert stages["right"] == []
    reason = f"Stopped after {last}: accuracy no longer rises beyond its interval. Keep the model {keep}."
    assert reason in result.stdout


def test_sft_alone_needs_no_pairs(stages, run):
    stages["right"], stages["rows"] = [2, 2], {**ROWS, "preference": 0}
    result = run("evolve", *SMALL, "--objective", "sft")
    assert result.returncode == 0, result.stderr
    assert stages["asked"][-1] == ("evaluate", "run/round-1/sft")
    assert "joint" not in {name for name, *_ in stages["asked"]}


@pytest.mark.parametrize(
    ("name", "what"), [("sft", "right chain"), ("preference", "pair of a right and a wrong chain")]
)
def test_a_round_without_anything_to_train_on_is_one_line(name, what, stages, run):
    stages["right"], stages["rows"] = [2], {**ROWS, name: 0}
    result = run("evolve", *SMALL)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        f"error: round 1: 3 trees with 4 right and 0 wrong chains give no {what} to train on: raise num_problems=3 or "
        "num_simulations=16, in another output_dir"
    )


def test_a_round_whose_trees_failed_grows_them_again(stages, run):
    stages["right"], stages["failures"] = [2, 2], {"letters-1001-0": "EngineError: out of memory"}
    result = run("evolve", *SMALL)
    assert result.returncode == 3
    assert result.stderr.splitlines()[-2:] == [
        "error: round 1: 1 of 3 trees failed; letters-1001-0: EngineError: out of memory",
        "Run the same command again to go on.",
    ]
    stages["failures"] = {}
    assert run("evolve", *SMALL).returncode == 0


def test_two_processes_do_not_run_one(stages, run, tmp_path):
    stages["right"] = [2, 2]
    assert run("evolve", *SMALL).returncode == 0
    with locked(tmp_path / "run"):
        result = run("evolve", *SMALL)
    assert result.returncode == 2
    assert "output_dir='run' is in use by another process" in result.stderr


def test_an_answer_whose_verifier_failed_is_no_outcome():
    before, after = (
        {"task": "letters", "decoding": "greedy", "accuracy": right, "no_answer_rate": [0, None, 0], "tokens": [9] * 3}
        for right in ([0, None, 0], [1, None, 1])
    )
    (row,) = Round(1, "model", [after]).rows()
    assert (row["accuracy"], row["no_answer_rate"]) == (1.0, 0.0)
    assert evolve.rise(Round(0, "model", [before]), Round(1, "model", [after])).value == 1.0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--rounds", 0), "rounds=0 is out of range: it must be at least 1"),
        (("--k", 0), "k=0 is out of range: it must be at least 1"),
        (("--seed", -1), "seed=-1 is out of range: it must be 0 or more"),
        (("--objective", "ppo"), "objective='ppo' is unknown: use one of joint, sft"),
        (("--problems", "gsm8k"), "problems='gsm8k' is no generator, which every round needs new problems from"),
        (("--problems", "blocks", "blocks"), "problems='blocks' is given twice"),
        (("--max_pass_rate", 1.5), "max_pass_rate=1.5 is out of range: it must be from 0 to 1"),
        (("--min_pass_rate", 0.9), "min_pass_rate=0.9 leaves nothing: it must be at most max_pass_rate=0.75"),
        (("--model", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(args, message, run, tmp_path):
    result = run("evolve", "--output_dir", "run", *args)
    assert result.returncode == 2
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_problems_of_a_difficulty_are_taken_and_the_others_counted(monkeypatch, tmp_path):
    class Engine:
        def close(self):
            pass

    def answer_all(problems, engine, seed, **options):
        """The first is always solved, the next by half of the samples, one never; the verifier fails on the last."""
        rewards = [(1, 1), (1, 0), (0, 0), (None, None)] * len(problems)
        pairs = zip(problems, rewards, strict=False)
        return [Judged("", None if pair[seed] is None else Verdict(float(pair[seed]), "1", "")) for _, pair in pairs]

    monkeypatch.setattr("hf_treecot.evaluation.outputs.answer_all", answer_all)
    monkeypatch.setattr(evolve_problems, "load_engine", lambda model: Engine())
    seen = set()
    path, between = tmp_path / "round-1" / "problems.json", PassRates(0.25, 0.75, 2, 9)
    problems, left_out = choose_problems(path, ["letters"], 2, 5, seen, "model", between)
    assert [problem.problem_id for problem in problems] == ["letters-5-1", "letters-5-5"]
    assert left_out == {"too easy": 2, "too hard": 1, "unverified": 1}
    assert seen == {problem.prompt for problem in problems}
    monkeypatch.setattr(evolve_problems, "load_engine", None)  # they are chosen once
    assert choose_problems(path, ["letters"], 2, 5, set(), "model", between) == (problems, left_out)
    monkeypatch.setattr(evolve_problems, "load_engine", lambda model: Engine())
    with pytest.raises(
        InvalidInputError, match=r"round-2: no problem has a pass rate from 0.6 to 0.7 \(4 too easy, 8 "
    ):
        choose_problems(
            tmp_path / "round-2" / "problems.json", ["letters"], 4, 5, set(), "model", PassRates(0.6, 0.7, 2, 9)
        )


def test_bounds_of_the_difficulty_are_taken_too():
    drawn = {"a": [Problem(name, name, "1", "letters") for name in "xyz"]}
    kept, left_out = by_difficulty(drawn, {"x": 0.0, "y": 0.75, "z": 1.0}, PassRates(0.0, 0.75, 4, 9), 3)
    assert [problem.problem_id for problem in kept["a"]] == ["x", "y"]
    assert left_out == {"too easy": 1}


def test_a_generator_without_new_problems_says_so(monkeypatch):
    same = Problem("a", "How many?", "1", "letters")
    monkeypatch.setattr(evolve_problems, "generate_problems", lambda *_: itertools.repeat(same))
    problems = new_problems("letters", 0, set())
    assert next(problems) is same
    with pytest.raises(InvalidInputError, match="problems='letters': it has no new ones left"):
        next(problems)


def test_killed_at_random_moments_and_run_again_it_gives_the_same_bytes(tmp_path):
    command = [sys.executable, "-m", "tests.evolve_worker", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert result.returncode == 0, (result.stderr, *logs)
    for name in ("table.md", *(f"round-{number}/figures.json" for number in range(3))):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
