"""Verifiers under a hard limit of time and memory: each check runs in a worker process that can be killed.

The parent writes one JSON line per check and reads two: `loaded` once the verifier is imported (sympy takes a second),
then the verdict. A worker that does not answer in time is killed and replaced. One thread of the pool's own talks to
the workers, so that a pool may be asked from any thread and any event loop.
"""

import asyncio
import atexit
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache

from ..base import Problem, Verdict
from ..errors import InvalidInputError, UnverifiableError, VerifierError
from . import load_verifier, prepare_verifier


logger = logging.getLogger(__name__)
MEBIBYTE = 2**20
SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|KEY|_PWD|_PAT$|AUTH|_DSN", re.IGNORECASE
)  # in the name of a variable
SECRET_URL = re.compile(r"://[^/\s@]+@")
ORPHAN_FACTOR = 2  # a worker whose parent is gone ends itself after so many time limits


class VerifierPool:
    """
    A pool of verifier processes, started as they are needed. Any thread and any event loop may ask it.

    Args:
        num_workers (`int`): Checks that run at the same time.
        time_limit (`float`): Seconds for one check.
        memory_limit (`int`): MiB of address space of a worker.
        load_time_limit (`float`): Seconds to start a worker and import a verifier.

    Raises:
        InvalidInputError: One of them is not positive.

    Example:

    ```python
    async with VerifierPool() as pool:
        verdict = await pool.verify(r"The answer is: \\boxed{42}", problem)

    with VerifierPool() as pool:  # where there is no event loop
        verdict = pool.verify_blocking(r"The answer is: \\boxed{42}", problem)
    ```
    """

    def __init__(
        self, num_workers: int = 2, time_limit: float = 10.0, memory_limit: int = 4096, load_time_limit: float = 120.0
    ):
        for name, value, least in (
            ("num_workers", num_workers, "at least 1"),
            ("time_limit", time_limit, "above 0 (seconds)"),
            ("memory_limit", memory_limit, "at least 1 (MiB)"),
            ("load_time_limit", load_time_limit, "above 0 (seconds)"),
        ):
            if not value > 0:
                raise InvalidInputError(f"{name}={value!r} is out of range: it must be {least}")
        self.time_limit, self.memory_limit, self.load_time_limit = time_limit, memory_limit, load_time_limit
        self._workers: list[asyncio.subprocess.Process] = []
        self._idle: list[asyncio.subprocess.Process] = []
        self._slots = asyncio.Semaphore(num_workers)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="verifiers", daemon=True)

    def __enter__(self) -> "VerifierPool":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def __aenter__(self) -> "VerifierPool":
        return self.__enter__()

    async def __aexit__(self, *exception) -> None:
        await asyncio.to_thread(self.__exit__)

    async def verify(self, completion: str, problem: Problem) -> Verdict:
        """
        Check an answer with the verifier that its problem names.

        Args:
            completion (`str`): The text of an answer thought.
            problem ([`Problem`]): The problem.

        Returns:
            [`Verdict`]

        Raises:
            UnverifiableError: Twice, in processes of their own, the verifier raised, gave back no verdict, ran into a
                limit, or died. The message holds the cause.
            VerifierError: It cannot be loaded, or no process can be started.
        """
        return await asyncio.wrap_future(self._submit(completion, problem))

    def verify_blocking(self, completion: str, problem: Problem) -> Verdict:
        """[`VerifierPool.verify`] for a thread without an event loop."""
        return self._submit(completion, problem).result()

    def _submit(self, completion: str, problem: Problem):
        if not self._thread.is_alive():
            raise VerifierError("this VerifierPool is not open: use it in `async with VerifierPool() as pool:`")
        return asyncio.run_coroutine_threadsafe(self._verify(completion, problem), self._loop)

    async def _verify(self, completion: str, problem: Problem) -> Verdict:
        async with self._slots:
            try:
                return await self._check(self._idle_worker() or await self._start(), completion, problem)
            except UnverifiableError:  # once more in a fresh process: the first may have been short of time or memory
                return await self._check(await self._start(), completion, problem)

    def _idle_worker(self) -> asyncio.subprocess.Process | None:
        """A worker that waits; those that have died meanwhile are forgotten."""
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
            self._workers.remove(worker)
        return None

    async def _check(self, worker: asyncio.subprocess.Process, completion: str, problem: Problem) -> Verdict:
        try:
            verdict = await self._ask(worker, completion, problem)
        except BaseException:  # it may still be busy with this check: never reuse it
            self._workers.remove(worker)
            await _kill(worker)
            raise
        self._idle.append(worker)
        return verdict

    async def _close(self) -> None:
        checks = asyncio.all_tasks() - {asyncio.current_task()}
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        for worker in self._workers:
            await _kill(worker)
        self._workers, self._idle = [], []

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", __name__, str(self.memory_limit), str(ORPHAN_FACTOR * self.time_limit),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * MEBIBYTE,
                # -P: a file json.py of the working directory, which may be that of others, is not imported.
                # Ctrl-C is the parent's business: it closes the workers when it is done.
                start_new_session=True,
                env={**_without_secrets(os.environ), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )  # fmt: skip
        except OSError as error:
            raise VerifierError(f"a verifier's process cannot be started: {error}") from error
        self._workers.append(worker)
        return worker

    async def _ask(self, worker: asyncio.subprocess.Process, completion: str, problem: Problem) -> Verdict:
        what = f"verifier {problem.verifier!r} on problem {problem.problem_id!r}, answer {completion[:200]!r}"
        step, limit, failure = "loading", self.load_time_limit, VerifierError
        try:
            worker.stdin.write(json.dumps({"completion": completion, "problem": asdict(problem)}).encode() + b"\n")
            reply = await self._read(worker, limit)
            if "loaded" in reply:
                step, limit, failure = "checking", self.time_limit, UnverifiableError
                reply = await self._read(worker, limit)
        except TimeoutError:
            raise failure(f"{what}: {step} took more than {limit:g} s, so it was killed") from None
        except (EOFError, ConnectionError) as error:
            raise failure(f"{what}: its process died while {step} (out of memory?)") from error
        except ValueError as error:  # a line that is too long, or no JSON
            raise failure(f"{what}: its reply while {step} cannot be read ({error})") from error
        if error := reply["error"] if "error" in reply else _fault(reply):
            raise failure(f"verifier {problem.verifier!r} failed on problem {problem.problem_id!r}: {error}")
        return Verdict(**reply)

    async def _read(self, worker: asyncio.subprocess.Process, limit: float) -> dict:
        line = await asyncio.wait_for(worker.stdout.readline(), limit)
        if not line:
            raise EOFError
        reply = json.loads(line)
        if not isinstance(reply, dict):
            raise ValueError(f"expected a mapping, got {line[:200]!r}")
        return reply


