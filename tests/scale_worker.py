"""A build in tasks in processes of their own, to be killed: `python -m tests.scale_worker OUTPUT_DIR LOG`."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor

from hf_treecot.building.sharding import BuildShard, write_problem_shards

from .build_worker import PROBLEMS, build


NUM_TASKS = 3


def build_shard(log, delay, problems, directory):
    return asyncio.run(build(directory, f"{log}.{directory.name}", delay, problems=problems))


def make_step(directory, log, delay=0.0):
    write_problem_shards(PROBLEMS, directory, NUM_TASKS, {"settings": {"seed": 5}})
    return BuildShard(directory, partial(build_shard, str(log), delay))


def make_executor(directory, log, delay=0.0, workers=2):
    return LocalPipelineExecutor(
        [make_step(directory, log, delay)], NUM_TASKS, workers, logging_dir=str(directory / "logs")
    )


if __name__ == "__main__":
    make_executor(Path(sys.argv[1]), sys.argv[2], delay=0.02).run()
