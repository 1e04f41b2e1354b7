"""Grow trees in many processes or on a cluster: `treecot build` in tasks, whose trees are merged into one dataset.

    treecot scale --config build/demo --num_tasks 8 --num_workers 2
    treecot scale --config mine.yaml --num_tasks 1000 --executor slurm --slurm_partition gpu
    treecot scale --config mine.yaml --num_tasks 1000 --executor ray

Run the same command again after any interruption: only what is missing is done. Takes all that `treecot build` takes.
"""

import asyncio
import subprocess
import sys
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from ..base import Problem
from ..building.builder import BuildReport
from ..building.run_directory import check_directory
from ..engines.server import load_tokenizer
from ..errors import InvalidInputError
from ..reports.build_summary import print_report
from ..selection.judgements import Judgements, load_judgements
from ..selection.selector import SelectionConfig, Selector
from .build import BuildSettings, read_problems
from .build import build as build_trees
from .parser import parse, run


EXECUTORS = ("local", "slurm", "ray")
# What may differ from run to run: the trees do not depend on it. Rows are selected anew at every merge.
FREE = {
    "output_dir", "trees_in_flight", "max_batch_size", "verifier_time_limit", "judgements", "servers",
    "critic_servers", "server_token", "critic_token", "max_concurrent_requests", "request_timeout", "max_attempts",
    "start_timeout", "max_outage", "dry_run", "dry_run_problems", "price_per_hour", "max_cost",
    "prompt_price", "completion_price", "critic_prompt_price", "critic_completion_price",
    *(f.name for f in fields(SelectionConfig)),
}  # fmt: skip


@dataclass
class ScaleArguments:
    """Where the tasks run."""

    executor: str = field(default="local", metadata={"help": f"Who runs the tasks: {', '.join(EXECUTORS)}."})
    num_tasks: int = field(default=2, metadata={"help": "Shards of the problems; more than workers balance better."})
    num_workers: int = field(default=-1, metadata={"help": "Tasks at the same time. -1: all."})
    cpus_per_task: int = field(default=1, metadata={"help": "Cores of a task (Slurm, Ray)."})
    gpus_per_task: int = field(default=0, metadata={"help": "GPUs of a task (Slurm, Ray)."})
    memory_per_cpu: int = field(default=4, metadata={"help": "Memory of a task for each of its cores, GB."})
    slurm_partition: str | None = field(default=None, metadata={"help": "Partition of Slurm."})
    slurm_time: str = field(default="24:00:00", metadata={"help": "Time limit of a task of Slurm."})
    slurm_qos: str | None = field(default=None, metadata={"help": "Quality of service of Slurm."})
    slurm_environment: str | None = field(
        default=None, metadata={"help": "Shell command by which a task of Slurm finds this Python environment."}
    )
    ray_address: str | None = field(
        default=None, metadata={"help": "Ray cluster; auto: the one that runs here. Default: one is started here."}
    )


def build_shard(settings: BuildSettings, problems: list[Problem], directory: Path) -> BuildReport:
    """What a task does: `treecot build` on its share of the problems."""
    # Tasks share a machine's cores: one process for the model of each, unless more are asked for.
    replicas = settings.engines.replicas or (1 if settings.engines.engine == "local" else None)
    shard = settings._replace(
        build=replace(settings.build, output_dir=str(directory)), engines=replace(settings.engines, replicas=replicas)
    )
    return asyncio.run(build_trees(shard, problems))


def make_selector(settings: BuildSettings, tokenizer_name: str) -> Selector:
    """What chooses the rows of the merged dataset, by the tokenizer that the tasks have used."""
    judgements = settings.build.judgements
    engines = settings.engines
    tokenizer = load_tokenizer(
        tokenizer_name,
        engines.trust_remote_code,
        # A model's revision is that of no other repository.
        revision=engines.revision if tokenizer_name == engines.model else None,
        needs_chat_template=False,
    )
    return Selector.of_tokenizer(
        tokenizer, settings.selection, load_judgements(judgements) if judgements else Judgements()
    )


def make_executor(arguments: ScaleArguments, directory: Path, step, stage: str, num_tasks: int, **options):
    """An executor of datatrove for one step."""
    from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor

    # datatrove makes relative directories relative to whoever runs the task.
    logs = str((directory / "logs" / stage).absolute())
    common = {"pipeline": [step], "tasks": num_tasks, "logging_dir": logs, **options}
    if stage == "build":
        common["workers"] = arguments.num_workers
    if arguments.executor == "local":
        return LocalPipelineExecutor(**common)
    common |= {"cpus_per_task": arguments.cpus_per_task, "mem_per_cpu_gb": arguments.memory_per_cpu}
    common["gpus_per_task"] = arguments.gpus_per_task if stage == "build" else 0
    if arguments.executor == "ray":
        return RayPipelineExecutor(**common)
    return SlurmPipelineExecutor(
        **common,
        time=arguments.slurm_time,
        partition=arguments.slurm_partition,
        qos=arguments.slurm_qos,
        env_command=arguments.slurm_environment,
        job_name=f"treecot-{stage}",
    )


