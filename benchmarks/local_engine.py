"""The local engine's tokens per second, against what transformers offers by itself, on one model in one run.

    python -m benchmarks.local_engine            # the starter model
    python -m benchmarks.local_engine --quick
    python -m benchmarks.local_engine --processor_time     # while the machine does other work, too

Three loads: N requests at once (1, 8, 32, 64), and two loads shaped like a search: 16 callers, 4 branches an
expansion, stops and lengths that vary, on short and on 400-token paths. Only the ratios within one run mean anything.
After `make test-servers`, which compiles it, also llama.cpp's server of the same weights, with one thread.
"""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

import psutil
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from hf_treecot.cli.engines import EngineArguments, open_engines
from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.problems.generators import generate_problems
from hf_treecot.starter.training import starter_model


CLOSING = [spec.closing for spec in load_pattern("released_demo").thoughts.values()]


class StopTokens(StoppingCriteria):
    """Ends a row at its own stop token."""

    def __init__(self, tokens):
        self.tokens = torch.tensor(tokens)

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids[:, -1] == self.tokens


def padded_generate(engine, requests, batch_size):
    """transformers' generate on padded batches; returns the generated tokens."""
    tokenizer, model, count = engine.tokenizer, engine.model, 0
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        inputs = tokenizer(
            [r.prompt for r in batch], return_tensors="pt", padding=True, padding_side="left",
            add_special_tokens=False, return_token_type_ids=False,
        )  # fmt: skip
        stops = StopTokens([tokenizer.convert_tokens_to_ids(r.stop[0]) for r in batch])
        with torch.inference_mode():
            output = model.generate(
                **inputs, max_new_tokens=max(r.max_new_tokens for r in batch), do_sample=True, top_k=0,
                temperature=batch[0].temperature, stopping_criteria=StoppingCriteriaList([stops]),
            )  # fmt: skip
        for row, stop in zip(output[:, inputs["input_ids"].shape[1] :].tolist(), stops.tokens.tolist(), strict=True):
            ends = [i + 1 for i, token in enumerate(row) if token in (stop, tokenizer.eos_token_id)]
            count += min([*ends, len(row)])
    return count


async def at_once(engine, requests):
    """All requests at the same time."""
    completions = await asyncio.gather(*(engine.generate(r) for r in requests))
    return sum(c.tokens for c in completions), completions


async def like_a_search(engine, expansions):
    """16 callers; each asks for the 4 branches of an expansion, waits for all, and goes on to the next."""
    tokens, queue = 0, list(reversed(expansions))

    async def caller():
        nonlocal tokens
        while queue:
            count, _ = await at_once(engine, queue.pop())
            tokens += count  # only now: others add while this one waits

    await asyncio.gather(*(caller() for _ in range(16)))
    return tokens


