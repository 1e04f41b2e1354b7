"""Verifiers under a hard limit of time and memory: each check runs in a worker process that can be killed.

The parent writes one JSON line per check and reads two: `loaded` once the verifier is imported (sympy takes a second),
then the verdict. A worker that does not answer in time is killed and replaced.
"""

import asyncio
import contextlib
import json
import os
import sys
import traceback
from dataclasses import asdict

from ..errors import VerifierError
from ..problems import Problem
from . import Verdict, load_verifier


MEBIBYTE = 2**20


class VerifierPool:
    """
    A pool of verifier processes, started as they are needed.

    Args:
        num_workers (`int`): Checks that run at the same time.
        time_limit (`float`): Seconds for one check.
        memory_limit (`int`): MiB of address space of a worker.
        load_time_limit (`float`): Seconds to start a worker and import a verifier.

    Example:

    ```python
    async with VerifierPool() as pool:
        verdict = await pool.verify(r"The answer is: \\boxed{42}", problem)
    ```
    """

    def __init__(
        self, num_workers: int = 2, time_limit: float = 10.0, memory_limit: int = 4096, load_time_limit: float = 120.0
    ):
        self.time_limit, self.memory_limit, self.load_time_limit = time_limit, memory_limit, load_time_limit
        self._workers: list[asyncio.subprocess.Process] = []
        self._idle: list[asyncio.subprocess.Process] = []
        self._slots = asyncio.Semaphore(num_workers)

    async def __aenter__(self) -> "VerifierPool":
        return self

    async def __aexit__(self, *exception) -> None:
        for worker in self._workers:
            await _kill(worker)
        self._workers, self._idle = [], []

    async def verify(self, completion: str, problem: Problem) -> Verdict:
        """
        Check an answer with the verifier that its problem names.

        Args:
            completion (`str`): The text of an answer thought.
            problem ([`Problem`]): The problem.

        Returns:
            [`Verdict`]

        Raises:
            VerifierError: The verifier raised, ran into a limit, or died. The message holds its cause.
        """
        async with self._slots:
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                reply = await self._ask(worker, completion, problem)
            except BaseException:  # it may still be busy with this check: never reuse it
                self._workers.remove(worker)
                await _kill(worker)
                raise
            self._idle.append(worker)
        if "error" in reply:
            raise VerifierError(
                f"verifier {problem.verifier!r} failed on problem {problem.problem_id!r}: {reply['error']}"
            )
        return Verdict(**reply)

    async def _start(self) -> asyncio.subprocess.Process:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(self.memory_limit),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * MEBIBYTE,
            # Ctrl-C is the parent's business: it closes the workers when it is done.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        self._workers.append(worker)
        return worker

    async def _ask(self, worker: asyncio.subprocess.Process, completion: str, problem: Problem) -> dict:
        what = f"verifier {problem.verifier!r} on problem {problem.problem_id!r}, answer {completion[:200]!r}"
        step, limit = "loading", self.load_time_limit
        try:
            worker.stdin.write(json.dumps({"completion": completion, "problem": asdict(problem)}).encode() + b"\n")
            reply = await self._read(worker, limit)
            if "loaded" in reply:
                step, limit = "checking", self.time_limit
                reply = await self._read(worker, limit)
            return reply
        except TimeoutError:
            raise VerifierError(f"{what}: {step} took more than {limit:g} s, so it was killed") from None
        except (EOFError, ConnectionError) as error:
            raise VerifierError(f"{what}: its process died while {step} (out of memory?)") from error

    async def _read(self, worker: asyncio.subprocess.Process, limit: float) -> dict:
        line = await asyncio.wait_for(worker.stdout.readline(), limit)
        if not line:
            raise EOFError
        return json.loads(line)


async def _kill(worker: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have died by itself
        worker.kill()
    await worker.wait()


def _serve(memory_limit: int) -> None:
    """The loop of a worker process: check what comes in on standard input until it is closed."""
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
            print(json.dumps({"loaded": True}), file=replies, flush=True)
            reply = asdict(verify(request["completion"], problem))
        except Exception as error:  # reported to the parent, which raises it
            reply = {"error": "".join(traceback.format_exception_only(error)).strip() or repr(error)}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
