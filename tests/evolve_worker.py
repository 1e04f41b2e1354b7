"""Rounds in processes of their own, one run whole and one killed: `python -m tests.evolve_worker DIRECTORY [SEED]`.

The processes are forks of this one, since importing all that they need takes longer than a run.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

# What a run imports when it needs it.
import hf_treecot.cli.training
import hf_treecot.engines.local
import hf_treecot.evaluation.outputs
import hf_treecot.trainers  # noqa: F401
from hf_treecot.cli import evolve


SIZE = "--rounds 2 --problems letters --num_problems 2 --num_simulations 4 --num_evaluated 4"
STAGES = ("problems.json", "trees/report.json", "sft/trainer_state.json", "joint/trainer_state.json", "figures.json")
KILLS = 1


def start(directory: Path) -> int:
    """Begin or go on with a run; the id of its process, which leads a group of its own."""
    if process := os.fork():
        return process
    code = 1
    try:
        os.setsid()
        log = os.open(f"{directory}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        evolve.has_risen = lambda change: True  # so few problems show no rise
        evolve.plot_progress = lambda rows, path: None  # takes longer than a stage
        evolve.main([*SIZE.split(), "--output_dir", str(directory)])
        sys.stdout.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(process: int) -> None:
    """Wait for a process that must end well."""
    if code := os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        sys.exit(f"a run ended with {code}: see its log")


def main(directory: str, seed: str = "0") -> None:
    """Kill one of two runs at a random moment after a random stage; let both finish."""
    whole, killed = (Path(directory) / name for name in ("whole", "killed"))
    rng = random.Random(seed)
    reference = start(whole)
    stages = [killed / f"round-{number}" / stage for number in (1, 2) for stage in STAGES]
    for stage in sorted(rng.sample(stages[:-2], KILLS), key=stages.index):
        process = start(killed)
        while not stage.exists():
            if os.waitpid(process, os.WNOHANG)[0]:
                sys.exit(f"a run ended before {stage}: see its log")
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        os.killpg(process, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) != -signal.SIGKILL:
            sys.exit(f"a run ended at {stage}: see its log")
    finish(start(killed))
    finish(reference)


if __name__ == "__main__":
    main(*sys.argv[1:])
