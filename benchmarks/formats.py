"""The same trees, their chains written in every format: does a model learn to answer in it?

    python benchmarks/formats.py

The hasty model grows the demo's trees; of them rows are selected as tags, as think blocks and as plain prose, all
right chains of a tree and a pair for each, and the model is trained on each by SFT and by the joint objective, in the
recipes' configurations for the starter but for the epochs and the learning rate of SFT: the model knows the tags
already, and neither think blocks nor prose, which it has to learn from some hundred rows. Think blocks are learnt
under two more chat templates, which drop them from finished turns: one like Qwen 3's, one like that of DeepSeek's R1
distils. Run it again after an interruption: what exists is not made again.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_treecot.cli.build import build
from hf_treecot.cli.select import SelectArguments, select
from hf_treecot.cli.stages import outcomes, rows_of, train, tree_settings
from hf_treecot.files import write_atomically
from hf_treecot.problems.loading import load_problems
from hf_treecot.selection.selector import SelectionConfig
from hf_treecot.starter.built_in import model_path
from hf_treecot.testing.chat_templates import QWEN3, R1
from hf_treecot.think_blocks import CLOSING, OPENING


HELD_OUT_SEED = 20_261
LEARNING_RATE = 1e-3
KINDS = ("arithmetic", "letters", "blocks")
ARMS = (("tags", "own"), ("think", "own"), ("plain", "own"), ("think", "like Qwen 3"), ("think", "like R1"))
TEMPLATES = {"like Qwen 3": QWEN3, "like R1": R1}


@dataclass(frozen=True)
class Run:
    """Where one seed is, and how long it trains."""

    directory: Path
    seed: int
    epochs: int


def model_with(template: str, directory: Path) -> str:
    """The hasty model with a chat template, and the ends of think blocks as tokens, as reasoning models have them."""
    if not (directory / "tokenizer_config.json").is_file():
        model = AutoModelForCausalLM.from_pretrained(model_path("hasty"))
        tokenizer = AutoTokenizer.from_pretrained(model_path("hasty"))
        tokenizer.add_tokens([AddedToken(end, normalized=False) for end in (OPENING, CLOSING)])
        tokenizer.chat_template = TEMPLATES.get(template, tokenizer.chat_template)
        model.resize_token_embeddings(len(tokenizer))
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
    return str(directory)


def run_arm(run: Run, format: str, template: str, problems: dict) -> dict[str, list[dict]]:
    """Select and train; what the model answers after SFT, and after the joint objective."""
    name = f"{format}-{template.replace(' ', '_')}"
    rows, models = run.directory / f"rows-{format}", run.directory / "models" / name
    if not (rows / "report.json").is_file():
        arguments = SelectArguments(str(run.directory / "trees"), tokenizer="hasty", output_dir=str(rows))
        select(arguments, SelectionConfig(format=format, max_sft_per_tree=8, preference="one_per_right_chain"))
    found, before = {}, model_with(template, models / "base")
    for stage in ("sft", "joint"):
        path = run.directory / f"{name}-{stage}.json"
        options = {"num_train_epochs": run.epochs, "learning_rate": LEARNING_RATE} if stage == "sft" else {}
        before = str(train(stage, before, rows, models / stage, seed=run.seed, **options))
        if not path.is_file():
            answered = outcomes(before, problems, max_new_tokens=384, seed=run.seed)
            write_atomically(path, json.dumps(answered))
        found[stage] = json.loads(path.read_text())
    return found


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="How many seeds.")
    parser.add_argument("--epochs", type=int, default=4, help="Epochs of SFT.")
    parser.add_argument("--num_problems", type=int, default=100, help="Held-out problems of each kind.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/formats"), help="Where the runs go.")
    arguments = parser.parse_args()
    problems = {kind: load_problems(kind, limit=arguments.num_problems, seed=HELD_OUT_SEED) for kind in KINDS}
    by_arm: dict[tuple[str, str], list[dict]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        run = Run(arguments.output_dir / f"seed-{seed}", seed, arguments.epochs)
        if not (run.directory / "trees" / "report.json").is_file():
            asyncio.run(build(tree_settings(run.directory / "trees", model="hasty", seed=7 + seed)))
        for arm, found in by_arm.items():
            found.append(run_arm(run, *arm, problems))
            print(f"seed {seed}: {' / '.join(arm)} is done", file=sys.stderr, flush=True)

    print(f"| format | chat template | after | {' | '.join(f'{k}: right / no answer / tokens' for k in KINDS)} |")
    print("|" + " --- |" * 6)
    for arm, seeds in by_arm.items():
        for stage in ("sft", "joint"):
            rows = rows_of(stage, [seed[stage] for seed in seeds])
            cells = [f"{r['accuracy']:.0%} / {r['no_answer_rate']:.0%} / {r['tokens']:.0f}" for r in rows]
            print(f"| {' | '.join(arm)} | {stage} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