def make_expansions(engine, count, path_tokens, seed=0):
    """Expansions of 4 branches: a problem, a path of about so many tokens, an opening tag; paths share prefixes."""
    rng = random.Random(seed)
    problems = list(generate_problems("letters", max(1, count // 8), seed))
    thought = "<thinking>a appears 3 times. n appears 2 times. 3 + 2 = 5. The total is 5.</thinking>\n"
    length = len(engine.tokenizer.encode(thought))
    expansions = []
    for index in range(count):
        problem = problems[index % len(problems)]
        path = thought * round(path_tokens / length * rng.uniform(0.8, 1.2))
        prompt = engine.render_chat([{"role": "user", "content": problem.prompt}]) + path
        branches = []
        for _ in range(4):
            tag = rng.choice(CLOSING)
            branches.append(
                Request(
                    f"{prompt}{tag.replace('</', '<')}",
                    (tag,),
                    rng.choice((16, 32, 64)),
                    1.0,
                    1.0,
                    rng.randrange(2**31),
                )
            )
        expansions.append(branches)
    return expansions


def timed(function, clock):
    """Tokens per second of a function that returns tokens."""
    started = clock()
    tokens = function()
    return tokens / (clock() - started)


async def served(count, groups, processor_time):
    """Tokens per second of llama.cpp's server, with so many requests at once; None where it is not compiled."""
    from tests.real_servers import llama_cpp, servers

    if not llama_cpp.is_compiled():
        return None
    room = {"slots": count, "context": 1024 * count}
    with tempfile.TemporaryDirectory() as directory, servers.llama_cpp(Path(directory), **room) as server:
        arguments = EngineArguments(
            engine="openai", servers=[server.url], tokenizer="starter", max_concurrent_requests=count
        )
        async with open_engines(arguments, 1.0, 1.0) as engines:
            clock = psutil.Process(server.process.pid).cpu_times if processor_time else time.perf_counter
            started, tokens = clock(), 0
            for group in groups:
                tokens += (await at_once(engines["generator"], group))[0]
            ended = clock()
    if processor_time:
        return tokens / (ended.user + ended.system - started.user - started.system)
    return tokens / (ended - started)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory or Hub name; default: the starter model")
    parser.add_argument("--quick", action="store_true", help="a quarter of the load")
    parser.add_argument("--processor_time", action="store_true", help="seconds are those that a processor worked")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    torch.set_num_threads(1)  # the same for all
    path = arguments.model or str(starter_model())
    scale = 1 if arguments.quick else 4

    def new_engine():
        return LocalEngine.from_pretrained(path)

    engine = new_engine()
    await engine.generate(Request("warm up", (), 4, 1.0, 1.0, 0))
    print(f"model: {engine.model.num_parameters():,} parameters, float32, one thread\n")
    print(
        "| load | sequential generate | padded generate (batch) | llama-server | local engine | against sequential | "
        "against padded | against llama-server |"
    )
    print("| --- " * 8 + "|")

    def row(name, sequential, padded, batch, ours, server=None):
        there, against = (f"{server:.0f}", f"{ours / server:.1f}x") if server else ("", "")
        print(
            f"| {name} | {sequential:.0f} | {padded:.0f} ({batch}) | {there} | {ours:.0f} | "
            f"{ours / sequential:.1f}x | {ours / padded:.1f}x | {against} |",
            flush=True,
        )

    flat = [r for e in make_expansions(engine, 16 * scale, 40, seed=1) for r in e]
    sequential = timed(lambda: padded_generate(engine, flat[:32], 1), clock)
    for count in (1, 8, 32, 64):
        engine = new_engine()
        groups = [flat[i : i + count] for i in range(0, min(len(flat), 32 * count), count)]
        started, tokens = clock(), 0
        for group in groups:
            tokens += (await at_once(engine, group))[0]
        ours = tokens / (clock() - started)
        padded = timed(lambda c=count: padded_generate(engine, flat, c), clock)
        engine.close()
        server = None if arguments.model else await served(count, groups, arguments.processor_time)
        row(f"{count} at once", sequential, padded, count, ours, server)
    for name, path_tokens in (("search, short paths", 30), ("search, 400-token paths", 400)):
        engine = new_engine()
        expansions = make_expansions(engine, 32 * scale, path_tokens)
        flat = [r for e in expansions for r in e]
        sequential = timed(lambda f=flat: padded_generate(engine, f[:48], 1), clock)
        padded = timed(lambda f=flat: padded_generate(engine, f, 64), clock)
        started = clock()
        tokens = await like_a_search(engine, expansions)
        row(name, sequential, padded, 64, tokens / (clock() - started))
        engine.close()

    engine = new_engine()
    requests = [r for e in make_expansions(engine, 16 * scale, 100, seed=2) for r in e]
    alone = [await engine.generate(r) for r in requests]
    engine.close()
    engine = new_engine()
    _, together = await at_once(engine, requests)
    engine.close()
    same = sum(a.text == b.text for a, b in zip(alone, together, strict=True))
    print(f"\nthe same text alone and in a batch of 64: {same} of {len(requests)} requests")


if __name__ == "__main__":
    asyncio.run(main())
