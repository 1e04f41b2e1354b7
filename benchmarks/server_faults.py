"""A build against servers on which everything goes wrong, and a client that is killed: is the dataset the same?

    python benchmarks/server_faults.py                  # 1,000 problems, 20 kills
    python benchmarks/server_faults.py --problems 100 --kills 3

Three loopback servers of text-generation-inference's protocol, over a world that writes by a rule. On each, 4 % of the
requests fail: they are never answered, reset in the middle, garbage, 429 with and without Retry-After, 500, truncated,
or without their stop string. One server is killed and brought back, one stops answering for ever. Three builds by
`recipes/build_trees.py`: without faults, with them, and with them and a client that is killed again and again.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path


ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from hf_treecot.dataset import load_trees  # noqa: E402
from tests.servers.backends import small_tokenizer  # noqa: E402
from tests.servers.running import spawn  # noqa: E402


SEARCH = (
    "--num_simulations 3 --min_right 1 --max_right 2 --give_up_factor 1 --max_new_tokens 40 --max_depth 6 "
    "--request_timeout 4 --seed 5"
).split()


def client(servers, output_dir, tokenizer, problems, log):
    """A build as a process of its own."""
    command = [
        sys.executable, ROOT / "recipes" / "build_trees.py", "--problems", "letters", "--num_problems", str(problems),
        "--engine", "tgi", "--servers", *servers, "--tokenizer", tokenizer, "--output_dir", output_dir, *SEARCH,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env=environment)


def digest(output_dir):
    """The dataset: the names of its files hold the digests of their rows."""
    return {path.name: path.read_bytes() for path in sorted((output_dir / "dataset").rglob("*.parquet"))}


def restart_now_and_then(stack, url, stop):
    """Kill a server and bring it back on the same port, once early and once later."""
    port = url.rpartition(":")[2]
    for pause in (8, 5):
        if stop.wait(pause):
            return
        stack.pop_all().close()
        if stop.wait(6):
            return
        stack.enter_context(spawn("tgi", *FAULTS, "--port", port))


FAULTS = ["--backend", "scripted", "--fault-rate", "0.04"]


def faulty_build(work, name, tokenizer, problems, kills, log):
    """The build with faults; the client is killed `kills` times at random moments. Returns the seconds."""
    output_dir, rng, stop = work / name, random.Random(0), threading.Event()
    with ExitStack() as servers, ExitStack() as restarted:
        first, _ = servers.enter_context(spawn("tgi", *FAULTS, "--fault-seed", 1))
        wedging, _ = servers.enter_context(spawn("tgi", *FAULTS, "--fault-seed", 2, "--wedge-after", 2 * problems))
        second, _ = restarted.enter_context(spawn("tgi", *FAULTS, "--fault-seed", 3))
        thread = threading.Thread(target=restart_now_and_then, args=(restarted, second, stop))
        thread.start()
        started, done = time.perf_counter(), 0
        while True:
            process = client([first, wedging, second], output_dir, tokenizer, problems, log)
            if done < kills:
                journal = output_dir / "journal.sqlite-wal"
                while not journal.exists() and process.poll() is None:  # until it has begun to ask
                    time.sleep(0.05)
                time.sleep(rng.uniform(8, 14) if done else rng.uniform(0, 3))  # imports take most of this
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.returncode == 0 or process.returncode != -signal.SIGKILL:
                break
            done += 1
        seconds = time.perf_counter() - started
        stop.set()
        thread.join()
    print(f"{name}: exit code {process.returncode}, killed {done} times, {seconds:.0f} s", flush=True)
    return output_dir


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        small_tokenizer().save_pretrained(work / "tokenizer")
        tokenizer, log = work / "tokenizer", (work / "log").open("w")
        with spawn("tgi", "--backend", "scripted") as (url, _):
            started = time.perf_counter()
            client([url], work / "whole", tokenizer, options.problems, log).wait()
            print(f"without faults: {time.perf_counter() - started:.0f} s", flush=True)
        expected = digest(work / "whole")
        for name, kills in (("with faults", 0), ("with faults and kills", options.kills)):
            output_dir = faulty_build(work, name.replace(" ", "-"), tokenizer, options.problems, kills, log)
            ids = [tree.tree_id for tree in load_trees(output_dir)]
            print(
                f"  trees {len(ids)} of {options.problems}, lost {options.problems - len(set(ids))}, "
                f"doubled {len(ids) - len(set(ids))}, dataset equal: {digest(output_dir) == expected}",
                flush=True,
            )
        log.close()


if __name__ == "__main__":
    main()
