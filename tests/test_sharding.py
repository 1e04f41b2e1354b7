import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hf_treecot.building.builder import BuildReport
from hf_treecot.building.sharding import (
    MergeShards,
    forget_failures,
    merge_shards,
    read_shard,
    task_directory,
    write_problem_shards,
)
from hf_treecot.cli import scale
from hf_treecot.cli.build import BuildSettings
from hf_treecot.cli.parser import parse
from hf_treecot.cli.scale import ScaleArguments, make_selector
from hf_treecot.engines.journal import Journal
from hf_treecot.errors import InvalidInputError

from .build_worker import PROBLEMS, build, selector_of
from .scale_worker import NUM_TASKS, make_executor, make_step
from .test_builder import files_of, small_build
from .worlds import FailingEngine


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The dataset that one process makes, and how many requests that takes."""
    path = tmp_path_factory.mktemp("one")
    report = asyncio.run(build(path / "run", path / "log", delay=0.0))
    return files_of(path / "run" / "dataset"), report, len((path / "log").read_text().split())


def logged(log):
    return [line for path in log.parent.glob(f"{log.name}.*") for line in path.read_text().split()]


def test_shards_hold_every_problem_once_and_in_order(tmp_path):
    write_problem_shards(PROBLEMS, tmp_path, 5, {})
    shards = [read_shard(tmp_path, rank) for rank in range(5)]
    assert [problem for shard in shards for problem in shard] == PROBLEMS
    assert {len(shard) for shard in shards} == {2, 3}


def test_two_processes_make_the_same_dataset_as_one(tmp_path, one_process):
    dataset, report, asked = one_process
    make_executor(tmp_path, tmp_path / "log").run()
    merged = merge_shards(tmp_path, NUM_TASKS, selector_of)
    assert files_of(tmp_path / "dataset") == dataset
    for name in ("trees", "failures", "statistics", "with_right", "with_pair", "rows", "rejections", "asked"):
        assert getattr(merged, name) == getattr(report, name), name
    assert merged.asked == asked == len(logged(tmp_path / "log"))
    executor = make_executor(tmp_path, tmp_path / "log")
    assert executor.get_incomplete_ranks() == []
    executor.run()
    assert len(logged(tmp_path / "log")) == asked  # nothing was asked again


def test_killed_and_run_again_it_finishes_what_is_missing(tmp_path, one_process):
    dataset, _, asked = one_process
    log, kills = tmp_path / "log", 0
    rng = random.Random(1)
    while True:
        finished = set()
        for journal_path in tmp_path.glob("run/tasks/*/journal.sqlite"):
            journal = Journal(journal_path)
            finished |= {key.hex() for key in journal.keys()}
            journal.close()
        already = logged(log)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.scale_worker", str(tmp_path / "run"), str(log)],
            cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        target = len(already) + rng.randint(asked // 5, asked // 3) if kills < 2 else 10**9
        while process.poll() is None and len(logged(log)) < target:
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        now = logged(log)
        for line in already:
            now.remove(line)
        assert not finished & set(now), "a finished request was asked again"
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert kills == 2
    merge_shards(tmp_path / "run", NUM_TASKS, selector_of)
    assert files_of(tmp_path / "run" / "dataset") == dataset


def test_tasks_with_failures_run_again(tmp_path, one_process):
    def fail(problems, directory):
        return asyncio.run(small_build(directory, FailingEngine(every=7), problems=problems))

    write_problem_shards(PROBLEMS, tmp_path, NUM_TASKS, {"settings": {"seed": 5}})
    executor = make_executor(tmp_path, tmp_path / "log", workers=1)
    executor.pipeline[0].build = fail
    executor.run()
    assert executor.get_incomplete_ranks() == []
    reports = {
        rank: json.loads((task_directory(tmp_path, rank) / "report.json").read_text()) for rank in range(NUM_TASKS)
    }
    failed = [rank for rank, report in reports.items() if report["failures"]]
    assert failed
    merged = merge_shards(tmp_path, NUM_TASKS, selector_of)
    assert merged.trees + len(merged.failures) == len(PROBLEMS)
    forget_failures(executor, tmp_path)
    assert executor.get_incomplete_ranks() == failed


@pytest.mark.parametrize("num_tasks", [0, 13])
def test_a_number_of_tasks_that_does_not_fit_is_refused(tmp_path, num_tasks):
    with pytest.raises(InvalidInputError, match=f"num_tasks={num_tasks} is out of range"):
        write_problem_shards(PROBLEMS, tmp_path / "run", num_tasks, {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("problems", "num_tasks", "settings"), [(PROBLEMS[1:], 4, {}), (PROBLEMS, 3, {}), (PROBLEMS, 4, {"seed": 1})]
)
def test_a_directory_of_another_run_is_refused(tmp_path, problems, num_tasks, settings):
    write_problem_shards(PROBLEMS, tmp_path, 4, {"seed": 0})
    before = files_of(tmp_path)
    with pytest.raises(InvalidInputError, match="holds a run with another configuration"):
        write_problem_shards(problems, tmp_path, num_tasks, {"seed": 0, **settings})
    assert files_of(tmp_path) == before


def test_tasks_that_are_not_finished_are_not_merged(tmp_path):
    write_problem_shards(PROBLEMS, tmp_path, 3, {})
    with pytest.raises(InvalidInputError, match="task 0 .* has no dataset"):
        merge_shards(tmp_path, 3, selector_of)
    assert not (tmp_path / "dataset").exists()


def slurm_arguments(**options):
    return ScaleArguments(executor="slurm", slurm_partition="gpu", gpus_per_task=1, num_workers=3, **options)


def test_slurm_gets_an_array_of_tasks_and_a_merge_after_them(tmp_path, monkeypatch, one_process):
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    programs.mkdir()
    jobs.mkdir()
    for name in ("sbatch", "srun", "scontrol"):
        (programs / name).symlink_to(ROOT / "tests" / "mock_slurm.py")
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("MOCK_SLURM_JOBS", str(jobs))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    arguments = slurm_arguments(slurm_environment="echo environment")
    step = make_step(tmp_path / "run", tmp_path / "log")
    merge = MergeShards(tmp_path / "run", NUM_TASKS, selector_of)
    builder = scale.make_executor(arguments, tmp_path / "run", step, "build", NUM_TASKS)
    scale.submit(
        scale.make_executor(arguments, tmp_path / "run", merge, "merge", 1, depends=builder, skip_completed=False)
    )
    script = (jobs / "1.sh").read_text()
    for line in ("--partition=gpu", "--array=0-2%3", "--gpus=1", "--time=24:00:00", "--mem-per-cpu=4G"):
        assert f"#SBATCH {line}\n" in script
    assert "echo environment\n" in script
    assert "--dependency=afterok:1" in (jobs / "3.options").read_text()  # 2 sums up datatrove's statistics
    assert not list(jobs.glob("*.failed")), (jobs / "1.0.out").read_text()
    assert files_of(tmp_path / "run" / "dataset") == one_process[0]


def test_slurm_without_sbatch_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    step = make_step(tmp_path / "run", tmp_path / "log")
    builder = scale.make_executor(slurm_arguments(), tmp_path / "run", step, "build", NUM_TASKS)
    merge = MergeShards(tmp_path / "run", NUM_TASKS, selector_of)
    merger = scale.make_executor(
        slurm_arguments(), tmp_path / "run", merge, "merge", 1, depends=builder, skip_completed=False
    )
    with pytest.raises(InvalidInputError, match="sbatch does not work here"):
        scale.submit(merger)


def test_a_ray_cluster_makes_the_same_dataset(tmp_path, monkeypatch, one_process):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    arguments = ScaleArguments(executor="ray", num_workers=2, memory_per_cpu=1)
    scale.start_ray(None)
    try:
        executor = scale.make_executor(arguments, tmp_path, make_step(tmp_path, tmp_path / "log"), "build", NUM_TASKS)
        executor.run()
        assert executor.get_incomplete_ranks() == []
    finally:
        ray.shutdown()
    merge_shards(tmp_path, NUM_TASKS, selector_of)
    assert files_of(tmp_path / "dataset") == one_process[0]


def test_the_recipe_in_two_tasks_and_again(run, tmp_path, tiny_model_directory):
    args = [
        "--model", tiny_model_directory, "--problems", "letters", "--num_problems", "4", "--output_dir", "run",
        "--num_simulations", "2", "--min_right", "1", "--max_right", "1", "--max_new_tokens", "8", "--max_depth", "4",
        "--num_tasks", "2", "--num_workers", "1",
    ]  # fmt: skip
    result = run("scale", *args)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "run" / "tasks").iterdir()) == ["00000", "00001"]
    dataset = files_of(tmp_path / "run" / "dataset")
    again = run("scale", *args, "--trees_in_flight", "2")
    assert again.returncode == 0, again.stderr
    assert files_of(tmp_path / "run" / "dataset") == dataset
    refused = run("scale", *args, "--temperature", "0.1")
    assert refused.returncode == 2
    assert "holds a run with another configuration" in refused.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--executor", "cloud"], "executor='cloud' is unknown: use one of local, slurm, ray"),
        (["--executor", "slurm"], "slurm_partition is not given"),
        (["--num_tasks", "0"], "num_tasks=0 is out of range"),
        (["--num_workers", "0"], "num_workers=0 is out of range"),
        (["--num_tasks", "9", "--num_problems", "2"], "num_tasks=9 is out of range"),
        (["--server_token", "secret"], "server_token would be written into files of the tasks"),
        (["--max_pass_rate", "2"], "max_pass_rate=2.0 is out of range"),
        (["--dry_run", "true"], "dry_run is not for many tasks"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(run, tmp_path, args, message):
    result = run("scale", "--output_dir", "run", *args)
    assert result.returncode == 2
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def settings_of(*args):
    return BuildSettings(*parse("build", BuildSettings.kinds(), "", list(args)))


@pytest.mark.parametrize(
    ("args", "used", "revision"),
    [
        (("--model", "a/model", "--revision", "v2"), "a/model", "v2"),
        (("--model", "a/model", "--revision", "v2", "--tokenizer", "b/other"), "b/other", None),
        (("--engine", "tgi", "--servers", "http://h:1"), "served/model", None),
    ],
)
def test_rows_are_selected_by_the_tokenizer_that_the_tasks_have_used(args, used, revision, monkeypatch, tmp_path):
    """Whatever served the tasks; and a model's revision is given to no other repository."""
    asked = []

    class Tokenizer:
        name_or_path = used

    def load(name, trust_remote_code, *, revision, needs_chat_template):
        asked.append((name, trust_remote_code, revision))
        return Tokenizer()

    monkeypatch.setattr(scale, "load_tokenizer", load)
    write_problem_shards(PROBLEMS[:2], tmp_path, 2, {})
    for rank in range(2):
        directory = task_directory(tmp_path, rank)
        asyncio.run(build(directory, tmp_path / "log", delay=0.0, problems=read_shard(tmp_path, rank)))
        report = BuildReport(**json.loads((directory / "report.json").read_text()))
        report.tokenizer = used
        (directory / "report.json").write_text(json.dumps(vars(report)))
    selectors = []

    def selector(name):
        selectors.append(make_selector(settings_of(*args, "--trust_remote_code"), name))
        return selector_of(name)

    merge_shards(tmp_path, 2, selector)
    assert asked == [(used, True, revision)]
    assert selectors[0].tokenizer_name == used
