"""What an endpoint adds to its engine: latency, tokens per second, and whether anything is left behind by a load.

    python benchmarks/serving.py                       # all three
    python benchmarks/serving.py --parts load --quick

`latency`: seconds until the first thought or token of a stream, over those of the same request to the engine itself;
behind both is a loopback server that answers at once. `load`: 64 clients, 1,000 requests of all decodings, streamed
and not, of which a tenth leave and a tenth are malformed, on a server that fails; every answer must be that of a lone
request, and no task, slot or memory may be left. `saturation`: a timed server (64 slots, 20 ms a step) behind the
endpoint: its tokens per second over those when its engine alone keeps it busy with the same requests. Only the ratios
within one run mean anything.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import uvicorn

from hf_treecot.cli.engines import EngineArguments, open_engines
from hf_treecot.engines.engine import Request, seed_of
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.serving.answering import Sampling, answer_by_search, answer_plainly
from hf_treecot.serving.app import make_app
from hf_treecot.serving.parameters import Defaults
from hf_treecot.serving.service import Limits, Service
from hf_treecot.testing.backends import small_tokenizer
from hf_treecot.testing.running import listen, spawn


SLOTS = 64
SEARCH_TOKENS = 1024  # of one, when a server is to be kept busy
CHAT = "/v1/chat/completions"
QUESTIONS = [f"What is {i} times {i + 3}?" for i in range(10)]
MODELS = ("model", "model:samples", "model:search")
DECODING = {"temperature": 1.0, "top_p": 1.0}


def body(model, question, seed, stream=False, **more):
    if model == MODELS[1]:  # the scripted world answers only after this tag
        question += " <answer>"
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "seed": seed, "stream": stream, **DECODING, **more}


def engine_arguments(url, tokenizer):
    return EngineArguments(engine="openai", servers=[url], tokenizer=tokenizer, max_concurrent_requests=2 * SLOTS)


@contextmanager
def endpoint(url, tokenizer, *options):
    """`treecot serve` before a server, in a process of its own."""
    command = [sys.executable, "-m", "hf_treecot.cli.main", "serve", "--engine", "openai", "--servers", url]
    command += ["--tokenizer", tokenizer, "--port", "0", "--name", "model", "--stopping", "rewards"]
    command += ["--max_concurrent_requests", str(2 * SLOTS), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield re.search(r"at (\S+)/v1", process.stdout.readline())[1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def first_event(client, url, asked):
    """Seconds until the first thought or token of a stream; then it is left."""
    started = time.perf_counter()
    async with client.stream("POST", url + CHAT, json=asked) as reply:
        async for line in reply.aiter_lines():
            if '"reasoning_content"' in line or '"content":"' in line.replace('"content":""', ""):
                return time.perf_counter() - started
    raise RuntimeError("a stream without content")


async def latency(tokenizer, count):
    """Both ways in turn, so that whatever else the machine does hits both."""
    with (
        spawn("openai", "--backend", "scripted", "--max-total-tokens", "8192") as (server, _),
        endpoint(server, tokenizer, "--answer_tokens", "256") as url,
    ):
        async with open_engines(engine_arguments(server, tokenizer)) as engines, httpx.AsyncClient() as client:
            for name, model in (("plain", MODELS[0]), ("search", MODELS[2])):
                alone, through = [], []
                for i in range(count + 5):
                    question = f"What is {i} times {name}?"
                    request = first_request(engines["generator"], name, question, i)
                    started = time.perf_counter()
                    await engines["generator"].generate(request)
                    alone.append(1000 * (time.perf_counter() - started))
                    seconds = await first_event(client, url, body(model, question, i, stream=True))
                    through.append(1000 * seconds)
                alone, through = alone[5:], through[5:]  # the first ones connect
                added = [t - a for a, t in zip(alone, through, strict=True)]
                deciles = statistics.quantiles(added, n=10)
                print(
                    f"| first token, {name} | {statistics.median(alone):.1f} ms alone | added: half below "
                    f"{deciles[4]:.1f} ms, a tenth below {deciles[0]:.1f} ms, nine tenths below {deciles[8]:.1f} ms "
                    f"| {count} requests |",
                    flush=True,
                )


def first_request(engine, name, question, seed):
    """What the endpoint asks its engine first: a piece of a text, or the first thought."""
    user = {"role": "user", "content": question}
    if name == "plain":
        return Request(engine.render_chat([user]), (), 16, 1.0, 1.0, seed_of(seed))
    system = {"role": "system", "content": load_pattern("reflection").system_prompt("generator")}
    prompt = engine.render_chat([system, user]) + "<sub-task>Firstly, I need to break down this task."
    return Request(prompt, ("</sub-task>",), 256, 1.0, 1.0, seed_of(seed))


@asynccontextmanager
async def in_this_loop(url, tokenizer):
    """An endpoint in this event loop, whose tasks can be counted."""
    async with open_engines(engine_arguments(url, tokenizer)) as engines:
        service = Service(
            engines["generator"], engines["critic"], load_pattern("reflection"),
            SearchConfig(max_new_tokens=64, max_depth=6), Defaults("model", answer_tokens=64), Limits(32, 64),
        )  # fmt: skip
        config = uvicorn.Config(make_app(service), port=0, log_level="critical", lifespan="off", timeout_keep_alive=75)
        server, socket = uvicorn.Server(config), listen(0)
        serving = asyncio.ensure_future(server.serve([socket]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{socket.getsockname()[1]}", service
        server.should_exit = True
        await serving


async def ask(client, url, asked):
    """What is answered: thoughts, content and tokens; or the status."""
    if not asked["stream"]:
        reply = await client.post(url + CHAT, json=asked)
        if reply.status_code != 200:
            return reply.status_code
        choice = reply.json()["choices"][0]["message"]
        return choice["reasoning_content"] or "", choice["content"]
    parts = {"reasoning_content": "", "content": ""}
    async with client.stream("POST", url + CHAT, json=asked) as reply:
        if reply.status_code != 200:
            return reply.status_code
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    return event["error"]["code"]
                for name in parts:
                    parts[name] += event["choices"][0]["delta"].get(name) or ""
    return tuple(parts.values())


MALFORMED = (b"{", b"[]", b'{"model": "model"}', json.dumps({"model": "x", "messages": []}).encode())


async def one(client, url, asked, kind, rng, outcomes, lone):
    """A request of a load: it is answered as a lone one, or leaves, or is refused."""
    if kind == "malformed":
        status = (await client.post(url + CHAT, content=rng.choice(MALFORMED))).status_code
        outcomes["malformed, refused" if status in (400, 404) else f"malformed, {status}"] += 1
        return
    if kind == "leaves":
        task = asyncio.ensure_future(ask(client, url, asked))
        await asyncio.sleep(rng.uniform(0, 0.3))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        outcomes["left"] += 1
        return
    while (answer := await ask(client, url, asked)) == 429:
        await asyncio.sleep(rng.uniform(0, 0.5))
    is_error = isinstance(answer, int | str)
    same = "the lone answer" if answer == lone else f"error {answer}" if is_error else "ANOTHER ANSWER"
    outcomes[same] += 1


async def load(tokenizer, count):
    kinds = list(itertools.product(MODELS, QUESTIONS[:5], (1, 2), (False, True)))
    with (
        spawn("openai", "--backend", "scripted", "--max-total-tokens", "8192") as (sound, _),
        spawn("openai", "--backend", "scripted", "--max-total-tokens", "8192", "--fault-rate", "0.03", "--fault-kinds",
              "reset", "garbage", "overloaded", "error", "truncated", "stop_missing") as (faulty, _),
    ):  # fmt: skip
        async with in_this_loop(sound, tokenizer) as (url, _), httpx.AsyncClient(timeout=None) as client:
            lone = {kind: await ask(client, url, body(*kind)) for kind in kinds}
            assert all(isinstance(answer, tuple) for answer in lone.values()), lone
        async with in_this_loop(faulty, tokenizer) as (url, service):
            clients = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
            for part in ("first", "second"):
                rng, outcomes = random.Random(part), Counter()
                waiting = iter(range(count))

                async def client(rng=rng, outcomes=outcomes, waiting=waiting):
                    for _ in waiting:
                        draw = rng.random()
                        kind = "leaves" if draw < 0.1 else "malformed" if draw < 0.2 else "asks"
                        asked = rng.choice(kinds)
                        await one(clients, url, body(*asked), kind, rng, outcomes, lone[asked])

                started = time.monotonic()
                await asyncio.gather(*(client() for _ in range(64)))
                seconds = time.monotonic() - started
                while service.running:
                    await asyncio.sleep(0.05)
                await clients.aclose()  # idle connections are tasks of the server
                clients = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
                await asyncio.sleep(1)
                gc.collect()
                tasks = sum("Probe" not in repr(task) for task in asyncio.all_tasks())
                slots = sum(replica.load for replica in service.engine.replicas)
                memory = psutil.Process().memory_info().rss / 2**20
                print(
                    f"| load, {part} {count} requests | {', '.join(f'{n} {what}' for what, n in outcomes.items())} "
                    f"| {tasks} tasks, {slots} slots taken, {service.running + service.waiting} requests, "
                    f"{memory:.0f} MiB | {seconds:.0f} s |",
                    flush=True,
                )
            await clients.aclose()


class Recorder:
    """An engine that notes what it is asked."""

    def __init__(self, engine):
        self.engine, self.identity, self.render_chat, self.requests = engine, engine.identity, engine.render_chat, []

    async def generate(self, request):
        self.requests.append(request)
        return await self.engine.generate(request)


async def busy(ask_one, seconds, callers):
    """Tokens per second of so many callers, without the ends of the run; a request's are spread over its time."""
    spans, started = [], time.monotonic()

    async def caller(number):
        for turn in itertools.count():
            if time.monotonic() > started + seconds:
                return
            begun = time.monotonic()
            spans.append((begun, await ask_one(number, turn), time.monotonic()))

    await asyncio.gather(*(caller(number) for number in range(callers)))
    low, high = started + 0.2 * seconds, started + 0.9 * seconds
    within = (tokens * max(0, min(end, high) - max(begun, low)) / (end - begun) for begun, tokens, end in spans)
    return sum(within) / (high - low)


