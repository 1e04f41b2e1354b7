"""Small worlds for searches: engines that write by a rule, in place of a language model. No network, no torch."""

import asyncio
import random
import re

from hf_treecot.base import Problem, Verdict
from hf_treecot.engines.engine import Completion, EngineIdentity, Request
from hf_treecot.errors import EngineError, VerifierError
from hf_treecot.mcts.pattern import Pattern, ThoughtSpec


PROBLEM = Problem("p0", "What is 6 times 7?", "42", "letters", "worlds")


class ScriptedEngine:
    """
    Writes what a function says: `script(kind_tag, chain, rng) -> text`, with an rng of the request's seed.

    Args:
        script (`Callable`): The rule.
        delay (`float`): Longest random pause before an answer, in seconds, to shuffle the order of answers.
    """

    def __init__(self, script=None, delay=0.0, name="scripted"):
        self.script = script or write_anything
        self.delay = delay
        self.identity = EngineIdentity("scripted", name)
        self.requests: list[Request] = []

    def render_chat(self, messages):
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + "[assistant]"

    async def generate(self, request):
        self.requests.append(request)
        if self.delay:
            await asyncio.sleep(random.uniform(0, self.delay))
        chain = request.prompt.rpartition("[assistant]")[2]
        tag = re.findall(r"<([\w-]+)>", chain)[-1]
        text = self.script(tag, chain, random.Random(f"{request.seed} {request.prompt}"))
        if isinstance(text, Completion):
            return text
        words = max(1, len(text.split()))
        return Completion(text, "stop", len(request.prompt.split()), words, -0.5 * words)


def write_anything(tag, chain, rng):
    """Any text; answers are right every second time."""
    if tag == "answer":
        return rf" \boxed{{{rng.choice((42, 41))}}}"
    return f" step {rng.randrange(100)}"


class FailingEngine(ScriptedEngine):
    """Fails at every n-th request."""

    def __init__(self, every=5, **kwargs):
        super().__init__(**kwargs)
        self.every = every

    async def generate(self, request):
        if len(self.requests) % self.every == self.every - 1:
            self.requests.append(request)
            raise EngineError("the server said 500")
        return await super().generate(request)


async def verify_inline(text, problem):
    """The letters verifier, in this process."""
    from hf_treecot.verifiers.letters import verify

    return verify(text, problem)


async def verify_crashing(text, problem):
    """A verifier that crashes."""
    raise VerifierError("the verifier crashed")


def rewards(table):
    """A verifier that gives the reward of the first key of `table` that the text holds."""

    async def verify(text, problem):
        reward = next(value for key, value in table.items() if key in text)
        return Verdict(reward, text, "right" if reward > 0.5 else "wrong")

    return verify


def bandit_pattern(arms=2):
    """A root with so many answers: a multi-armed bandit."""
    return Pattern("bandit", {"answer": arms}, {"answer": ThoughtSpec("answer", "answer", terminal=True)})


async def until(condition):
    """Wait for what other tasks bring about; a test that waits in vain ends with an error."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
