"""Number formats in which training would silently do nothing."""

import torch
from accelerate.utils import is_peft_model
from transformers import Trainer

from ..errors import InvalidInputError


def check_trainable_weights(trainer: Trainer) -> None:
    """
    Refuse weights in which the steps of fine-tuning are lost.

    A bfloat16 weight has 8 bits: at a learning rate of 1e-6 nearly every step is rounded away. With mixed
    precision, FSDP and DeepSpeed keep float32 masters of their own; TRL itself puts quantized models' adapters, which
    have larger learning rates, into bfloat16.

    Args:
        trainer (`~transformers.Trainer`): With its model.

    Raises:
        InvalidInputError: Weights to be trained are in float16, or in bfloat16 without sharding.
    """
    if is_peft_model(trainer.model):
        return
    dtypes = {parameter.dtype for parameter in trainer.model.parameters() if parameter.requires_grad}
    is_sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    lost = {torch.float16} if is_sharded else {torch.float16, torch.bfloat16}
    if found := dtypes & lost:
        name = str(found.pop()).removeprefix("torch.")
        raise InvalidInputError(
            f"the weights to be trained are in {name}, where small steps are rounded away: load them with "
            "dtype=float32, and set bf16=true to compute in bfloat16"
        )
