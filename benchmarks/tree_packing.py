"""Seconds per optimizer step of TRL's DPOTrainer, of CDPOTrainer with padded rows, and with packed trees, in one run.

    python benchmarks/tree_packing.py --run runs/demo                    # the starter model
    python benchmarks/tree_packing.py --run runs/demo --hidden_size 384 --num_layers 6
    python benchmarks/tree_packing.py --tokens 16000 --hidden_size 384   # made-up trees, chains of 300 to 1500
    python benchmarks/tree_packing.py --tokens 8000 --size 0.5B --device cuda --row_batch_size 8

The pairs come from the trees of a real build, or from random ones of a given size. The limit is what sharing can give
at most: all tokens of the rows of a batch, over those of its tries. `dense` attends under one mask of all pairs of
tokens, `blocks` in blocks, `flex` with flex attention. On a GPU the weights are float32 and computed with in bfloat16,
and activations are recomputed, as in the recipes. Elsewhere every variant has a process of its own, which tells its
peak memory. Only ratios within one run mean anything.
"""

import argparse
import contextlib
import gc
import io
import multiprocessing
import queue
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from unittest import mock


CHOICES = ("one_per_tree", "one_per_right_chain", "all")
VARIANTS = ("TRL DPOTrainer", "padded", "dense", "blocks")
PROMPT, THOUGHT, CHAIN = 100, 40, (300, 1500)  # tokens of made-up trees
VOCABULARY = 8192
SIZES = {  # shapes of Qwen2.5: hidden_size, intermediate_size, layers, heads, heads of keys and values
    "0.5B": (896, 4864, 24, 14, 2),
    "1.5B": (1536, 8960, 28, 12, 2),
}
VOCABULARY_OF_SIZES = 151_936


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="runs/demo", help="a run's directory")
    parser.add_argument("--tokens", type=int, help="instead of a run: unique tokens of every tree that is made up")
    parser.add_argument("--batch_size", type=int, default=32, help="pairs of an optimizer step")
    parser.add_argument("--row_batch_size", type=int, help="the same, of variants without packing, which forward rows")
    parser.add_argument("--choices", nargs="+", default=CHOICES, choices=CHOICES, help="how pairs are chosen")
    parser.add_argument(
        "--variants", nargs="+", default=VARIANTS, choices=(*VARIANTS, "flex"), help="what is measured"
    )
    parser.add_argument("--precompute", action="store_true", help="with the reference's log-probabilities known")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps that are timed")
    parser.add_argument(
        "--hidden_size", type=int, help="a Qwen2-style model of this width; default: the starter model"
    )
    parser.add_argument("--num_layers", type=int, default=6, help="its layers")
    parser.add_argument("--size", choices=SIZES, help="instead: the shape of a Qwen2.5 of this size, random weights")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--at_once", action="store_true", help="all variants side by side: for machines of many cores")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    return parser.parse_args()


