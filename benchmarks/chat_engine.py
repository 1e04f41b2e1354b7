"""The chat engine on servers: what it yields against the raw engine, and what faults and malformed thoughts cost.

    python benchmarks/chat_engine.py faults                 # a loopback provider, the starter model behind it
    python benchmarks/chat_engine.py yield                  # llama.cpp's llama-server and transformers serve

For `yield` a model is needed that does as it is asked: the starter model, trained further on conversations in which
each thought is asked for in words. It is trained once, for some minutes, and kept in the cache. llama-server is
compiled once, see tests/real_servers.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from hf_treecot.building.builder import BuildConfig, build_trees
from hf_treecot.cli.engines import EngineArguments, open_engines
from hf_treecot.engines.chat_thoughts import Question
from hf_treecot.hub.dataset import load_trees
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.starter.chains import Segment, write_chain
from hf_treecot.starter.tokenizer import ASSISTANT, END, USER
from hf_treecot.starter.training import SHARES_OF_TASKS, StarterRecipe, find_or_train, fit, starter_model
from hf_treecot.testing import chat
from hf_treecot.testing.backends import StarterBackend
from hf_treecot.testing.faults import Faults
from hf_treecot.testing.running import serve
from hf_treecot.verifiers.worker import VerifierPool


sys.path.append(str(Path(__file__).parents[1]))  # tests.real_servers

SEARCH = SearchConfig(
    num_simulations=16, min_right=2, max_right=6, max_new_tokens=128, max_depth=10, temperature=0.8, top_p=0.95
)
SELECTION = SelectionConfig(max_sft_per_tree=1000, preference="one_per_right_chain", max_pairs_per_tree=1000)
RECIPE = StarterRecipe(seed=1, num_steps=1000, num_drill_steps=0, learning_rate=7e-4)
SHARE_OF_PLAIN_CHAINS = 0.3  # so that they are not forgotten
PRICES = {"prompt_price": 0.4, "completion_price": 1.2}


# A model that does as it is asked


def conversation(rng: random.Random) -> tuple[str, list[Segment]]:
    """An example of a thought that is asked for in words, or of a whole chain."""
    task = rng.choices(list(SHARES_OF_TASKS), list(SHARES_OF_TASKS.values()))[0].random_task(rng)
    pattern = load_pattern(rng.choice(available_patterns()))
    segments = write_chain(task, pattern, rng)
    if rng.random() < SHARE_OF_PLAIN_CHAINS:
        return task.prompt, segments
    thoughts = [segments[i : i + 3] for i in range(0, len(segments), 3)]  # opening and prefill, text, closing
    chosen = rng.choice([i for i, thought in enumerate(thoughts) if thought[1].trained])
    opening, text, closing = (segment.text for segment in thoughts[chosen])
    chain = "".join(segment.text for thought in thoughts[:chosen] for segment in thought)
    spec = next(s for s in pattern.thoughts.values() if opening.startswith(s.opening))
    messages = [{"role": "user", "content": task.prompt}]
    if (system := pattern.system_prompt(spec.role)) and rng.random() < 0.5:
        messages.insert(0, {"role": "system", "content": system})
    asked = Question.about(messages, f"{chain}{opening.rstrip()}", (spec.closing,)).messages
    answer = [Segment(f"{opening}{text}{closing.rstrip()}", True)]
    if chain:
        turns = f"{asked[-2]['content']}{END}{USER}{asked[-1]['content']}{ASSISTANT}"
        return task.prompt, [Segment(turns, False), *answer]
    return asked[-1]["content"], answer


def train(output_dir: Path) -> None:
    """Train the starter model further."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rng = random.Random(RECIPE.seed)
    examples = [conversation(rng) for _ in range(RECIPE.num_steps * RECIPE.batch_size)]
    base = starter_model()
    tokenizer = AutoTokenizer.from_pretrained(base)
    make = partial(AutoModelForCausalLM.from_pretrained, base, dtype="float32")
    fit(make, tokenizer, examples, RECIPE, output_dir, asdict(RECIPE))


def asked_starter() -> Path:
    """The directory of that model. It samples on servers that ask its generation_config.json whether to."""
    path = find_or_train("asked-starter", None, train)
    (path / "generation_config.json").write_text('{"do_sample": true}\n', encoding="utf-8")
    return path


# Builds


async def build(arguments: EngineArguments, problems: int, directory: Path, begin=lambda: None):
    """Grow trees of every pattern: the report, the trees, who wrote, and what `begin` gives when engines are open."""
    async with open_engines(arguments, SEARCH.temperature, SEARCH.top_p) as engines, VerifierPool() as pool:
        engine, begun = engines["generator"], begin()
        patterns = [replace(load_pattern(name), system_prompts={}) for name in available_patterns()]  # it knows none
        tasks = [p for kind in ("letters", "arithmetic") for p in generate_problems(kind, problems, seed=21)]
        report = await build_trees(
            tasks, patterns, engines, pool.verify,
            Selector.of_tokenizer(engine.tokenizer, SELECTION), directory,
            BuildConfig(SEARCH, seed=3, trees_in_flight=16, show_progress=False),
        )  # fmt: skip
        return report, list(load_trees(directory)), engine.identity, begun


