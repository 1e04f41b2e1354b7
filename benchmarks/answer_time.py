"""What tokens at answer time buy: greedy decoding, votes among samples, and searches, at equal tokens.

    python benchmarks/answer_time.py
    python benchmarks/answer_time.py --num_problems 60 --seeds 1 --models starter

Models are the starter, and the hasty model after the demo's trees, SFT and the joint objective, trained here. All
problems are held out. Every method is run once for the largest budget: what it would have answered with a smaller one
is the beginning of that. An answer that came after the budget was spent does not count. Run it again after an
interruption: cells that exist are not made again.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

from hf_treecot.base import Problem
from hf_treecot.cli.build import build
from hf_treecot.cli.stages import load_engine, train, tree_settings
from hf_treecot.evaluation.outputs import reply
from hf_treecot.evaluation.search_answers import AnswerTree, grow_answers
from hf_treecot.evaluation.statistics import Estimate, estimate
from hf_treecot.evaluation.voting import elect
from hf_treecot.files import write_atomically
from hf_treecot.mcts.pattern import load_pattern
from hf_treecot.mcts.search import SearchConfig, drawn
from hf_treecot.mcts.spending import STOPPINGS
from hf_treecot.mcts.tree import Tree
from hf_treecot.problems.loading import load_problems
from hf_treecot.verifiers.judging import judge_all
from hf_treecot.verifiers.worker import VerifierPool


HELD_OUT_SEED = 20_263
KINDS = ("letters", "arithmetic", "blocks")
MODELS = ("starter", "joint")
BUDGETS = (200, 400, 800)  # generated tokens of a problem: two, four and eight replies
LONGEST = 400  # tokens of a reply


@dataclass(frozen=True)
class Method:
    """
    A way of spending tokens.

    Args:
        pattern (`str`): Name of the pattern.
        settings (`Mapping`): What differs from a search at temperature 1.
        votes (`Sequence[str]`): How an answer is chosen from its trees.
        stoppings (`Sequence[str]`): When it stops besides, each shown by itself.
        has_others (`bool`): Whether the other model may write too.
    """

    pattern: str
    settings: Mapping = field(default_factory=dict)
    votes: Sequence[str] = ("majority", "log_probability")
    stoppings: Sequence[str] = ("rewards",)
    has_others: bool = False


DECIDED = {"majority": "majority_decided", "log_probability": "probability_decided"}  # a stopping for each vote
ADAPTIVE = ("rewards", *DECIDED.values())
GREEDY_FIRST = {"greedy": "first_chain"}
METHODS = {
    "samples": Method("best_of_1", {"branching": "root"}, stoppings=ADAPTIVE),
    "samples at 0.7": Method("best_of_1", {"branching": "root", "temperature": 0.7}, stoppings=ADAPTIVE),
    "greedy, then samples": Method("best_of_1", {"branching": "root", **GREEDY_FIRST}, stoppings=ADAPTIVE),
    "MCTS": Method("reflection", votes=("majority", "log_probability", "value")),
    "entropy": Method("free", {"branching": "entropy", **GREEDY_FIRST}, stoppings=ADAPTIVE),
    "PUCT": Method("reflection", {"child_selection": "puct"}),
    "disagreement": Method("free", {"branching": "disagreement", **GREEDY_FIRST}),
    "Thompson": Method("free", {"branching": "thompson", **GREEDY_FIRST}),
    "Thompson, two models": Method("free", {"branching": "thompson", **GREEDY_FIRST}, has_others=True),
}


async def greedy_cell(engine, problems: Sequence[Problem], pool: VerifierPool) -> list[dict]:
    """Every problem's greedy answer."""
    chats = ([{"role": "user", "content": problem.prompt}] for problem in problems)
    replies = await asyncio.gather(*(reply(engine, chat, LONGEST, 0.0, 1.0, 0) for chat in chats))
    rewards = await rewards_of([r.text for r in replies], problems, pool)
    return [{"right": reward, "tokens": r.tokens} for reward, r in zip(rewards, replies, strict=True)]


