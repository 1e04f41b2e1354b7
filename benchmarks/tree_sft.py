"""Seconds per optimizer step of SFT on several chains of a tree: TRL's SFTTrainer, and TreeSFTTrainer.

    python benchmarks/tree_sft.py --hidden_size 384

Trees are those that `tree_packing.py` makes up: chains of 300 to 1,500 tokens. The limit is what sharing can give:
all tokens of the rows over those of their tries. Only ratios within one run mean anything.
"""

import argparse
import multiprocessing
import tempfile
import time

from tree_packing import made_up_tree, make_model, starter_tokenizer, unique_tokens


TOKENS = 12_000  # of a tree: enough for 8 chains


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, nargs="+", default=[1, 4, 8], help="chains of every tree")
    parser.add_argument("--batch_size", type=int, default=8, help="chains of an optimizer step")
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps that are timed, after one that is not")
    parser.add_argument("--hidden_size", type=int, default=64, help="width of a Qwen2-style model")
    parser.add_argument("--num_layers", type=int, default=6, help="its layers")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    return parser.parse_args()


def measure(is_packed: bool, rows: list, arguments, results) -> None:
    """Train some steps; put seconds, tokens of rows and unique tokens into `results`."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback

    from hf_treecot.trainers import TreeSFTConfig, TreeSFTTrainer

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    counts = {"row": 0, "unique": 0}

    class Clock(TrainerCallback):
        """Times the steps after the first."""

        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 1:
                self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            self.seconds = time.perf_counter() - getattr(self, "started", 0.0)

    class Counting(TreeSFTTrainer):
        """Counts the tokens of the batches that are timed."""

        def compute_loss(self, model, inputs, *args, **kwargs):
            if self.state.global_step:
                counts["row"] += int(inputs["attention_mask"].sum())
                lengths = inputs["attention_mask"].sum(1).tolist()
                ids = [row[:n] for row, n in zip(inputs["input_ids"].tolist(), lengths, strict=True)]
                counts["unique"] += unique_tokens(ids)
            return super().compute_loss(model, inputs, *args, **kwargs)

    clock = Clock()
    trainer = Counting(
        make_model(arguments.hidden_size, arguments.num_layers),
        args=TreeSFTConfig(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=arguments.batch_size, bf16=False, use_cpu=True,
            max_steps=arguments.steps + 1, report_to="none", disable_tqdm=True, save_strategy="no", max_length=None,
            gradient_checkpointing=False, logging_strategy="no", tree_packing="on" if is_packed else "off",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=starter_tokenizer(),
        callbacks=[clock],
    )  # fmt: skip
    trainer.train()
    results.put({"seconds": clock.seconds / arguments.steps, **counts})


def main() -> None:
    """Measure both for every number of chains."""
    arguments = parse_arguments()
    context = multiprocessing.get_context("spawn")
    print("| chains of a tree | trainer | s/step | tokens of rows | limit | against TRL | of the limit |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for count in arguments.chains:
        rows = []
        for seed in range((arguments.steps + 2) * arguments.batch_size // count):
            prompt, chains = made_up_tree(TOKENS, seed)
            rows += [{"input_ids": prompt + chain, "labels": [-100] * len(prompt) + chain} for chain in chains[:count]]
        baseline = None
        for is_packed in (False, True):
            results = context.Queue()
            process = context.Process(target=measure, args=(is_packed, rows, arguments, results))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit("a measurement failed: see above")
            result = results.get()
            per_token = result["seconds"] / result["row"]  # steps hold different chains
            baseline = baseline or per_token
            limit, gain = result["row"] / result["unique"], baseline / per_token
            name, share = ("TreeSFTTrainer", f"{gain / limit:.0%}") if is_packed else ("TRL's SFTTrainer", "")
            print(
                f"| {count} | {name} | {result['seconds']:.2f} | {result['row']} | {limit:.1f} | {gain:.1f}x | "
                f"{share} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