async def saturation(tokenizer, seconds):
    """Each way beside the engine alone with the requests of that way, in their order: prompts of searches grow."""
    timed = ("--backend", "timed", "--mean-tokens", "150", "--max-total-tokens", "8192")
    timed += ("--max-concurrent-requests", str(4 * SLOTS))
    for model in (MODELS[0], MODELS[2]):
        with spawn("openai", *timed) as (server, _):
            async with open_engines(engine_arguments(server, tokenizer)) as engines:
                recorder = Recorder(engines["generator"])
                await busy(partial(in_this_process, recorder, model), seconds, 2 * SLOTS)
        with spawn("openai", *timed) as (server, _):
            async with open_engines(engine_arguments(server, tokenizer)) as engines:
                straight = partial(straight_on, engines["generator"], itertools.cycle(recorder.requests))
                alone = await busy(straight, seconds, 2 * SLOTS)
        print(
            f"| saturation, {model}, the engine alone | {alone:.0f} tokens/s | 1 | {2 * SLOTS} callers |", flush=True
        )
        for stream in (False, True):
            options = ("--answer_tokens", "512", "--max_requests", str(2 * SLOTS))
            with spawn("openai", *timed) as (server, _), endpoint(server, tokenizer, *options) as url:
                async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None)) as client:
                    through = partial(through_endpoint, client, url, model, stream)
                    rate = await busy(through, seconds, 2 * SLOTS)
            name = f"{model}, streamed" if stream else model
            print(
                f"| saturation, {name} | {rate:.0f} tokens/s | {rate / alone:.3f} | {2 * SLOTS} clients |", flush=True
            )


