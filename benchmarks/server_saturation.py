"""How busy a build keeps a server: its tokens per second over those of the saturated server.

    python benchmarks/server_saturation.py                # a timed server, prefix cache on and off, and the starter
    python benchmarks/server_saturation.py --quick

The timed server takes as long as a large model would (20 ms a step and a bit for every row, prefill by the token, 64
slots) and speaks text-generation-inference's protocol over a socket, in a process of its own. On it: a loop shaped
like the released search (one tree, one simulation at a time, blocking calls of n <= 2, each of which ends when the
last of its samples does); a build by `build_trees`; then the very requests of that build, with twice as many under way
as there are slots, which saturates it. Each begins with a server started anew, since one that has seen the requests of
another knows their prefixes. Only the ratios within one run mean anything.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.engines.pool import EnginePool, PoolConfig
from hf_treecot.engines.server import ServerOptions
from hf_treecot.engines.tgi import TGIEngine
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import Selector
from hf_treecot.testing.backends import small_tokenizer
from hf_treecot.testing.running import spawn
from hf_treecot.verifiers.letters import verify as verify_letters


SLOTS = 64
TIMED = ("--backend", "timed", "--mean-tokens", "150", "--max-input-tokens", "8000", "--max-total-tokens", "8192")
SERVERS = {
    "timed": TIMED,
    "timed-without-prefix-cache": (*TIMED, "--no-prefix-cache"),
    "starter": ("--backend", "starter"),
}
SEARCH = SearchConfig(num_simulations=2, min_right=1, max_right=2, give_up_factor=1, max_depth=6, max_new_tokens=512)


async def verify(text, problem):
    return verify_letters(text, problem)


class Recorder:
    """An engine that notes every request, when it was answered with how many tokens, and when trees began."""

    def __init__(self, engine):
        self.engine, self.identity = engine, engine.identity
        self.requests, self.answers, self.began = [], [], []

    def render_chat(self, messages):
        self.began.append(time.monotonic())
        return self.engine.render_chat(messages)

    async def generate(self, request):
        self.requests.append(request)
        completion = await self.engine.generate(request)
        self.answers.append((time.monotonic(), completion.tokens))
        return completion


class OnePairAtATime:
    """The released search's way of asking: a call of at most two samples blocks until both are there."""

    def __init__(self, engine):
        self.engine, self.identity, self.render_chat = engine, engine.identity, engine.render_chat
        self.call, self.lock, self.tokens = [], asyncio.Lock(), 0

    async def generate(self, request):
        future = asyncio.get_running_loop().create_future()
        self.call.append((request, future))
        await asyncio.sleep(0)  # the siblings of an expansion arrive together
        async with self.lock:
            if not future.done():
                # n samples of one prompt, as one call.
                same = [entry for entry in self.call if entry[0].prompt == request.prompt][:2]
                self.call = [entry for entry in self.call if entry not in same]
                completions = await asyncio.gather(*(self.engine.generate(asked) for asked, _ in same))
                for (_, waiting), completion in zip(same, completions, strict=True):
                    self.tokens += completion.tokens
                    waiting.set_result(completion)
        return await future


def rate(answers, start, end):
    """Tokens per second between two moments."""
    return sum(tokens for moment, tokens in answers if start <= moment < end) / (end - start)


async def build(engine, problems):
    """The build; its recorder, begin and end."""
    recorder = Recorder(engine)
    selector = Selector(lambda text: engine.tokenizer(text)["input_ids"])
    patterns = [load_pattern(name) for name in available_patterns()]
    config = BuildConfig(SEARCH, seed=1, trees_in_flight=engine.max_concurrent_requests, show_progress=False)
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        engines = {"generator": recorder, "critic": recorder}
        await build_trees(problems, patterns, engines, verify, selector, Path(directory) / "run", config)
    return recorder, started, time.monotonic()


async def saturate(engine, requests, seconds):
    """Tokens per second with twice as many requests under way as there are slots, without the ends of the run."""
    waiting, answers, started = iter(requests), [], time.monotonic()

    async def caller():
        for request in waiting:
            if time.monotonic() > started + seconds:
                break
            completion = await engine.generate(request)
            answers.append((time.monotonic(), completion.tokens))

    await asyncio.gather(*(caller() for _ in range(2 * SLOTS)))
    seconds = min(seconds, answers[-1][0] - started)
    return rate(answers, started + 0.1 * seconds, started + 0.9 * seconds)


async def sequential(engine, problems, seconds):
    """Tokens per second of a loop over trees, one call at a time."""
    blocking = OnePairAtATime(engine)
    engines, started = {"generator": blocking, "critic": blocking}, time.monotonic()
    patterns = [load_pattern(name) for name in available_patterns()]
    for problem in problems:
        rng = random.Random(problem.problem_id)
        await search(problem, rng.choice(patterns), engines, verify, SEARCH, rng)
        if time.monotonic() - started > seconds:
            break
    return blocking.tokens / (time.monotonic() - started)


@asynccontextmanager
async def server(name, tokenizer):
    """A server that has seen nothing yet: what is in its cache is what its client has asked before."""
    with spawn("tgi", *SERVERS[name]) as (url, _):
        engine = await EnginePool.connect([url], partial(connect_tgi, ServerOptions(), tokenizer), PoolConfig())
        assert engine.max_concurrent_requests >= 2 * SLOTS  # else it could not be saturated
        yield engine
        await engine.close()


async def compare(name, tokenizer, problems, seconds):
    async with server(name, tokenizer) as engine:
        alone = await sequential(engine, problems[::-1], seconds)
        print(f"{name}: one call at a time done, building", file=sys.stderr)
    async with server(name, tokenizer) as engine:
        recorder, started, ended = await build(engine, problems)
        print(f"{name}: {len(recorder.requests)} requests in {ended - started:.0f} s, saturating", file=sys.stderr)
    async with server(name, tokenizer) as engine:
        saturated = await saturate(engine, recorder.requests, 4 * seconds)
    bulk_end = recorder.began[-1]  # from here on there are fewer trees than slots
    bulk = rate(recorder.answers, started + 0.05 * (bulk_end - started), bulk_end)
    whole = rate(recorder.answers, started, ended + 1e-6)
    print(
        f"| {name} | {saturated:.0f} | {bulk / saturated:.3f} | {whole / saturated:.3f} | {alone:.0f} "
        f"| {whole / alone:.1f}x | {bulk / alone:.1f}x | {len(problems)} trees, {ended - started:.0f} s |",
        flush=True,
    )


async def connect_tgi(options, tokenizer, url, _):
    return await TGIEngine.connect(url, options, tokenizer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the problems")
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    options = parser.parse_args()
    count = options.problems // 4 if options.quick else options.problems
    problems = list(generate_problems("letters", count, seed=9))
    columns = ("server", "saturated tokens/s", "bulk / saturated", "whole / saturated", "sequential tokens/s")
    columns += ("whole / sequential", "bulk / sequential", "run")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for name in options.servers:
        if name == "starter":
            from transformers import AutoTokenizer

            from hf_treecot.starter.training import starter_model

            tokenizer = AutoTokenizer.from_pretrained(str(starter_model()))
        else:
            tokenizer = small_tokenizer()
        asyncio.run(compare(name, tokenizer, problems, 30))


if __name__ == "__main__":
    main()
