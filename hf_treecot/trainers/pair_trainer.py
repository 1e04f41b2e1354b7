"""The base of all trainers on pairs: batches of trees, tokens forwarded once, masks, figures; without a loss."""

from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers.utils import logging
from trl import DPOTrainer

from ..errors import InvalidInputError
from .model_card import add_training_sections
from .packing_config import (
    arguments_obstacle,
    check_config,
    default_config,
    has_no_wish_for_attention,
    keep_batches_whole,
)
from .pair_config import PairConfig
from .precision import check_trainable_weights
from .preference_data import check_rows, check_tokens
from .tree_batches import TreeCollator, first_pairs
from .tree_packing import packing_obstacle
from .tree_scores import FIELDS, TokenScores, score_tree, see_trees
from .trl_compat import DPOTrainerHooks, attention_of, name_arguments, tree_loader


logger = logging.get_logger(__name__)


class PairTrainer(DPOTrainerHooks):
    """
    What all trainers on pairs of chains have in common. Takes what [`~trl.DPOTrainer`] takes.

    Where the model allows it, batches gather the pairs of one tree, and every token that they share is forwarded once,
    for policy and reference alike: the same losses and gradients for a fraction of the work.

    A subclass says what the loss is ([`pair_losses`]) and how its card puts it ([`loss_formula`]).

    Args:
        model (`str`, `~transformers.PreTrainedModel` or `~peft.PeftModel`): As in TRL.
        ref_model (`~transformers.PreTrainedModel`, *optional*): As in TRL.
        args ([`PairConfig`], *optional*): Configuration, of the subclass's own class.
        **kwargs: As in TRL: `train_dataset`, `eval_dataset`, `processing_class`, `callbacks`, `peft_config`, …

    Raises:
        InvalidInputError: Rows that cannot be learnt from, too many rows that `max_length` cuts (of a stream, neither
            is known), rows that are longer than the model's context, images, weights in which steps are lost, or
            `tree_packing="on"` with a model that does not allow it.
    """

    config_class = PairConfig
    mask_sft_prefix = False
    loss_is_scaled_for_ga = True  # by the pairs of a whole optimizer step, in `compute_loss`

    def pair_losses(
        self,
        inputs: dict[str, torch.Tensor],
        chosen: torch.Tensor,
        rejected: torch.Tensor,
        preference: torch.Tensor,
        chosen_nll: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        The loss of every pair, and its two sides by the names under which they are logged (`group/chosen`,
        `group/rejected`).

        Args:
            inputs (`dict[str, torch.Tensor]`): The batch.
            chosen, rejected (`torch.Tensor` of shape `(pairs,)`): Sums of log-probabilities over the preference
                term's tokens.
            preference (`torch.Tensor` of shape `(2 * pairs, length - 1)`): Which tokens those are.
            chosen_nll (`torch.Tensor` of shape `(pairs,)`): Mean NLL of the tokens of chosen.
        """
        raise NotImplementedError

    def loss_formula(self) -> str:
        """The loss in words and TeX, for the model card."""
        raise NotImplementedError

    def __init__(self, model, ref_model=None, args: PairConfig | None = None, *others, **kwargs):
        kwargs = name_arguments(DPOTrainer, 3, others, kwargs)
        args = default_config(self, model) if args is None else args
        check_config(self, args)
        if kwargs.get("compute_metrics") is not None:
            raise InvalidInputError("compute_metrics is not supported: no logits are built; use a callback")
        if isinstance(kwargs.get("train_dataset"), Dataset) and not len(kwargs["train_dataset"]):
            raise InvalidInputError("the train dataset is empty: select more pairs, or give another split")
        keep_batches_whole(args)
        self._own_collator = kwargs.get("data_collator") is not None
        self._may_choose_attention = has_no_wish_for_attention(model, args)
        self.is_packing: bool | None = None  # not decided yet
        self._longest_row = 0  # tokens
        self._evaluated: list[torch.Tensor] = []  # of a batch the sum of losses, and its pairs
        super().__init__(model, ref_model, args, **kwargs)
        self.refuse_images()
        check_trainable_weights(self)
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context and self._longest_row > context:
            raise InvalidInputError(
                f"max_length={self.args.max_length}: the longest row has {self._longest_row} tokens, and the model "
                f"was made for {context}: set max_length to at most {context}, or select shorter chains"
            )
        self.decide_packing()
        self.args.per_device_eval_batch_size = self.pairs_within_limits(self.args.per_device_eval_batch_size)

    def pairs_within_limits(self, batch_size: int) -> int:
        """
        Pairs of a batch that is not made of whole trees, in evaluation and of a reference that is precomputed: at most
        `batch_size`, and as many as stay within `max_tokens_per_batch` if they share nothing.
        """
        limit = self.args.max_tokens_per_batch
        if not self.is_packing or limit is None or not self._longest_row:
            return batch_size
        return max(1, min(batch_size, limit // (2 * self._longest_row)))

    def decide_packing(self) -> None:
        """Whether batches are packed; called as soon as the model is there."""
        if self.is_packing is not None:
            return
        reference = getattr(self, "ref_model", None)
        # DeepSpeed has wrapped the reference by now.
        models = [self.accelerator.unwrap_model(model) for model in (self.model, reference) if model is not None]
        obstacles = (packing_obstacle(model, self.args.disable_dropout) for model in models)
        obstacle = next(filter(None, obstacles), None)
        if self._own_collator:
            obstacle = "there is a data_collator of your own"
        else:
            obstacle = arguments_obstacle(self.args, self.aux_loss_enabled) or obstacle
        self.is_packing = self.args.tree_packing != "off" and obstacle is None
        if self.is_packing:
            on_gpu = self._may_choose_attention and self.args.device.type == "cuda"
            see_trees(models, may_choose_flex=on_gpu)
            logger.info(f"Attention is {attention_of(self.model)}: packed trees are sparse.")
            collator = self.data_collator
            self.data_collator = TreeCollator(
                collator.pad_token_id, collator.max_length, collator.truncation_mode, collator.pad_to_multiple_of
            )
        elif self.args.tree_packing == "on":
            raise InvalidInputError(f"tree_packing='on' is not possible: {obstacle}; use 'auto' or 'off'")
        elif self.args.tree_packing == "auto":
            logger.warning(
                f"Tree packing is off, batches are padded, and max_tokens_per_batch does not limit them: {obstacle}."
            )

    def check_dataset(self, dataset: Dataset, name: str) -> None:
        """Refuse rows that nothing can be learnt from."""
        check_rows(dataset, name)

    def check_tokenized(self, dataset: Dataset, num_rows: int, name: str, args: PairConfig) -> None:
        """Refuse rows that `max_length` cuts, if they are many."""
        self._longest_row = max(self._longest_row, check_tokens(dataset, num_rows, name, args))

    def get_train_dataloader(self) -> DataLoader:
        """Batches of pairs, those of one tree together if batches are packed."""
        if not self.is_packing or not isinstance(self.train_dataset, Dataset):
            return super().get_train_dataloader()
        return tree_loader(
            self,
            ("prompt_ids", "chosen_ids", "rejected_ids"),
            lambda row: (row["prompt_ids"], [row["chosen_ids"], row["rejected_ids"]]),
        )

    def count_items(self, batches: list) -> torch.Tensor:
        """The pairs of an optimizer step: batches of trees differ in size, pairs count equally."""
        pairs = torch.tensor(sum(len(batch["input_ids"]) // 2 for batch in batches), device=self.args.device)
        return self.accelerator.gather(pairs).sum()

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """The loss alone: no logits are built. Pairs that only fill the last round of processes are left out."""
        pairs = real = len(inputs["input_ids"]) // 2
        loader = self.accelerator.gradient_state
        if loader.end_of_dataloader and loader.remainder > 0:
            before = self.accelerator.process_index * self.args.per_device_eval_batch_size
            real = min(max(loader.remainder - before, 0), pairs)
        if 0 < real < pairs:
            inputs = first_pairs(inputs, real)
        loss, *rest = super().prediction_step(model, inputs, prediction_loss_only=True, ignore_keys=ignore_keys)
        self._evaluated.append(torch.stack([loss.double().cpu() * real, torch.tensor(float(real))]))
        return loss, *rest

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        """As in transformers; but the loss is the mean over pairs, however many processes share them."""
        self._evaluated = []
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._evaluated:
            sums = torch.stack(self._evaluated).sum(0).float().to(self.args.device)
            total, pairs = self.accelerator.reduce(sums, "sum").tolist()
            output.metrics[f"{metric_key_prefix}_loss"] = total / max(pairs, 1)
        return output

    def score(self, model, inputs: dict[str, torch.Tensor], with_aux_loss: bool = False) -> TokenScores:
        """Log-probabilities of all completion tokens, packed or padded."""
        mask = inputs["completion_mask"]
        if "tree_input_ids" in inputs:
            return score_tree(model, self.accelerator.unwrap_model(model), inputs, mask[:, 1:].bool())
        outputs = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False,
            labels=inputs["input_ids"].masked_fill(mask == 0, -100), fused_lm_head=True,
            **({"output_router_logits": True} if with_aux_loss else {}),
        )  # fmt: skip
        length = mask.shape[1] - 1  # prompt-learning PEFT puts virtual tokens before it
        scores = (getattr(outputs, name) for name in FIELDS)
        return TokenScores(
            *(None if score is None else score[:, -length:] for score in scores),
            aux_loss=outputs.aux_loss if with_aux_loss else None,
        )

    def masks(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`(2 * pairs, length - 1)` masks: all completion tokens, those of the preference term, those not shared."""
        chosen, rejected = inputs["input_ids"].chunk(2)
        both = inputs["attention_mask"].chunk(2)
        shared = ((chosen == rejected) & (both[0] & both[1]).bool()).int().cumprod(1)[:, 1:]
        completion = inputs["completion_mask"][:, 1:]
        unshared = completion * (1 - shared).repeat(2, 1)
        return completion, unshared if self.args.mask_shared_prefix else completion, unshared

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean of [`pair_losses`] over all pairs of an optimizer step."""
        scores = self.score(model, inputs, with_aux_loss=self.aux_loss_enabled)
        completion, preference, unshared = self.masks(inputs)
        chosen, rejected = (scores.log_probs * preference).sum(1).chunk(2)
        sft_mask = (unshared if self.mask_sft_prefix else completion).chunk(2)[0]
        chosen_nll = -(scores.log_probs.chunk(2)[0] * sft_mask).sum(1) / sft_mask.sum(1).clamp(min=1)
        losses, sides = self.pair_losses(inputs, chosen, rejected, preference, chosen_nll)
        loss = losses.mean()
        if scores.aux_loss is not None:
            loss = loss + self.router_aux_loss_coef * scores.aux_loss
        if num_items_in_batch is not None:  # processes are averaged afterwards
            loss = loss * (len(losses) * self.accelerator.num_processes / num_items_in_batch)
        self._record(inputs, scores, completion, unshared, sides, chosen_nll)
        return (loss, {}) if return_outputs else loss

    @torch.no_grad()
    def _record(self, inputs, scores: TokenScores, completion, unshared, sides, chosen_nll) -> None:
        """
        Add this batch's figures, over all processes, to those that are logged next; in TRL's names.

        A reward is relative to a reference. REDI has none: instead of `rewards/*` it logs as `redi/*` the mean
        log-probabilities of a token that it is made of.
        """
        mode = "train" if self.model.training else "eval"
        one = torch.ones((), device=completion.device)
        pairs = one * len(chosen_nll)
        chosen_mask, rejected_mask = completion.chunk(2)
        whole = (scores.log_probs * completion).sum(1).chunk(2)
        own = (scores.log_probs * unshared).sum(1).chunk(2)
        chosen_logits, rejected_logits = (scores.mean_logits * completion).chunk(2)
        group, (first, second) = next(iter(sides)).split("/")[0], sides.values()
        row_tokens = inputs["attention_mask"].sum()
        sums = {  # name -> sum, count
            "entropy": ((scores.entropy * completion).sum(), completion.sum()),
            "logits/chosen": (chosen_logits.sum(), chosen_mask.sum()),
            "logits/rejected": (rejected_logits.sum(), rejected_mask.sum()),
            "mean_token_accuracy": ((scores.is_top1.chunk(2)[0] * chosen_mask).sum(), chosen_mask.sum()),
            f"{group}/chosen": (first.sum(), pairs),
            f"{group}/rejected": (second.sum(), pairs),
            f"{group}/margins": ((first - second).sum(), pairs),
            f"{group}/accuracies": ((first > second).sum(), pairs),
            "logps/chosen": (whole[0].sum(), pairs),
            "logps/rejected": (whole[1].sum(), pairs),
            "logps/chosen_unshared": (own[0].sum(), pairs),
            "logps/rejected_unshared": (own[1].sum(), pairs),
            "sft_loss": (chosen_nll.sum(), pairs),
            "length/chosen": (chosen_mask.sum(), pairs),
            "length/rejected": (rejected_mask.sum(), pairs),
            "shared_prefix_share": ((completion - unshared).sum(), completion.sum()),
            "packing_ratio": (row_tokens, inputs.get("tree_size", row_tokens)),
        }
        if scores.aux_loss is not None:
            sums["aux_loss"] = (scores.aux_loss, one)
        dtype = torch.float32 if one.device.type == "mps" else torch.float64  # which mps has not
        flat = torch.stack([torch.stack([part.to(dtype) for part in pair]) for pair in sums.values()])
        total = self.accelerator.reduce(torch.cat([flat, torch.stack([row_tokens, pairs]).to(dtype)[None]]), "sum")
        for name, (value, count) in zip(sums, total[:-1].tolist(), strict=True):
            self.add_metric(mode, name, value / count if count else 0.0)
        self.count_tokens(mode, int(total[-1, 0]))

    def create_model_card(self, *args, **kwargs):
        """TRL's card, with the loss, the data and the figures of this run."""
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            add_training_sections(Path(self.args.output_dir) / "README.md", self, self.loss_formula())