def make_model(hidden_size: int | None, num_layers: int, size: str | None = None, device: str = "cpu"):
    """The starter model, or a larger one with random weights, the same ones every time; made where it is trained."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from hf_treecot.starter.training import starter_model

    if size is None and hidden_size is None:
        return AutoModelForCausalLM.from_pretrained(starter_model())
    heads = (hidden_size or 0) // 64
    shape = SIZES[size] if size else (hidden_size, 3 * hidden_size, num_layers, heads, heads)
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    )  # fmt: skip
    tokenizer = starter_tokenizer()
    config = Qwen2Config(
        **dict(zip(names, shape, strict=True)), vocab_size=VOCABULARY_OF_SIZES if size else VOCABULARY,
        max_position_embeddings=4096, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config)


def starter_tokenizer():
    """The tokenizer of the starter model, which every model here is given."""
    from transformers import AutoTokenizer

    from hf_treecot.starter.training import starter_model

    return AutoTokenizer.from_pretrained(starter_model())


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

    pairs = {
        "one_per_tree": [(right[0], wrong[0])],
        "one_per_right_chain": [(one, min(wrong, key=partial(shared_length, one))) for one in right],
        "all": [(one, other) for one in right for other in wrong],
    }[choice]
    return [{"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in pairs]


def unique_tokens(rows: list[list[int]]) -> int:
    """Tokens of the trie of rows."""
    rows = sorted(rows)
    return sum(map(len, rows)) - sum(shared_length(one, other) for one, other in pairwise(rows))


def shared_length(first: list[int], second: list[int]) -> int:
    """The tokens with which both begin."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def measure(variant: str, rows: list, arguments, results) -> None:
    """Train some steps; put seconds, tokens and memory into `results`."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from hf_treecot.hub.dataset import as_dataset
    from hf_treecot.trainers import CDPOConfig, CDPOTrainer, tree_attention, tree_scores

    torch.set_num_threads(arguments.threads)
    on_gpu = arguments.device == "cuda"
    trainer_class, config_class, extra = {
        "TRL DPOTrainer": (DPOTrainer, DPOConfig, {}),
        "padded": (CDPOTrainer, CDPOConfig, {"tree_packing": "off"}),
    }.get(variant, (CDPOTrainer, CDPOConfig, {"tree_packing": "on"}))
    is_packed = extra.get("tree_packing") == "on"

    class Clock(TrainerCallback):
        """Times every step, without what counting takes."""

        def on_step_begin(self, args, state, control, **kwargs):
            self.started, self.counting = time.perf_counter(), 0.0

        def on_step_end(self, args, state, control, **kwargs):
            if on_gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.started - self.counting)

    seconds: list[float] = []
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
                lengths = inputs["attention_mask"].sum(1).tolist()
                ids = [row[:n] for row, n in zip(inputs["input_ids"].tolist(), lengths, strict=True)]
                counts["row"] += sum(lengths)
                counts["unique"] += unique_tokens(ids)
                clock.counting += time.perf_counter() - began
            return super().compute_loss(model, inputs, *args, **kwargs)

    clock = Clock()
    shape = (arguments.hidden_size, arguments.num_layers, arguments.size)
    model, reference = make_model(*shape, arguments.device), make_model(*shape, arguments.device)
    if variant == "flex":
        for each in (model, reference):
            each.set_attn_implementation("flex_attention")  # which the trainer reads as: of trees
    trainer = Counting(
        model,
        None if arguments.precompute else reference,
        args=config_class(
            output_dir=tempfile.mkdtemp(), bf16=on_gpu, use_cpu=not on_gpu, learning_rate=1e-5,
            per_device_train_batch_size=arguments.batch_size if is_packed else arguments.row_batch_size,
            precompute_ref_log_probs=arguments.precompute, remove_unused_columns=False,
            max_steps=arguments.steps + 1, report_to="none", disable_tqdm=True, save_strategy="no", max_length=None,
            gradient_checkpointing=on_gpu, logging_steps=arguments.steps + 1, **extra,
        ),
        train_dataset=Dataset.from_list(rows) if "prompt_ids" in rows[0] else as_dataset("preference", rows),
        processing_class=starter_tokenizer(),
        callbacks=[clock],
    )  # fmt: skip
    block = 10**9 if variant == "dense" else tree_attention.BLOCK
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(tree_scores, "TreePlan", partial(tree_attention.TreePlan, block=block)),
    ):
        trainer.train()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded) / 1024
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
    loss = next(log["loss"] for log in trainer.state.log_history if "loss" in log)
    results.put({"seconds": seconds[1:], "first": seconds[0], "peak": peak, "loss": loss, **counts})


def measure_apart(variant: str, rows: list, arguments) -> Callable[[], dict]:
    """[`measure`], begun in a process of its own; what is returned waits for its results."""
    if arguments.device == "cuda":  # whose memory is counted by torch: a process of its own would load all again
        import torch

        results = queue.Queue()
        measure(variant, rows, arguments, results)
        gc.collect()
        torch.cuda.empty_cache()
        return results.get
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measure, args=(variant, rows, arguments, results))
    process.start()

    def wait() -> dict:
        process.join()
        if process.exitcode:
            raise SystemExit(f"{variant} failed: see above")
        return results.get()

    return wait


def main() -> None:
    """Measure all variants on all choices of pairs."""
    from hf_treecot.hub.dataset import load_trees
    from hf_treecot.selection.selector import SelectionConfig, Selector

    arguments = parse_arguments()
    arguments.row_batch_size = arguments.row_batch_size or arguments.batch_size
    tokenizer = starter_tokenizer()
    trees = [] if arguments.tokens else list(load_trees(arguments.run))
    shape = (arguments.hidden_size, arguments.num_layers, arguments.size)
    parameters = make_model(*shape, arguments.device).num_parameters()
    print(f"{parameters:,} parameters, {arguments.threads} thread(s), {arguments.batch_size} pairs a step\n")
    columns = (
        "pairs", "variant", "s/step", "slowest", "unique tokens/s", "limit", "against TRL", "of the limit",
        "peak memory", "loss",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for choice in arguments.choices:
        config = SelectionConfig(preference=choice, max_pairs_per_tree=64)
        selector = Selector(lambda text: tokenizer(text)["input_ids"], config)
        rows = [row for tree in trees for row in selector.select_preferences(tree)]
        if arguments.tokens:
            made = range((arguments.steps + 2) * (arguments.batch_size if choice == "one_per_tree" else 1))
            rows = [row for seed in made for row in made_up_rows(arguments.tokens, choice, seed)]
        baseline = None
        begun = [measure_apart(variant, rows, arguments) for variant in arguments.variants if arguments.at_once]
        for number, variant in enumerate(arguments.variants):
            result = (begun[number] if begun else measure_apart(variant, rows, arguments))()
            # Steps of the variants hold different pairs: seconds are compared per token of their rows.
            total = sum(result["seconds"])
            baseline = baseline or total / result["row"]
            gain = baseline / (total / result["row"])
            limit = result["row"] / result["unique"]
            share = f"{gain / limit:.0%}" if variant not in ("TRL DPOTrainer", "padded") else ""
            print(
                f"| {choice} ({len(rows)}) | {variant} | {statistics.median(result['seconds']):.3f} | "
                f"{max(result['first'], *result['seconds']):.1f} | {result['unique'] / total:,.0f} | {limit:.1f} | "
                f"{gain:.1f}x | {share} | {result['peak']:.0f} MiB | {result['loss']:.5f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
