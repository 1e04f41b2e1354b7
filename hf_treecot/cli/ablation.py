"""The paper's ablation on a built-in model: what each part of the method does to accuracy and to the no-answer rate.

    treecot ablation --seeds 2             # instead of 5; some minutes a seed on two cores
    treecot ablation --stages base sft dpo # a part of it; sft is where the preference stages start

Every seed grows trees of its own on problems of its own and trains on them; all are evaluated on the same held-out
problems. Run it again after any interruption: a stage whose figures exist is not run again.
"""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..base import Problem
from ..building.run_directory import claim_directory
from ..errors import InvalidInputError
from ..evaluation.comparison import ladder
from ..files import write_atomically
from ..hub.dataset import DatasetWriter, load_trees
from ..mcts.tree import Tree
from ..problems.loading import load_problems
from ..reports.evaluated import Evaluated
from ..reports.steps_picture import steps_figure
from ..selection.chains import PREFERENCE_CHOICES
from ..selection.selector import SelectionConfig, Selector
from ..starter.built_in import model_path
from .ablation_stages import PICTURED, STAGES, TABLES, Stage
from .build import BuildSettings, build
from .parser import parse
from .parser import run as run_command
from .stages import check_counts, identity, load_engine, outcomes, rows_of, train, tree_settings


if TYPE_CHECKING:
    from matplotlib.figure import Figure


SOURCES = ("letters", "arithmetic")
TEMPERATURES = (0.0, 1.0)


@dataclass
class AblationArguments:
    """How large it is, and which stages."""

    model: str = field(default="hasty", metadata={"help": "Hub name or directory; starter, hasty: built-in ones."})
    seeds: int = field(default=5, metadata={"help": "How many seeds."})
    num_problems: int = field(default=50, metadata={"help": "Problems of each kind whose trees are trained on."})
    num_evaluated: int = field(default=100, metadata={"help": "Held-out problems of each kind."})
    max_new_tokens: int = field(default=512, metadata={"help": "Tokens of an answer."})
    stages: list[str] = field(default_factory=lambda: list(STAGES), metadata={"help": f"Of {', '.join(STAGES)}."})
    output_dir: str = field(default="runs/ablation", metadata={"help": "Where everything goes."})


def sample_best_of_n(problems: list[Problem], num_tokens: int, settings: BuildSettings) -> list[dict]:
    """
    SFT rows without a tree: whole chains are sampled for all problems, round after round, until as many tokens are
    generated as the trees took; of each problem's right chains the longest is taken, as of a tree's.
    """
    from ..evaluation.outputs import answer_all

    engine = load_engine(settings.engines.model)
    right: dict[str, dict[str, int]] = {}
    generated = 0
    for number in count():
        if generated >= num_tokens:
            break
        options = {"temperature": settings.search.temperature, "top_p": settings.search.top_p, "seed": number}
        outputs = answer_all(problems, engine, max_new_tokens=512, **options)
        for problem, output in zip(problems, outputs, strict=True):
            generated += output.tokens
            if output.reward == 1:
                right.setdefault(problem.problem_id, {})[output.text] = output.tokens
    engine.close()
    prompts = {problem.problem_id: problem.prompt for problem in problems}
    best = {problem_id: max(chains, key=chains.get) for problem_id, chains in right.items()}
    return [
        {
            "prompt": [{"role": "user", "content": prompts[problem_id]}],
            "completion": [{"role": "assistant", "content": text}],
            "tree_id": problem_id,
            "length": right[problem_id][text],
            "rank": 0,
        }
        for problem_id, text in best.items()
    ]


