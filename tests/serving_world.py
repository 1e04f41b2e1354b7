"""An engine that writes by a rule and notes what is done to it, and an endpoint on it."""

import asyncio
import contextlib
import random
import re
from dataclasses import replace

from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.serving.app import make_app
from hf_treecot.serving.parameters import Defaults
from hf_treecot.serving.service import Limits, Service
from hf_treecot.testing.backends import ScriptedBackend
from hf_treecot.testing.running import serve


QUESTION = "What is 6 times 7, my secret question?"


class Writer:
    """
    Thinks a few words and answers 42 two times of three; a word is a token. With `blocks` it never answers.

    `tokens`, `running` and `cancelled` count; `error` is raised instead of an answer, after `good` answers.
    """

    identity = EngineIdentity("scripted", "writer")
    streams = True

    def __init__(self, blocks=False, error=None, good=0, text=None):
        self.blocks, self.error, self.good, self.text = blocks, error, good, text
        self.requests = []
        self.tokens = self.running = self.cancelled = 0

    def render_chat(self, messages):
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + "[assistant]"

    def write(self, request):
        rng = random.Random(f"{request.seed} {request.prompt}")
        answer = rf"\boxed{{{42 if rng.random() < 2 / 3 else rng.randrange(43, 99)}}}"
        tags = re.findall(r"<([\w-]+)>", request.prompt.rpartition("[assistant]")[2])
        if tags and tags[-1] == "answer" and request.stop:
            return f" {answer}"
        words = " ".join(rng.choice(["so", "then", "we", "see"]) for _ in range(rng.randrange(1, 6)))
        if request.stop == ("</" + (tags or [""])[-1] + ">",):
            return f" {words}"
        return self.text or f"<thinking>{words}</thinking>\n<answer>It is {answer} .</answer>"

    async def generate(self, request, tell=None):
        self.requests.append(request)
        self.running += 1
        try:
            if len(self.requests) > self.good:
                if self.blocks:
                    await asyncio.Event().wait()
                if self.error is not None:
                    raise self.error
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        words = re.findall(r"\s*\S+", self.write(request))
        cut = words[: request.max_new_tokens]
        text, reason = "".join(cut), "length" if len(cut) < len(words) else "stop" if request.stop else "eos"
        for stop in request.stop:
            if stop in text:
                text, reason = text[: text.index(stop)], "stop"
        for count in range(1, len(cut) + 1) if tell else ():
            tell("".join(cut[:count]), count)
            await asyncio.sleep(0)
        self.tokens += len(cut)
        return Completion(text, reason, len(request.prompt.split()), len(cut), -0.5 * len(cut))


class CountingBackend(ScriptedBackend):
    """Says how long prompts are, as an engine does."""

    async def generate(self, request):
        length = len(self.tokenizer(request.prompt)["input_ids"])
        return replace(self.write(request), prompt_tokens=length)


def service_of(engine, keep=None, limits=None, **defaults):
    return Service(
        engine, engine, load_pattern("reflection"), SearchConfig(max_new_tokens=32),
        Defaults("writer", **{"answer_tokens": 64, **defaults}), limits or Limits(), keep=keep,
    )  # fmt: skip


@contextlib.contextmanager
def served(engine, keys=(), **options):
    """The URL of an endpoint on an engine, and its service."""
    service = service_of(engine, **options)
    with serve(make_app(service, keys)) as url:
        yield url, service


def ask(model="writer", **more):
    """The body of a request."""
    return {"model": model, "messages": [{"role": "user", "content": QUESTION}], **more}
