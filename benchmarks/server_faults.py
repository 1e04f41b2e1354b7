"""A build against servers on which everything goes wrong, and a client that is killed: is the dataset the same?

    python benchmarks/server_faults.py                  # 1,000 problems, 20 kills
    python benchmarks/server_faults.py --problems 100 --kills 3

Three loopback servers of text-generation-inference's protocol, over a world that writes by a rule. On each, 4 % of the
requests fail: they are never answered, reset in the middle, garbage, 429 with and without Retry-After, 500, truncated,
or without their stop string. One server is killed and brought back, one stops answering for ever. Three builds:
without faults, with them, and with them and a client that is killed again and again.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines, room_for_requests
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.testing.backends import small_tokenizer
from hf_treecot.testing.running import spawn
from hf_treecot.verifiers.worker import VerifierPool


SEARCH = SearchConfig(num_simulations=3, min_right=1, max_right=2, give_up_factor=1, max_new_tokens=40, max_depth=6)
FAULTS = ["--backend", "scripted", "--fault-rate", "0.04"]


async def build(options):
    """What `treecot build` does, without its imports: the client is started many times."""
    arguments = EngineArguments(
        engine="tgi", servers=options.client, tokenizer=str(options.work / "tokenizer"), request_timeout=10.0,
        max_concurrent_requests=32,
    )  # fmt: skip
    problems = list(generate_problems("letters", options.problems, seed=5))
    patterns = [load_pattern(name) for name in available_patterns()]
    async with open_engines(arguments) as engines, VerifierPool() as pool:
        config = BuildConfig(SEARCH, seed=5, trees_in_flight=room_for_requests(engines), show_progress=False)
        selector = Selector(lambda text: engines["generator"].tokenizer(text)["input_ids"])
        return await build_trees(problems, patterns, engines, pool.verify, selector, options.output_dir, config)


def client(servers, output_dir, options):
    """A build as a process of its own."""
    command = [sys.executable, __file__, "--problems", options.problems, "--work", options.work]
    command += ["--output_dir", output_dir, "--client", *servers]
    return subprocess.Popen(list(map(str, command)), env={**os.environ, "HF_HUB_OFFLINE": "1"})


def wait_until_written(process, output_dir, more):
    """Until so many more completions are in the journal than now, or the client is done."""
    path, before = output_dir / "journal.sqlite", None
    while process.poll() is None:
        if path.exists():
            with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.Error):
                (count,) = connection.execute("SELECT COUNT(*) FROM completions").fetchone()
                before = count if before is None else before
                if count >= before + more:
                    return
        time.sleep(0.2)


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


def faulty_build(name, kills, options):
    """The build with faults; the client is killed `kills` times at random moments. Returns where it is."""
    output_dir, rng, stop = options.work / name, random.Random(0), threading.Event()
    with ExitStack() as servers, ExitStack() as restarted:
        first, _ = servers.enter_context(spawn("tgi", *FAULTS, "--fault-seed", 1))
        wedging, _ = servers.enter_context(
            spawn("tgi", *FAULTS, "--fault-seed", 2, "--wedge-after", 2 * options.problems)
        )
        second, _ = restarted.enter_context(spawn("tgi", *FAULTS, "--fault-seed", 3))
        thread = threading.Thread(target=restart_now_and_then, args=(restarted, second, stop))
        thread.start()
        started, done = time.perf_counter(), 0
        while True:
            process = client([first, wedging, second], output_dir, options)
            if done < kills:
                wait_until_written(process, output_dir, rng.randrange(options.problems // 2))
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.returncode != -signal.SIGKILL:
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
    parser.add_argument("--work", type=Path, help="keep the builds here, and go on with those that are there")
    parser.add_argument("--client", nargs="+", metavar="URL", help="only build, on these servers")
    parser.add_argument("--output_dir", type=Path, help="where, with --client")
    options = parser.parse_args()
    if options.client:
        sys.exit(1 if asyncio.run(build(options)).failures else 0)
    with tempfile.TemporaryDirectory() as directory:
        options.work = options.work or Path(directory)
        options.work.mkdir(exist_ok=True)
        small_tokenizer().save_pretrained(options.work / "tokenizer")
        with spawn("tgi", "--backend", "scripted") as (url, _):
            started = time.perf_counter()
            client([url], options.work / "whole", options).wait()
            print(f"without faults: {time.perf_counter() - started:.0f} s", flush=True)
        expected = digest(options.work / "whole")
        for name, kills in (("with faults", 0), ("with faults and kills", options.kills)):
            output_dir = faulty_build(name.replace(" ", "-"), kills, options)
            ids = [tree.tree_id for tree in load_trees(output_dir)]
            print(
                f"  trees {len(ids)} of {options.problems}, lost {options.problems - len(set(ids))}, "
                f"doubled {len(ids) - len(set(ids))}, dataset equal: {digest(output_dir) == expected}",
                flush=True,
            )


if __name__ == "__main__":
    main()
