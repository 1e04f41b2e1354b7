"""Seconds per optimizer step of TRL's DPOTrainer, of CDPOTrainer with padded rows, and with packed trees, in one run.

    python benchmarks/tree_packing.py --run runs/demo                    # the starter model
    python benchmarks/tree_packing.py --run runs/demo --hidden_size 384 --num_layers 6
    python benchmarks/tree_packing.py --tokens 16000 --hidden_size 384   # made-up trees, chains of 300 to 1500

The pairs come from the trees of a real build, or from random ones of a given size. The limit is what sharing can give
at most: all tokens of the rows of a batch, over those of its tries. `dense` attends under one mask of all pairs of
tokens, `blocks` as the trainer does. Every variant runs in a process of its own, which tells its peak memory. Only
ratios within one run mean anything.
"""

import argparse
import contextlib
import io
import multiprocessing
import random
import resource
import tempfile
import time
from functools import partial


CHOICES = ("one_per_tree", "one_per_right_chain", "all")
VARIANTS = ("TRL DPOTrainer", "padded", "dense", "blocks")
PROMPT, THOUGHT, CHAIN = 100, 40, (300, 1500)  # tokens of made-up trees
VOCABULARY = 8192


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo", help="a run's directory")
    parser.add_argument("--tokens", type=int, help="instead of a run: unique tokens of every tree that is made up")
    parser.add_argument("--batch_size", type=int, default=32, help="pairs of an optimizer step")
    parser.add_argument("--row_batch_size", type=int, help="the same, of variants without packing, which forward rows")
    parser.add_argument("--choices", nargs="+", default=CHOICES, choices=CHOICES, help="how pairs are chosen")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS, help="what is measured")
    parser.add_argument("--precompute", action="store_true", help="with the reference's log-probabilities known")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps that are timed")
    parser.add_argument(
        "--hidden_size", type=int, help="a Qwen2-style model of this width; default: the starter model"
    )
    parser.add_argument("--num_layers", type=int, default=6, help="its layers")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    return parser.parse_args()


def make_model(arguments, directory: str) -> str:
    """The starter model, or a wider one with random weights and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

    from hf_treecot.starter.training import starter_model

    starter = str(starter_model())
    if arguments.hidden_size is None:
        return starter
    tokenizer = AutoTokenizer.from_pretrained(starter)
    config = Qwen2Config(
        hidden_size=arguments.hidden_size, intermediate_size=3 * arguments.hidden_size,
        vocab_size=max(len(tokenizer), VOCABULARY), max_position_embeddings=4096,
        num_hidden_layers=arguments.num_layers, num_attention_heads=arguments.hidden_size // 64,
        num_key_value_heads=arguments.hidden_size // 64, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def made_up_tree(tokens: int, seed: int) -> tuple[list[int], list[list[int]]]:
    """A random prompt, and chains of so many unique tokens that leave one another between thoughts."""
    rng = random.Random(seed)

    def draw(count: int) -> list[int]:
        return [rng.randrange(300, VOCABULARY) for _ in range(count)]

    prompt, chains, size = draw(PROMPT), [], PROMPT
    while size < tokens or len(chains) < 2:
        stem = rng.choice(chains) if chains else []
        stem = stem[: THOUGHT * rng.randint(0, len(stem) // THOUGHT)]
        length = max(rng.randint(*CHAIN), len(stem) + THOUGHT) - len(stem)
        length = max(min(length, tokens - size), THOUGHT)
        chains.append(stem + draw(length))
        size += length
    return prompt, chains


def made_up_rows(tokens: int, choice: str, seed: int) -> list[dict]:
    """Tokenized pairs of one random tree, half of whose chains are right."""
    prompt, chains = made_up_tree(tokens, seed)
    right, wrong = chains[::2], chains[1::2]

    def shared(first: list[int], second: list[int]) -> int:
        return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)

    pairs = {
        "one_per_tree": [(right[0], wrong[0])],
        "one_per_right_chain": [(one, min(wrong, key=partial(shared, one))) for one in right],
        "all": [(one, other) for one in right for other in wrong],
    }[choice]
    return [{"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in pairs]


def measure(variant: str, model_path: str, rows: list, arguments, results) -> None:
    """Train some steps; put seconds, tokens and memory into `results`."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from hf_treecot.hub.dataset import as_dataset
    from hf_treecot.trainers import CDPOConfig, CDPOTrainer, tree_attention, tree_scores

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    trainer_class, config_class, extra = {
        "TRL DPOTrainer": (DPOTrainer, DPOConfig, {}),
        "padded": (CDPOTrainer, CDPOConfig, {"tree_packing": "off"}),
        "dense": (CDPOTrainer, CDPOConfig, {"tree_packing": "on"}),
        "blocks": (CDPOTrainer, CDPOConfig, {"tree_packing": "on"}),
    }[variant]
    if variant == "dense":
        tree_scores.TreePlan = partial(tree_attention.TreePlan, block=10**9)
    is_packed = variant in ("dense", "blocks")

    class Clock(TrainerCallback):
        """Times the steps after the first, without what counting takes."""

        counting = 0.0

        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 1:
                self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            self.seconds = time.perf_counter() - getattr(self, "started", 0.0)

    counts = {"forwarded": 0, "row": 0, "unique": 0}

    class Counting(trainer_class):
        """Counts the tokens of the batches that are timed."""

        def _prepare_dataset(self, dataset, *args, **kwargs):
            return (
                dataset if "prompt_ids" in dataset.column_names else super()._prepare_dataset(dataset, *args, **kwargs)
            )

        def compute_loss(self, model, inputs, *args, **kwargs):
            began = time.perf_counter()
            if self.state.global_step:
                counts["forwarded"] += inputs.get("tree_input_ids", inputs["input_ids"]).numel()
                counts["row"] += int(inputs["attention_mask"].sum())
                lengths = inputs["attention_mask"].sum(1).tolist()
                ids = [tuple(r[:n]) for r, n in zip(inputs["input_ids"].tolist(), lengths, strict=True)]
                counts["unique"] += len({row[: i + 1] for row in ids for i in range(len(row))})
                clock.counting += time.perf_counter() - began
            return super().compute_loss(model, inputs, *args, **kwargs)

    clock = Clock()
    trainer = Counting(
        AutoModelForCausalLM.from_pretrained(model_path),
        args=config_class(
            output_dir=tempfile.mkdtemp(), bf16=False, use_cpu=True,
            per_device_train_batch_size=arguments.batch_size if is_packed else arguments.row_batch_size,
            precompute_ref_log_probs=arguments.precompute, remove_unused_columns=False,
            max_steps=arguments.steps + 1, report_to="none", disable_tqdm=True, save_strategy="no", max_length=None,
            gradient_checkpointing=False, logging_strategy="no", **extra,
        ),
        train_dataset=Dataset.from_list(rows) if "prompt_ids" in rows[0] else as_dataset("preference", rows),
        processing_class=AutoTokenizer.from_pretrained(model_path),
        callbacks=[clock],
    )  # fmt: skip
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded
    results.put({"seconds": (clock.seconds - clock.counting) / arguments.steps, "peak": peak / 1024, **counts})