def question_of(number, turn):
    """What a caller asks, every time another thing."""
    return f"{QUESTIONS[number % 10]} ({number}, {turn})"


async def straight_on(engine, requests, number, turn):
    """Tokens of the next request."""
    return (await engine.generate(next(requests))).tokens


async def in_this_process(engine, model, number, turn):
    """Tokens of an answer as the endpoint gives it, by its settings, without an endpoint."""
    messages, sampling = [{"role": "user", "content": question_of(number, turn)}], Sampling(1.0, 1.0, turn)
    if model == MODELS[0]:
        return (await answer_plainly(engine, messages, sampling, 512)).tokens
    pattern = load_pattern("reflection")
    return (await answer_by_search(engine, messages, sampling, SEARCH_TOKENS, pattern, SearchConfig())).tokens


async def through_endpoint(client, url, model, stream, number, turn):
    """The same, by the endpoint."""
    more = {"stream_options": {"include_usage": True}} if stream else {}
    if model == MODELS[2]:
        more["max_completion_tokens"] = SEARCH_TOKENS
    asked = body(model, question_of(number, turn), turn, stream, **more)
    reply = await client.post(url + CHAT, json=asked)
    if '"token_budget_too_small"' in reply.text:  # a status, or an event of a stream
        return SEARCH_TOKENS  # they were spent, and none of them on an answer
    reply.raise_for_status()
    return int(re.findall(r'"completion_tokens":(\d+)', reply.text)[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("latency", "load", "saturation"), default=None)
    parser.add_argument("--quick", action="store_true", help="a fifth of it")
    options = parser.parse_args()
    share = 5 if options.quick else 1
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as directory:
        tokenizer = str(Path(directory) / "tokenizer")
        small_tokenizer().save_pretrained(tokenizer)
        for part in options.parts or ("latency", "load", "saturation"):
            work = {"latency": (latency, 200), "load": (load, 1000), "saturation": (saturation, 100)}
            function, size = work[part]
            asyncio.run(function(tokenizer, size // share))


if __name__ == "__main__":
    main()
