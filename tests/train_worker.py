"""A training run in processes of its own, for tests: `torchrun -m tests.train_worker MODEL OUTPUT.json CHANGES`."""

import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM

from hf_treecot.trainers import JointSFTDPOConfig, JointSFTDPOTrainer

from .tiny_models import tiny_tokenizer, token_pairs


def main(path: str, output: str, changes: str) -> None:
    """Train, and write the losses."""
    arguments = JointSFTDPOConfig(
        output_dir=f"{output}.run", learning_rate=1e-2, lr_scheduler_type="constant", report_to="none", bf16=False,
        use_cpu=True, disable_tqdm=True, logging_steps=1, max_steps=4, save_strategy="no", max_length=None,
        optim="sgd",
        **json.loads(changes),
    )  # fmt: skip
    trainer = JointSFTDPOTrainer(
        AutoModelForCausalLM.from_pretrained(path), args=arguments, train_dataset=token_pairs(8, 4),
        processing_class=tiny_tokenizer(),
    )  # fmt: skip
    trainer.train()
    if trainer.is_world_process_zero():
        losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        Path(output).write_text(json.dumps({"losses": losses, "processes": trainer.accelerator.num_processes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
