"""Run a loopback server: in a thread of this process, or as `python -m hf_treecot.testing.tgi`."""

import argparse
import contextlib
import socket
import subprocess
import sys
import threading
import time

import uvicorn

from .backends import ScriptedBackend, StarterBackend, TimedBackend, Timing
from .faults import KINDS, Faults


@contextlib.contextmanager
def serve(app, port: int = 0):
    """Serve an application from a thread; gives its URL."""
    config = uvicorn.Config(app, port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise OSError(f"port {port} is taken")
        time.sleep(0.002)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def listen(port: int) -> socket.socket:
    """A socket whose connections do not wait 40 ms between two small writes, as those of uvicorn's own would."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


@contextlib.contextmanager
def spawn(kind: str, *args):
    """A server as a process of its own; gives its URL and the process."""
    command = [
        sys.executable,
        "-m",
        f"hf_treecot.testing.{kind}",
        "--port",
        "0",
        *map(str, args),
    ]  # the last port counts
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.startswith("serving"):
            raise OSError(f"the server did not start: {line}")
        yield line.split()[-1], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main(make_app, description: str, num_limits: int) -> None:
    """The command line of a loopback server."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--backend", choices=("starter", "scripted", "timed"), default="starter")
    parser.add_argument("--token", help="refuse requests without this token")
    parser.add_argument("--max-concurrent-requests", type=int, default=128)
    parser.add_argument("--max-input-tokens", type=int, default=1000)
    parser.add_argument("--max-total-tokens", type=int, default=1024)
    parser.add_argument("--mean-tokens", type=int, default=100, help="of a thought of the timed world")
    parser.add_argument("--no-prefix-cache", action="store_true", help="of the timed world")
    parser.add_argument("--step", type=float, default=Timing.step, help="seconds of a step of the timed world")
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--fault-kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--fault-seed", type=int, default=0)
    parser.add_argument("--wedge-after", type=int, help="answer so many requests, and never one more")
    parser.add_argument("--slow-start", type=float, default=0.0)
    options = parser.parse_args()
    if options.backend == "starter":
        backend = StarterBackend()
    elif options.backend == "scripted":
        backend = ScriptedBackend()
    else:
        timing = Timing(step=options.step, prefix_cache=not options.no_prefix_cache)
        backend = TimedBackend(timing, options.mean_tokens)
    faults = Faults(
        options.fault_rate, tuple(options.fault_kinds), options.fault_seed, options.wedge_after, options.slow_start
    )
    limits = (options.max_input_tokens, options.max_total_tokens)[-num_limits:]
    app = make_app(backend, faults, options.token, options.max_concurrent_requests, *limits)
    config = uvicorn.Config(app, port=options.port, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    listener = listen(options.port)
    print(f"serving {backend.identity.model} at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server.run([listener])
