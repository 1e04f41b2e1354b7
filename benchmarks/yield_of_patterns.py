"""What a million generated tokens give: trees of every pattern against best-of-N sampling with the same tokens.

    python benchmarks/yield_of_patterns.py
    python benchmarks/yield_of_patterns.py --problems 10

One engine, the starter model; the same problems. For every pattern a tree is grown for each problem; then whole chains
are sampled for the same problem until they have cost as many tokens (the last sample may overrun: all its tokens
count). Both are selected from in the same way: distinct right chains, and pairs of each right chain with the wrong one
that shares least with it.
"""

import argparse
import asyncio
import random
from collections import Counter

from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.mcts.search import SearchConfig, search
from hf_treecot.mcts.tree import ROOT, Node, Tree
from hf_treecot.problems.generators import generate_problems
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.starter.training import starter_model
from hf_treecot.verifiers.worker import VerifierPool


SEARCH = SearchConfig(
    num_simulations=16, min_right=2, max_right=6, max_new_tokens=128, max_depth=10, temperature=0.8, top_p=0.95
)
SELECTION = SelectionConfig(max_sft_per_tree=1000, preference="one_per_right_chain", max_pairs_per_tree=1000)


async def best_of_n(problem, engine, verify, tokens):
    """Whole chains until they have cost so many tokens, as a tree of one level."""
    tree, rng = Tree(problem, "best_of_n"), random.Random(problem.problem_id)
    prompt = engine.render_chat([{"role": "user", "content": problem.prompt}])
    while tree.generated_tokens < tokens:
        request = Request(prompt, (), 512, SEARCH.temperature, SEARCH.top_p, rng.getrandbits(31))
        completion = await engine.generate(request)
        tree.generated_tokens += completion.tokens
        node = Node("answer", "chain", completion.text, ROOT, tokens=completion.tokens)
        _, tag, answer = completion.text.rpartition("<answer>")
        if tag:
            verdict = await verify(answer, problem)
            node.reward, node.answer = verdict.reward, verdict.answer
        tree.add(node)
    return tree


def count(trees, engine):
    """Distinct right chains, pairs, tokens and problems with a pair, of some trees."""
    selector = Selector.of_tokenizer(engine.tokenizer, SELECTION)
    sums = Counter()
    for tree in trees:
        pairs = len(list(selector.select_preferences(tree)))
        sums["right"] += len(list(selector.select_sft(tree)))
        sums["pairs"] += pairs
        sums["with_pair"] += pairs > 0
        sums["with_right"] += bool(tree.answers(right=True))
        sums["tokens"] += tree.generated_tokens
    return sums


def row(name, sums, problems):
    million = sums["tokens"] / 1e6
    print(
        f"| {name} | {sums['tokens']} | {sums['right'] / million:.0f} | {sums['pairs'] / million:.0f} "
        f"| {sums['with_right'] / problems:.0%} | {sums['with_pair'] / problems:.0%} |",
        flush=True,
    )


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=40, help="of each kind")
    options = parser.parse_args()
    engine = LocalEngine.from_pretrained(str(starter_model()))
    engines = {"generator": engine, "critic": engine}
    problems = [p for kind in ("letters", "arithmetic") for p in generate_problems(kind, options.problems, seed=21)]
    print("| | tokens | right chains / million | pairs / million | problems with a right chain | with a pair |")
    print("| --- | --- | --- | --- | --- | --- |")
    async with VerifierPool() as pool:
        for name in available_patterns():
            pattern = load_pattern(name)
            searches = [
                search(p, pattern, engines, pool.verify, SEARCH, random.Random(p.problem_id)) for p in problems
            ]
            trees = await asyncio.gather(*searches)
            row(f"`{name}`", count(trees, engine), len(problems))
            samples = [
                best_of_n(p, engine, pool.verify, t.generated_tokens) for p, t in zip(problems, trees, strict=True)
            ]
            row("best of N, as many tokens", count(await asyncio.gather(*samples), engine), len(problems))
    engine.close()


if __name__ == "__main__":
    asyncio.run(main())
