#!/usr/bin/env python3
"""A mock of Slurm's `sbatch`, `srun` and `scontrol`, since no Slurm can run here: one machine, jobs run at once.

Linked under these three names in a directory of `PATH`; `sbatch` keeps the scripts in `MOCK_SLURM_JOBS`. Options are
those of Slurm: `sbatch` reads `#SBATCH --array` and `--dependency`, and gives each task SLURM_ARRAY_TASK_ID.
"""

import os
import re
import subprocess
import sys
from pathlib import Path


def sbatch(arguments):
    *options, script = arguments
    jobs = Path(os.environ["MOCK_SLURM_JOBS"])
    number = len(list(jobs.glob("*.sh"))) + 1
    text = Path(script).read_text()
    (jobs / f"{number}.sh").write_text(text)
    (jobs / f"{number}.options").write_text("\n".join(options))
    exported = dict(pair.split("=") for option in options if option.startswith("--export=ALL,")
                    for pair in option.removeprefix("--export=ALL,").split(","))  # fmt: skip
    if os.environ.get("MOCK_SLURM_HELD"):  # by an administrator: it waits for ever
        print(f"Submitted batch job {number}")
        return
    dependency = [o for o in options if o.startswith("--dependency=")] or re.findall(
        r"#SBATCH (--dependency=.*)", text
    )
    if dependency and (jobs / f"{dependency[0].rpartition(':')[2]}.failed").exists():
        print(f"Submitted batch job {number}")  # it waits for ever
        return
    first, last = re.search(r"#SBATCH --array=(\d+)-(\d+)", text).groups()
    for task in range(int(first), int(last) + 1):
        environment = {**os.environ, **exported, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "localhost"}
        with (jobs / f"{number}.{task}.out").open("w") as output:
            if subprocess.run(
                ["bash", jobs / f"{number}.sh"], env=environment, stdout=output, stderr=output
            ).returncode:
                (jobs / f"{number}.failed").touch()
    print(f"Submitted batch job {number}")


def srun(arguments):
    command = arguments[arguments.index("-n") + 2 :]
    os.execvp(command[0], command)


def scontrol(arguments):
    assert arguments[:2] == ["show", "hostnames"]
    print(arguments[2])


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[Path(sys.argv[0]).name](sys.argv[1:])