def check(arguments: ScaleArguments, settings: BuildSettings) -> None:
    """What can be wrong before anything is read."""
    if arguments.executor not in EXECUTORS:
        raise InvalidInputError(f"executor={arguments.executor!r} is unknown: use one of {', '.join(EXECUTORS)}")
    if arguments.num_workers != -1 and arguments.num_workers < 1:
        raise InvalidInputError(f"num_workers={arguments.num_workers} is out of range: at least 1, or -1 for all")
    for name, least in (("num_tasks", 1), ("cpus_per_task", 1), ("gpus_per_task", 0), ("memory_per_cpu", 1)):
        if getattr(arguments, name) < least:
            raise InvalidInputError(f"{name}={getattr(arguments, name)} is out of range: it must be at least {least}")
    if arguments.executor == "slurm" and not arguments.slurm_partition:
        raise InvalidInputError("slurm_partition is not given: name a partition of your cluster (sinfo lists them)")
    for name, variable in (("server_token", "TREECOT_SERVER_TOKEN"), ("critic_token", "TREECOT_CRITIC_TOKEN")):
        if getattr(settings.engines, name):
            raise InvalidInputError(f"{name} would be written into files of the tasks: set {variable} where they run")
    if settings.build.dry_run:
        raise InvalidInputError("dry_run is not for many tasks: use treecot build --dry_run with the same arguments")
    check_directory(Path(settings.build.output_dir))


def build(arguments: ScaleArguments, settings: BuildSettings) -> BuildReport | None:
    """Build all shards and merge them; None if Slurm has only been asked to."""
    check(arguments, settings)
    try:
        from ..building import sharding
    except ModuleNotFoundError as error:
        raise InvalidInputError(f"{error.name} is not installed: pip install 'hf-treecot[scale]'") from error

    directory = Path(settings.build.output_dir)
    fixed = {name: value for part in settings for name, value in asdict(part).items() if name not in FREE}
    problems = read_problems(settings.problems, settings.build.seed)
    sharding.write_problem_shards(problems, directory, arguments.num_tasks, {"settings": fixed})
    limit = settings.build.max_cost and settings.build.max_cost / arguments.num_tasks  # a task knows only its own cost
    of_task = settings._replace(build=replace(settings.build, max_cost=limit))
    build_step = sharding.BuildShard(directory, partial(build_shard, of_task))
    merge_step = sharding.MergeShards(directory, arguments.num_tasks, partial(make_selector, settings))
    builder = make_executor(arguments, directory, build_step, "build", arguments.num_tasks)
    sharding.forget_failures(builder, directory)
    if arguments.executor == "slurm":
        submit(make_executor(arguments, directory, merge_step, "merge", 1, depends=builder, skip_completed=False))
        return None
    if arguments.executor == "ray":
        start_ray(arguments.ray_address)
    builder.run()
    if unfinished := builder.get_incomplete_ranks():
        logs = directory / "logs" / "build" / "logs"
        print(
            f"error: {len(unfinished)} of {arguments.num_tasks} tasks did not finish (the first: {unfinished[0]}): "
            f"see {logs}/task_{unfinished[0]:05d}.log, then run the same command again",
            file=sys.stderr,
        )
        sys.exit(1)
    return sharding.merge_shards(directory, arguments.num_tasks, merge_step.make_selector)


def submit(merger) -> None:
    """Hand the tasks to Slurm, and after them the merge."""
    script = merger.depends.logging_dir.resolve_paths("launch_script.slurm")
    try:
        merger.run()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise InvalidInputError(
            f"executor='slurm': sbatch does not work here ({error}): run this where jobs can be submitted; the script "
            f"that it would take is {script}"
        ) from error


def start_ray(address: str | None) -> None:
    """Join a Ray cluster, or start one on this machine."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InvalidInputError("ray is not installed: pip install ray") from error
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False)


def main(args: list[str] | None = None) -> int:
    """Build, then say what came of it."""
    arguments, *groups = parse("scale", (ScaleArguments, *BuildSettings.kinds()), __doc__, args)
    settings = BuildSettings(*groups)
    report = run(lambda: build(arguments, settings), resume="Nothing is lost: run the same command again to go on.")
    if report is None:
        print(f"Slurm has the tasks; the dataset will be in {settings.build.output_dir}/dataset")
        return 0
    print_report(report, Path(settings.build.output_dir))
    return 1 if report.failures else 0