async def rewards_of(texts: Sequence[str], problems: Sequence[Problem], pool: VerifierPool) -> list[float]:
    """Whether outputs are right: 1 or 0. A verifier that fails ends the benchmark."""
    judged = await judge_all(texts, problems, [0] * len(texts), [False] * len(texts), pool)
    if any(output.verdict is None for output in judged):
        raise RuntimeError("a verifier failed")
    return [output.reward for output in judged]


async def search_cell(
    method: Method, engines, problems: Sequence[Problem], seed: int, pool: VerifierPool
) -> list[dict]:
    """Every problem's tree for the largest budget, and which of its answers are right."""
    settings = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 256, "max_chain_tokens": LONGEST}
    config = SearchConfig(**{**settings, **method.settings})
    engine, *others = engines
    others = others if method.has_others else []
    pattern = load_pattern(method.pattern)
    grown = await asyncio.gather(
        *(grow_answers(p, engine, pattern, config, BUDGETS[-1], others=others, seed=seed) for p in problems)
    )
    places = [(tree, problem, node) for tree, problem in zip(grown, problems, strict=True) for node in tree.found]
    rewards = await rewards_of([g.tree.render(node) for g, _, node in places], [p for _, p, _ in places], pool)
    cell = [{"tree": g.tree.to_record(), "found": [*g.found.items()], "ends": g.ends, "right": {}} for g in grown]
    rows = {problem.problem_id: row for problem, row in zip(problems, cell, strict=True)}
    for (_, problem, node), reward in zip(places, rewards, strict=True):
        rows[problem.problem_id]["right"][node] = reward
    return cell


def outcome(row: Mapping, method: Method, budget: int, vote: str, stopping: str) -> tuple[float, int]:
    """Whether the answer is right that a tree gives within a budget, and the tokens that it took."""
    is_sampled = method.settings.get("branching") == "root"
    grown = AnswerTree(Tree.from_record(row["tree"]), dict(row["found"]), row["ends"], is_sampled)
    spent = min(budget, decided_at(grown, stopping))
    nodes, ballot = grown.ballot(spent)
    elected = elect(ballot, vote)
    right = 0.0 if elected is None else row["right"][str(nodes[elected])]
    return right, min(spent, grown.tree.generated_tokens)


def decided_at(grown: AnswerTree, stopping: str) -> int:
    """The tokens at which the search would have stopped by a rule that looks after every simulation."""
    is_decided = STOPPINGS[stopping]
    for number, end in enumerate(grown.ends if is_decided else (), start=1):
        leaves = grown.tree.simulations[:number]
        leaves = leaves if grown.is_sampled else [node for node, at in grown.found.items() if at <= end]
        if is_decided(drawn(grown.tree, leaves), SearchConfig().decided_probability):
            return end
    return BUDGETS[-1]


def trained(run: Path, seed: int) -> str:
    """The hasty model after trees of its own, SFT and the joint objective."""
    directory = run / f"seed-{seed}"
    if not (directory / "trees" / "report.json").is_file():
        asyncio.run(build(tree_settings(directory / "trees", model="hasty", seed=7 + seed)))
    sft = train("sft", "hasty", directory / "trees", directory / "models" / "sft", seed=seed)
    return str(train("joint", str(sft), directory / "trees", directory / "models" / "joint", seed=seed))


def cell_path(arguments, *parts: object) -> Path:
    """Where the outcomes of one cell are kept."""
    return (
        arguments.output_dir
        / f"cells-{arguments.num_problems}"
        / f"{'-'.join(map(str, parts))}.json".replace(" ", "_")
    )


