"""Masked thoughts: SFT in which a model does not see every token of the steps that it goes on from.

Masking is done in the training step, not in a collator. Batches are collated for evaluation, too, and in training one
ahead of the step: masks drawn there would differ between a resumed run and an uninterrupted one.
"""

from dataclasses import dataclass, field

import torch

from ..errors import InvalidInputError
from .model_card import MASKED_THOUGHT_PAPER
from .packing_config import check_config
from .tree_sft import TreeSFTConfig, TreeSFTTrainer
from .trl_compat import describe, tokenizer_of


@dataclass
class MaskedThoughtConfig(TreeSFTConfig):
    r"""
    Everything that [`TreeSFTConfig`] takes, and how much of a thought is masked.

    Args:
        mask_thoughts (`float`, *optional*, defaults to `0.0`):
            The probability with which a token of the completion is masked in the input, 0 (ordinary SFT) or more and
            below 1. It is the same throughout; the source raises it over the first two thirds of training, to 0.4 on
            GSM8K.

    Raises:
        InvalidInputError: `mask_thoughts` is out of its range.
    """

    mask_thoughts: float = field(
        default=0.0,
        metadata={"help": "Probability of masking a token of a completion in the input, 0 <= p < 1. 0 is off."},
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.mask_thoughts < 1:
            raise InvalidInputError(
                f"mask_thoughts={self.mask_thoughts} is out of range: it must be at least 0 and below 1"
            )


def mask_tokens(
    input_ids: torch.Tensor, labels: torch.Tensor, probability: float, mask_token_id: int, kept: torch.Tensor
) -> torch.Tensor:
    """
    Replace random tokens that are learnt by a mask token (Chen et al., 2024, arXiv:2403.02178).

    Args:
        input_ids (`torch.Tensor` of shape `(rows, length)`): Tokens; not changed.
        labels (`torch.Tensor` of the same shape): −100 where nothing is learnt: in questions and padding.
        probability (`float`): Of a token being replaced, each by itself.
        mask_token_id (`int`): What replaces it.
        kept (`torch.Tensor` of shape `(tokens,)`): Token ids that are never replaced.

    Returns:
        `torch.Tensor` of the same shape.
    """
    drawn = torch.rand(input_ids.shape, device=input_ids.device) < probability
    return input_ids.masked_fill(drawn & (labels != -100) & ~torch.isin(input_ids, kept), mask_token_id)


class MaskedThoughtTrainer(TreeSFTTrainer):
    """
    SFT with masked thoughts (Chen et al., 2024): a chain is learnt whole, but some tokens of its steps are hidden from
    the model, which so learns to rely on the question and on earlier steps rather than on the last words.

    Takes what [`~trl.SFTTrainer`] takes, its packing included, with a [`MaskedThoughtConfig`]. Without masks it is
    [`TreeSFTTrainer`]; with them rows share nothing, since each has masks of its own. Labels, positions and
    attention are as in SFT; the question, and all of an evaluation, is never masked. Nor are special tokens (the end
    of a turn) and those that were added to the vocabulary, as the tags of thoughts are if they are tokens of their
    own: tags in several ordinary tokens are masked like other text, and so is the answer. The mask is the tokenizer's
    mask token, else its padding token. Masks are drawn from torch's global generator, whose state checkpoints hold.

    Raises:
        InvalidInputError: Rows in which the question cannot be told from the completion, a tokenizer with no token
            that can serve as a mask, weights in which steps are lost, or another configuration.

    Example:

    ```python
    trainer = MaskedThoughtTrainer(
        "Qwen/Qwen2.5-1.5B-Instruct",
        args=MaskedThoughtConfig("my-model", mask_thoughts=0.2),
        train_dataset=load_dataset("user/name", "sft", split="train"),
    )
    trainer.train()
    ```
    """

    config_class = MaskedThoughtConfig

    def __init__(self, model, args: MaskedThoughtConfig, *others, **kwargs):
        check_config(self, args)
        if args.mask_thoughts:
            method = f"SFT with masked thoughts (probability {args.mask_thoughts:g})"
            describe(self, method, MASKED_THOUGHT_PAPER, ["trl", "sft", "masked-thought"])
        super().__init__(model, args, *others, **kwargs)
        if not args.mask_thoughts:
            return
        if not self.completion_only_loss and not args.assistant_only_loss:
            raise InvalidInputError(
                f"mask_thoughts={args.mask_thoughts} would mask questions, too: give rows with a prompt and a "
                "completion, and leave completion_only_loss on"
            )
        tokenizer = tokenizer_of(self)
        own_padding = None if tokenizer.pad_token_id == tokenizer.eos_token_id else tokenizer.pad_token_id
        self._mask_token_id = own_padding if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        if self._mask_token_id is None:
            raise InvalidInputError(
                f"mask_thoughts={args.mask_thoughts} needs a mask, and the tokenizer has neither a mask token nor a "
                f"padding token that is not {tokenizer.eos_token!r}, the end of a turn: give it one, or set eos_token"
            )
        self._kept = torch.tensor(sorted({*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}))

    def packing_obstacle(self) -> str | None:
        """Why chains cannot be forwarded as trees, or None if they can."""
        return "every row has masks of its own" if self.args.mask_thoughts else super().packing_obstacle()

    def training_step(self, model, inputs, *args, **kwargs):
        """A step of SFT on masked inputs."""
        if self.args.mask_thoughts:
            ids = inputs["input_ids"]
            masked = mask_tokens(
                ids, inputs["labels"], self.args.mask_thoughts, self._mask_token_id, self._kept.to(ids.device)
            )
            inputs = {**inputs, "input_ids": masked}
        return super().training_step(model, inputs, *args, **kwargs)