def main() -> None:
    """Measure all variants on all choices of pairs."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from hf_treecot.hub.dataset import load_trees
    from hf_treecot.selection.selector import SelectionConfig, Selector

    arguments = parse_arguments()
    arguments.row_batch_size = arguments.row_batch_size or arguments.batch_size
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        path = make_model(arguments, directory)
        tokenizer = AutoTokenizer.from_pretrained(path)
        trees = [] if arguments.tokens else list(load_trees(arguments.run))
        parameters = AutoModelForCausalLM.from_pretrained(path).num_parameters()
        print(f"{parameters:,} parameters, {arguments.threads} thread(s), {arguments.batch_size} pairs a step\n")
        print("| pairs | variant | s/step | tokens forwarded | limit | against TRL | of the limit | peak memory |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for choice in arguments.choices:
            config = SelectionConfig(preference=choice, max_pairs_per_tree=64)
            selector = Selector(lambda text: tokenizer(text)["input_ids"], config)
            rows = [row for tree in trees for row in selector.select_preferences(tree)]
            if arguments.tokens:
                made = range((arguments.steps + 2) * (arguments.batch_size if choice == "one_per_tree" else 1))
                rows = [row for seed in made for row in made_up_rows(arguments.tokens, choice, seed)]
            baseline = None
            for variant in arguments.variants:
                results = context.Queue()
                process = context.Process(target=measure, args=(variant, path, rows, arguments, results))
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"{variant} failed: see above")
                result = results.get()
                baseline = baseline or result["seconds"] / result["row"]
                # Steps of the variants hold different pairs: seconds are compared per token of their rows.
                gain = baseline / (result["seconds"] / result["row"])
                limit = result["row"] / result["unique"]
                share = f"{gain / limit:.0%}" if variant in ("dense", "blocks") else ""
                print(
                    f"| {choice} ({len(rows)}) | {variant} | {result['seconds']:.3f} | {result['forwarded']} | "
                    f"{limit:.1f} | {gain:.1f}x | {share} | {result['peak']:.0f} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