def run_model(arguments, model: str, seed: int, problems: Mapping[str, Sequence[Problem]]) -> None:
    """All cells of one model and seed that are not there yet."""
    missing = [
        (kind, name)
        for name, kind in product(["greedy", *arguments.methods], problems)
        if not cell_path(arguments, model, seed, kind, name).is_file()
    ]
    if not missing:
        return
    has_others = any(METHODS[name].has_others for _, name in missing if name != "greedy")
    names = [model, *(other for other in MODELS if other != model and has_others)]
    paths = {name: name if name == "starter" else trained(arguments.output_dir, seed) for name in names}
    engines = [load_engine(paths[name]) for name in names]

    async def run() -> None:
        async with VerifierPool() as pool:
            for kind, name in missing:
                if name == "greedy":
                    rows = await greedy_cell(engines[0], problems[kind], pool)
                else:
                    rows = await search_cell(METHODS[name], engines, problems[kind], seed, pool)
                write_atomically(cell_path(arguments, model, seed, kind, name), json.dumps(rows))
                print(f"{model}, seed {seed}, {kind}, {name}", flush=True)

    asyncio.run(run())
    for engine in engines:
        engine.close()


def table(arguments, model: str) -> str:
    """Accuracy with intervals over seeds and problems, its difference to the majority of samples, and tokens."""
    heads = [cell for kind in KINDS for cell in (kind, "− majority", "tokens")]
    lines = [["tokens at most", model, *heads], ["---"] * (2 + len(heads))]

    @cache
    def outcomes(kind: str, name: str, *way) -> tuple[list, list]:
        """Right or not and tokens, of every seed and problem, as [`estimate`] takes them."""
        paths = [cell_path(arguments, model, seed, kind, name) for seed in range(arguments.seeds)]
        cells = [json.loads(path.read_text()) for path in paths]
        if name == "greedy":
            pairs = [[(row["right"], row["tokens"]) for row in cell] for cell in cells]
        else:
            pairs = [[outcome(row, METHODS[name], *way) for row in cell] for cell in cells]
        return tuple([[[pair[i]] for pair in cell] for cell in pairs] for i in (0, 1))

    ways = [("greedy", ())]
    for budget, name in product(BUDGETS, arguments.methods):
        pairs = product(METHODS[name].votes, METHODS[name].stoppings)
        ways += [(name, (budget, *pair)) for pair in pairs if pair[1] in ("rewards", DECIDED.get(pair[0]))]
    for name, way in ways:
        budget, vote, stopping = way or ("", "", "")
        words = [name, vote.replace("_", "-"), {"rewards": ""}.get(stopping, stopping.replace("_", " is "))]
        line = [str(budget), ", ".join(filter(None, words))]
        for kind in KINDS:
            right, tokens = outcomes(kind, name, *way)
            base, _ = outcomes(kind, "samples", budget or BUDGETS[-1], "majority", "rewards")
            pairs = [zip(*both, strict=True) for both in zip(right, base, strict=True)]
            line.append(percent(estimate(right)))
            line.append(percent(estimate([[[a[0] - b[0]] for a, b in pair] for pair in pairs]), "+"))
            line.append(f"{estimate(tokens).value:.0f}")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(figure: Estimate, sign: str = "") -> str:
    """A figure with its interval."""
    return f"{100 * figure.value:{sign}.1f} [{100 * figure.low:{sign}.0f}, {100 * figure.high:{sign}.0f}]"


def main() -> None:
    """Run all cells and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="How many seeds.")
    parser.add_argument("--num_problems", type=int, default=200, help="Held-out problems of each kind.")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, help="Which models.")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="Which methods.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/answer_time"), help="Where the runs go.")
    arguments = parser.parse_args()
    problems = {kind: load_problems(kind, limit=arguments.num_problems, seed=HELD_OUT_SEED) for kind in KINDS}
    for seed, model in product(range(arguments.seeds), arguments.models):
        run_model(arguments, model, seed, problems)
    for model in arguments.models:
        print(f"\n{table(arguments, model)}")


if __name__ == "__main__":
    main()
