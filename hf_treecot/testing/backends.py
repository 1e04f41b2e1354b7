"""What writes behind a loopback server: the starter model, a rule, or a rule that takes as long as a large model.

All are engines as the package has them; a server turns their completions into its wire format.
"""

import asyncio
import random
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

from ..engines.chat_template import render_messages
from ..engines.engine import Completion, EngineIdentity, Request
from ..starter.tokenizer import build_tokenizer


TAGS = [
    f"<{slash}{tag}>"
    for tag in (
        "sub-task", "thinking", "hypothesis", "double-check", "reflection", "thinking_from_scratch", "reclarify",
        "answer",
    )
    for slash in ("", "/")
]  # fmt: skip
WORDS = "one two three four five six seven eight nine ten plus minus times so then we see that it is".split()


def small_tokenizer():
    """A tokenizer of bytes, some words and all tags, for worlds without a model."""
    return build_tokenizer([" ".join(WORDS)] * 100, TAGS, 32_768)


class ScriptedBackend:
    """Writes some words by the request's seed and prompt; answers are 2, 3 or 4. Answers at once."""

    identity = EngineIdentity("scripted", "loopback/scripted", "1")

    def __init__(self, mean_tokens: int = 6):
        self.tokenizer = small_tokenizer()
        self.mean_tokens = mean_tokens

    def write(self, request: Request) -> Completion:
        """The completion of a request, the same whenever it is asked."""
        rng = random.Random(f"{request.seed} {request.prompt}")
        tags = re.findall(r"<([\w-]+)>", request.prompt)
        if tags and tags[-1] == "answer":
            words = ["\\boxed{", str(rng.choice((2, 3, 4))), "}"]
        else:
            words = [" " + rng.choice(WORDS) for _ in range(1 + int(rng.expovariate(1 / self.mean_tokens)))]
        if len(words) >= request.max_new_tokens:  # the closing tag is a token too
            words, reason = words[: request.max_new_tokens], "length"
            return Completion("".join(words), reason, 0, len(words), -0.5 * len(words))
        return Completion("".join(words), "stop" if request.stop else "eos", 0, len(words) + 1, -0.5 * len(words))

    def render_chat(self, messages: list[dict[str, str]]) -> str:
        """With the tokenizer's template."""
        return render_messages(self.tokenizer, messages)

    async def generate(self, request: Request) -> Completion:
        """Write at once."""
        return self.write(request)


@dataclass(frozen=True)
class Timing:
    """How long a large model takes, in seconds; the defaults are of the order of a 7B to 70B model on a good GPU."""

    slots: int = 64
    step: float = 0.020  # of a decoding step, whatever the batch
    step_per_row: float = 0.00008
    prefill_per_token: float = 0.00002
    prefix_cache: bool = True
    block: int = 64  # characters; what the prefix cache knows


class TimedBackend(ScriptedBackend):
    """A scripted world that takes its time: continuous batching in slots, prefill before decoding, a prefix cache."""

    identity = EngineIdentity("timed", "loopback/timed", "1")

    def __init__(self, timing: Timing, mean_tokens: int = 100):
        super().__init__(mean_tokens)
        self.timing = timing
        self.written = 0  # tokens
        self._waiting: list[tuple[Request, Completion, asyncio.Future]] = []
        self._running: list[list] = []  # [tokens left, completion, future, request]
        self._known: OrderedDict[int, None] = OrderedDict()
        self._task: asyncio.Task | None = None

    async def generate(self, request: Request) -> Completion:
        """Wait for a slot, then for every token."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((request, self.write(request), future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        clock = time.monotonic()
        while self._waiting or self._running:
            clock += self._admit()
            clock += self.timing.step + self.timing.step_per_row * len(self._running)
            await asyncio.sleep(max(0.0, clock - time.monotonic()))
            self.written += len(self._running)
            for row in self._running:
                row[0] -= 1
                if row[0] <= 0:
                    self._remember(row[3])
                    if not row[2].done():
                        row[2].set_result(row[1])
            self._running = [row for row in self._running if row[0] > 0 and not row[2].cancelled()]

    def _admit(self) -> float:
        seconds = 0.0
        while self._waiting and len(self._running) < self.timing.slots:
            request, completion, future = self._waiting.pop(0)
            if future.cancelled():
                continue
            seconds += self.timing.prefill_per_token * self._unknown_tokens(request)
            self._running.append([completion.tokens, completion, future, request])
        return seconds

    def _blocks(self, request: Request) -> list[int]:
        size = self.timing.block
        return [hash(request.prompt[:end]) for end in range(size, len(request.prompt) + 1, size)]

    def _unknown_tokens(self, request: Request) -> int:
        known = 0
        if self.timing.prefix_cache:
            for block in self._blocks(request):
                if block not in self._known:
                    break
                known += self.timing.block
        return (len(request.prompt) - known) // 4

    def _remember(self, request: Request) -> None:
        for block in self._blocks(request):  # only of the prompt, and only now that it is done, as TGI
            self._known[block] = None
        while len(self._known) > 500_000:
            self._known.popitem(last=False)


class StarterBackend:
    """The starter model, in this process."""

    def __init__(self, max_batch_size: int = 64):
        from ..engines.local import LocalEngine
        from ..starter.training import starter_model

        self._engine = LocalEngine.from_pretrained(
            str(starter_model()), name="hf_treecot/starter", max_batch_size=max_batch_size
        )
        self.identity, self.tokenizer = self._engine.identity, self._engine.tokenizer

    async def generate(self, request: Request) -> Completion:
        """Write with the model."""
        return await self._engine.generate(request)