@cache
def verifier_pool() -> VerifierPool:
    """The verifier processes of this process, started once and ended with it."""
    pool = VerifierPool().__enter__()
    atexit.register(pool.__exit__)
    return pool


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process that reads what a model wrote: it needs no token but that of its own server."""
    return {
        name: value
        for name, value in environment.items()
        if name == "TREECOT_CONFIDENCE_API_KEY" or not (SECRET.search(name) or SECRET_URL.search(value))
    }


def _fault(reply: dict) -> str:
    """What keeps a reply from being a verdict; empty if nothing does."""
    if reply.keys() != {f.name for f in fields(Verdict)}:
        return f"expected a Verdict, got something with the fields {', '.join(reply)}"
    reward, answer, reason = reply["reward"], reply["answer"], reply["reason"]
    if isinstance(reward, bool) or not isinstance(reward, int | float) or not 0 <= reward <= 1:
        return f"reward={reward!r}: it must be a number from 0 to 1"
    if answer is not None and not isinstance(answer, str):
        return f"answer={answer!r}: it must be a string, or None if there was none"
    if not isinstance(reason, str):
        return f"reason={reason!r}: it must be a string"
    return ""


async def _kill(worker: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have died by itself
        worker.kill()
    await worker.wait()


def _serve(memory_limit: int, lifetime: float) -> None:
    """
    The loop of a worker process: check what comes in on standard input until it is closed.

    Args:
        memory_limit (`int`): MiB.
        lifetime (`float`): Seconds of a check after which the system ends this process, should its parent be gone.
    """
    with contextlib.suppress(ImportError):  # there is no such limit on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_limit * MEBIBYTE, memory_limit * MEBIBYTE))
    # A verifier that prints must not disturb the protocol.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            problem = Problem(**request["problem"])
            verify = load_verifier(problem.verifier)
            prepare_verifier(problem.verifier)
            print(json.dumps({"loaded": True}), file=replies, flush=True)
            with _lifetime(lifetime):
                reply = json.dumps(asdict(verify(request["completion"], problem)))
        except Exception as error:  # reported to the parent, which raises it
            reply = json.dumps({"error": "".join(traceback.format_exception_only(error)).strip() or repr(error)})
        print(reply, file=replies, flush=True)


@contextlib.contextmanager
def _lifetime(seconds: float):
    """An alarm that nothing handles: the kernel then ends the process, whatever C code it is in."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