def pairs(trees: Iterable[Tree], selector: Selector, choice: str, seed: int) -> list[dict]:
    """
    One pair of every tree: a right chain, chosen by its length among the tree's, or at random, and the wrong chain
    that shares least with it.
    """
    rows = (row for tree in trees for row in selector.select_preferences(tree))
    chosen = []
    for tree_id, group in groupby(rows, key=lambda row: row["tree_id"]):
        by_length = list(group)  # shortest first
        places = {"shortest": 0, "medium": (len(by_length) - 1) // 2, "longest": -1}
        rng = random.Random(f"{seed}/{tree_id}")
        chosen.append(rng.choice(by_length) if choice == "random" else by_length[places[choice]])
    return chosen


def training_rows(run: Path, stage: Stage, seed: int, settings: BuildSettings) -> Path:
    """The dataset that a stage is trained on, selected from the trees of the run."""
    from transformers import AutoTokenizer

    kind = "sft" if stage.trainer == "sft" else "preference"
    directory = run / "rows" / f"{kind}-{stage.rows}"
    if directory.is_dir():
        return directory
    trees = list(load_trees(run / "trees"))
    tokenizer = AutoTokenizer.from_pretrained(model_path(settings.engines.model))

    if kind == "preference":
        of_selection = stage.rows in PREFERENCE_CHOICES  # else of all right chains one a tree is chosen, by its length
        config = SelectionConfig(preference=stage.rows if of_selection else "one_per_right_chain")
        selector = Selector.of_tokenizer(tokenizer, config)
        if of_selection:
            rows = [row for tree in trees for row in selector.select_preferences(tree)]
        else:
            rows = pairs(trees, selector, stage.rows, seed)
    elif stage.rows == "best_of_n":
        num_tokens = sum(tree.statistics["generated_tokens"] for tree in trees)
        rows = sample_best_of_n([tree.problem for tree in trees], num_tokens, settings)
    else:
        selector = Selector.of_tokenizer(tokenizer, SelectionConfig(sft=stage.rows))
        rows = [row for tree in trees for row in selector.select_sft(tree)]
    directory.parent.mkdir(exist_ok=True)
    with DatasetWriter(directory) as writer:
        for row in rows:
            writer.write(kind, row)
    return directory


def train_stage(run: Path, name: str, seed: int, settings: BuildSettings) -> str:
    """Train a stage by its recipe, unless it is trained; the directory of its model."""
    stage = STAGES[name]
    if not stage.trainer:
        return model_path(settings.engines.model)
    before = train_stage(run, stage.after, seed, settings)
    dataset = run / "trees" if stage.rows == "trees" else training_rows(run, stage, seed, settings)
    return str(train(stage.trainer, before, dataset, run / "models" / name, seed=seed, **stage.options))


def run_seed(arguments: AblationArguments, seed: int) -> dict[str, list[dict]]:
    """The figures of all stages with one seed."""
    run = Path(arguments.output_dir) / f"seed-{seed}"
    settings = tree_settings(
        run / "trees", model=arguments.model, num_problems=arguments.num_problems, seed=1000 + seed
    )
    problems = {source: load_problems(source, limit=arguments.num_evaluated, seed=99) for source in SOURCES}
    figures = {}
    for name in arguments.stages:
        path = run / "figures" / f"{name}.json"
        if not path.is_file():
            if not (run / "trees" / "dataset").is_dir():
                asyncio.run(build(settings))
            model = train_stage(run, name, seed, settings)
            found = outcomes(
                model, problems, temperatures=TEMPERATURES, max_new_tokens=arguments.max_new_tokens, seed=seed
            )
            write_atomically(path, json.dumps(found))
            print(f"seed {seed}: {name} is done")
        figures[name] = json.loads(path.read_text())
    return figures


def rows_of_stages(names: list[str], by_seed: list[dict[str, list[dict]]]) -> list[dict]:
    """Rows of figures of stages, over all seeds."""
    return [row for name in names for row in rows_of(STAGES[name].label, [seed[name] for seed in by_seed])]


def ablation(arguments: AblationArguments) -> str:
    """Run what is missing; the tables."""
    if unknown := [name for name in arguments.stages if name not in STAGES]:
        raise InvalidInputError(f"stages={unknown[0]!r} is unknown: use some of {', '.join(STAGES)}")
    check_counts(arguments, ("seeds", "num_problems", "num_evaluated", "max_new_tokens"))
    directory = Path(arguments.output_dir)
    fixed = {name: value for name, value in asdict(arguments).items() if name not in ("seeds", "stages", "output_dir")}
    claim_directory(directory, {"settings": fixed, "model": identity(arguments.model)})
    by_seed = [run_seed(arguments, seed) for seed in range(arguments.seeds)]
    text = ""
    for title, names in TABLES.items():
        if names := [name for name in names if name in by_seed[0]]:
            text += f"### {title}\n\n{ladder(rows_of_stages(names, by_seed))}\n"
    (directory / "table.md").write_text(text, encoding="utf-8")
    names = [name for name in PICTURED if name in by_seed[0]]
    picture(names, rows_of_stages(names, by_seed)).savefig(directory / "ablation.png", dpi=120)
    return text


def picture(names: list[str], rows: list[dict]) -> "Figure":
    """Greedy accuracy against no-answer rate, with an arrow from the stage that another starts from to that one."""
    labels = [STAGES[name].label for name in names]
    parents = {STAGES[name].label: STAGES[STAGES[name].after].label for name in names if STAGES[name].trainer}
    evaluated = Evaluated([row for row in rows if row["decoding"] == "greedy"], parents=parents)
    return steps_figure(evaluated, {label: f"{number} {label}" for number, label in enumerate(labels, start=1)})


def main(args: list[str] | None = None) -> None:
    """Run, print the tables, say where they are."""
    arguments = parse("ablation", AblationArguments, __doc__, args)
    print(run_command(lambda: ablation(arguments), resume="Run the same command again to go on."))
    print(f"The tables and the plot are in {arguments.output_dir}")
