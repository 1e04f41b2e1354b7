"""SFT on several right chains of a tree, at the cost of their unique tokens."""

from dataclasses import dataclass

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

from ..errors import InvalidInputError
from .packing_config import (
    TreePackingConfig,
    arguments_obstacle,
    check_config,
    default_config,
    has_no_wish_for_attention,
    keep_batches_whole,
)
from .precision import check_trainable_weights
from .tree_batches import ChainCollator, split_chain
from .tree_packing import packing_obstacle
from .tree_scores import score_tree, see_trees
from .trl_compat import SFTTrainerHooks, as_fused_output, name_arguments, tree_loader


logger = logging.get_logger(__name__)


@dataclass
class TreeSFTConfig(TreePackingConfig, SFTConfig):
    r"""
    Everything that [`~trl.SFTConfig`] takes, and how the chains of a tree share a batch.

    Args:
        tree_packing (`str`, *optional*, defaults to `"auto"`):
            Forward every token that the rows of a batch share once: `"auto"` where the model and the other options
            allow it, `"on"` or refuse, `"off"`. It is another thing than TRL's `packing`, which lays rows end to end.
        max_tokens_per_batch (`int`, *optional*, defaults to `32768`):
            With tree packing, the unique tokens of a training batch: it then holds at most this many, and at most
            `per_device_train_batch_size` chains. A single chain above it makes a batch of its own. `None` is no limit.

    Raises:
        InvalidInputError: A value is out of its range.
    """


class TreeSFTTrainer(SFTTrainerHooks):
    """
    SFT in which every token that chains of a tree share is forwarded once, with the loss and the gradients of rows.

    Takes what [`~trl.SFTTrainer`] takes, with a [`TreeSFTConfig`]. A token counts as often as there are chains that
    it is in, so that the loss is the one of the same batches row by row; TRL's losses, `nll` and `dft`, and its
    figures are its own. Batches gather the chains of one tree. Worth it for datasets with several chains a tree
    (`max_sft_per_tree`); with one, padding is saved.

    Args:
        model (`str` or `~transformers.PreTrainedModel`): As in TRL.
        args ([`TreeSFTConfig`], *optional*): Configuration. Default: into a directory named after the model.
        **kwargs: As in TRL.

    Raises:
        InvalidInputError: Another configuration, weights in which steps are lost, or `tree_packing="on"` where it is
            not possible.

    Example:

    ```python
    trainer = TreeSFTTrainer(
        "Qwen/Qwen2.5-1.5B-Instruct",
        args=TreeSFTConfig("my-model"),
        train_dataset=load_dataset("user/name", "sft", split="train"),
    )
    trainer.train()
    ```
    """

    config_class = TreeSFTConfig

    def __init__(self, model, args: TreeSFTConfig | None = None, *others, **kwargs):
        kwargs = name_arguments(SFTTrainer, 2, others, kwargs)
        args = default_config(self, model) if args is None else args
        check_config(self, args)
        own_collator = kwargs.get("data_collator") is not None
        keep_batches_whole(args)
        may_choose_attention = has_no_wish_for_attention(model, args)
        super().__init__(model, args, **kwargs)
        check_trainable_weights(self)
        obstacle = "there is a data_collator of your own" if own_collator else self.packing_obstacle()
        self.is_packing = args.tree_packing != "off" and obstacle is None
        if self.is_packing:
            see_trees([self.model], may_choose_flex=may_choose_attention and args.device.type == "cuda")
            self.data_collator = ChainCollator(self.data_collator)
        elif args.tree_packing == "on":
            raise InvalidInputError(f"tree_packing='on' is not possible: {obstacle}; use 'auto' or 'off'")
        elif args.tree_packing == "auto":
            logger.warning(f"Tree packing is off, and max_tokens_per_batch does not limit batches: {obstacle}.")

    def packing_obstacle(self) -> str | None:
        """Why chains cannot be forwarded as trees, or None if they can."""
        args = self.args
        if args.packing or args.padding_free:
            return "TRL's own packing is on"
        if self.label_smoother is not None or self.compute_loss_func is not None or self.compute_metrics is not None:
            return "label smoothing, compute_loss_func and compute_metrics need logits, which are not built"
        if obstacle := arguments_obstacle(args, self.aux_loss_enabled):
            return obstacle
        # SFT leaves dropout as the model has it.
        dropout = any(getattr(module, "p", 0) for module in self.model.modules() if "Dropout" in type(module).__name__)
        return packing_obstacle(self.model, disable_dropout=not dropout)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of chains, those of one tree together if batches are packed."""
        if not self.is_packing or not isinstance(self.train_dataset, Dataset):
            return super().get_train_dataloader()
        return tree_loader(self, ("input_ids", "labels"), self._rows_of)

    @staticmethod
    def _rows_of(example: dict[str, list[int]]) -> tuple[list[int], list[list[int]]]:
        prompt, completion = split_chain(example)
        return prompt, [completion]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss, of what a packed batch scores."""
        weights = inputs.pop("weights", None)
        if "tree_input_ids" not in inputs and weights is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        learnt = inputs["labels"][:, 1:] != -100

        def forward(**arguments):
            if "tree_input_ids" in inputs:
                scores = score_tree(model, self.accelerator.unwrap_model(model), inputs, learnt)
                outputs = as_fused_output(scores, learnt)
            else:
                outputs = model(**arguments)
            return outputs if weights is None else self.weigh(outputs, weights)

        return super().compute_loss(forward, inputs, return_outputs, num_items_in_batch)

    def weigh(self, outputs, weights: torch.Tensor):
        """
        What the loss is made of, if tokens have weights of their own.

        Args:
            outputs (`~transformers.utils.ModelOutput`): With `log_probs` of the tokens after the first.
            weights (`torch.Tensor` of shape `(rows, length)`): Of all tokens.
        """
        raise NotImplementedError
