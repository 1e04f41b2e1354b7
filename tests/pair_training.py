"""What the tests of trainers on pairs have in common: tiny models, batches, losses worked out by hand."""

import torch
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from hf_treecot.trainers import (
    CDPOConfig,
    CDPOTrainer,
    JointSFTDPOConfig,
    JointSFTDPOTrainer,
    REDIConfig,
    REDITrainer,
)

from .tiny_models import tiny_tokenizer, token_pairs


def settings(output_dir, **changes):
    defaults = {
        "output_dir": str(output_dir), "per_device_train_batch_size": 4, "learning_rate": 1e-2, "lr_scheduler_type":
        "constant", "report_to": "none", "bf16": False, "use_cpu": True, "disable_tqdm": True, "logging_steps": 1,
        "max_steps": 3, "save_strategy": "no", "max_length": None, "optim": "sgd", "max_grad_norm": 0.0,
        "gradient_checkpointing": False,
    }  # fmt: skip
    return {**defaults, **changes}


def make(trainer_class, path, tmp_path, data=None, model=None, **changes):
    peft_config = changes.pop("peft_config", None)
    config_class = {
        DPOTrainer: DPOConfig, CDPOTrainer: CDPOConfig, JointSFTDPOTrainer: JointSFTDPOConfig, REDITrainer: REDIConfig,
    }[trainer_class]  # fmt: skip
    model = model or AutoModelForCausalLM.from_pretrained(path, dtype=changes.pop("dtype", torch.float32))
    # Not the policy itself: at the start all log-ratios would be 0, and much of the loss untested.
    with_reference = not peft_config and trainer_class is not REDITrainer
    attention, reference = changes.pop("reference_attention", None), None
    if with_reference:
        reference = AutoModelForCausalLM.from_pretrained(path, dtype=model.dtype, attn_implementation=attention)
    if reference is not None:
        torch.manual_seed(1)
        for parameter in reference.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    data = token_pairs() if data is None else data
    return trainer_class(
        model=model, ref_model=reference, args=config_class(**settings(tmp_path, **changes)), train_dataset=data,
        processing_class=tiny_tokenizer(), peft_config=peft_config,
    )  # fmt: skip


def loss_and_gradients(trainer, pairs=None):
    """Of one batch of all pairs, at the weights that the trainer has."""
    pairs = trainer.train_dataset if pairs is None else pairs
    batch = trainer.data_collator([pairs[i] for i in range(len(pairs))])
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return loss.detach(), gradients, metrics


def log_probs(model, prompt, completion):
    """Of every token of a completion, by a forward of its own."""
    ids = torch.tensor([prompt + completion])
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).squeeze(1)


def pair(prompt, chosen, rejected):
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


BATCHES = {
    "random tries": [dict(row) for row in token_pairs(4, 5, seed=3)],
    "a single pair": [pair([20, 21], [22, 23, 24], [22, 25])],
    "nothing shared": [pair([20, 21], [22, 23], [24, 25, 26]), pair([20, 21], [27], [28])],
    "rejected goes on where chosen ends": [pair([20, 21], [22, 23], [22, 23, 24, 25])],
    "chosen goes on where rejected ends": [pair([20, 21], [22, 23, 24, 25], [22, 23])],
    "unrelated pairs": [pair([20 + i, 21], [22, 23 + i], [22, 30, 31]) for i in range(3)],
    "the same chain in many pairs": [pair([20], [21, 22, 23], [21, 24 + i]) for i in range(4)],
}


ENDS = "rejected goes on where chosen ends"