def chat_arguments(url: str, **options) -> EngineArguments:
    """Arguments of a chat server of the starter model."""
    return EngineArguments(engine="chat", servers=[url], tokenizer="starter", **options)


SCENARIOS = {
    "it continues an answer": {},
    "in words": {"manner": chat.Manner(continues=False)},
    "in words; it thinks before": {"manner": chat.Manner(continues=False, reasoning="think")},
    "429, 40 requests a quarter of a second": {"limit": (40, 0.25)},
    "3 % of the answers broken or cut off": {"kinds": ("reset", "garbage"), "rate": 0.03},
    "5 % refused by a content filter": {"kinds": ("filtered",), "rate": 0.05},
    "in words; 10 % without the tag, or in another": {
        "manner": chat.Manner(continues=False), "kinds": ("no_tag", "other_tag"), "rate": 0.1
    },
    "in words; no tag is ever closed": {
        "manner": chat.Manner(continues=False, has_stop_reason=True), "kinds": ("unclosed",), "rate": 1.0
    },
}  # fmt: skip


async def try_faults(problems: int) -> None:
    """What each fault costs, and whether the provider's bill is ours."""
    backend = StarterBackend()
    print("| provider | trees | lost | right chains | thoughts refused | replies malformed | cost | of the bill |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, scenario in SCENARIOS.items():
        faults, rate = Faults(kinds=scenario.get("kinds", ())), scenario.get("rate", 0.0)
        limit = chat.RateLimit(*scenario["limit"]) if "limit" in scenario else None
        app = chat.make_app(backend, faults, manner=scenario.get("manner", chat.Manner()), rate_limit=limit)
        with serve(app) as url, tempfile.TemporaryDirectory() as directory:
            begin = partial(begin_faults, app.state, rate)
            report, trees, _, before = await build(chat_arguments(url, **PRICES), problems, Path(directory), begin)
        refused = sum(node.dead_end == "refused" for tree in trees for node in tree.nodes)
        share = report.cost / (bill(app.state) - before)
        print(
            f"| {name} | {report.trees} | {len(report.failures)} | {report.statistics['right']} | {refused} "
            f"| {report.statistics['malformed']} | {report.cost:.4f} | {share:.1%} |",
            flush=True,
        )


def bill(state) -> float:
    """What the provider has counted."""
    return (PRICES["prompt_price"] * state.prompt_tokens + PRICES["completion_price"] * state.tokens) / 1e6


def begin_faults(state, rate: float) -> float:
    """From now on requests fail; the bill so far is that of the questions at the start."""
    state.faults.rate = rate
    return bill(state)


# Servers that are not ours


async def compare_yields(problems: int) -> None:
    """Rows for a million generated tokens: the raw engine, the chat engine that continues, and the one in words."""
    from tests.real_servers import servers

    model = asked_starter()
    print(
        "| server | engine | trees | thoughts | malformed | right answers | tokens of a prompt | tokens of a thought "
        "| right chains / million | pairs / million |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)
        with servers.llama_cpp(at, model=model) as running:
            for engine, thoughts in (("openai", "auto"), ("chat", "continued"), ("chat", "in_words")):
                await one_yield("llama-server", engine, thoughts, running, model, problems, at)
        with servers.transformers_serve(at, model=model) as running:
            await one_yield("transformers serve", "chat", "auto", running, model, max(1, problems // 8), at)


async def one_yield(name: str, kind: str, thoughts: str, running, model: Path, problems: int, directory: Path) -> None:
    """One line."""
    arguments = EngineArguments(
        engine=kind, servers=[running.url], model=running.model or "starter", tokenizer=str(model), thoughts=thoughts,
        max_concurrent_requests=8,
    )  # fmt: skip
    report, _, identity, _ = await build(arguments, problems, directory / f"{kind}-{thoughts}-{running.port}")
    sums = report.statistics
    million = sums["generated_tokens"] / 1e6
    way = f"{kind}, {identity.thoughts}" if identity.thoughts else kind
    print(
        f"| {name} | {way} | {report.trees} | {sums['requests']} | {sums['malformed']} "
        f"| {sums['right'] / (sums['right'] + sums['wrong']):.0%} | {sums['prompt_tokens'] / sums['requests']:.0f} "
        f"| {sums['generated_tokens'] / sums['requests']:.1f} | {report.rows['sft'] / million:.0f} "
        f"| {report.rows['preference'] / million:.0f} |",
        flush=True,
    )


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faults", "yield"))
    parser.add_argument("--problems", type=int, default=20, help="of each kind")
    options = parser.parse_args()
    asyncio.run((try_faults if options.what == "faults" else compare_yields)(options.problems))


if __name__ == "__main__":
    main()
