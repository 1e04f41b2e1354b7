"""Conservative DPO on trees of thoughts."""

import contextlib

import torch
from accelerate.utils import is_peft_model
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from ..errors import InvalidInputError
from .cdpo_config import CDPOConfig
from .losses import preference_loss
from .model_card import BOTTLENECK_PAPER
from .pair_trainer import PairTrainer


class CDPOTrainer(PairTrainer):
    """
    Conservative DPO: DPO that allows for a share ε of pairs that are the wrong way round (paper, section 4.2).

    Takes what [`~trl.DPOTrainer`] takes; see [`PairTrainer`].

    Example:

    ```python
    trainer = CDPOTrainer(
        model="Qwen/Qwen2.5-1.5B-Instruct",
        args=CDPOConfig("my-model", epsilon=0.1),
        train_dataset=load_dataset("user/name", "preference", split="train"),
    )
    trainer.train()
    ```
    """

    config_class = CDPOConfig
    alpha = 0.0  # no SFT term

    tags = ["trl", "dpo", "cdpo", "tree-cot"]
    method = "conservative DPO on trees of thoughts"
    paper = BOTTLENECK_PAPER

    def reference_log_probs(self, model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Token log-probabilities of the reference: a model of its own, or the policy without its adapter."""
        adapter = contextlib.nullcontext()
        if self.ref_model is None and is_peft_model(self.model):
            policy = self.accelerator.unwrap_model(self.model)
            adapter = use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None)
        checkpointing = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), checkpointing, adapter:
            return self.score(model, inputs).log_probs

    def prepare_reference(self, dataset, name: str, batch_size: int):
        """Precompute the reference's sums; those with and without the shared prefix differ."""
        self.decide_packing()
        variant = "masked" if self.args.mask_shared_prefix else ""
        return self.precompute_reference(dataset, name, self.pairs_within_limits(batch_size), variant)

    def compute_ref_log_probs(self, model, inputs):
        """Sums of the reference's log-probabilities over the preference term's tokens: of chosen, of rejected."""
        with self.accelerator.autocast():
            log_probs = self.reference_log_probs(model, inputs)
        return (log_probs * self.masks(inputs)[1]).sum(1).chunk(2)

    def _reference_sums(self, inputs, preference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the reference says of the preference term's tokens: of chosen, of rejected."""
        if self.precompute_ref_logps:
            return inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        ref_model = self.ref_model if self.ref_model is not None else self.model
        return (self.reference_log_probs(ref_model, inputs) * preference).sum(1).chunk(2)

    def pair_losses(self, inputs, chosen, rejected, preference, chosen_nll):
        """[`preference_loss`] of every pair, and its rewards."""
        ref_chosen, ref_rejected = self._reference_sums(inputs, preference)
        if not (is_finite := torch.isfinite(ref_chosen + ref_rejected)).all():
            self._refuse_pair(inputs, int((~is_finite).nonzero()[0]))
        ratios = chosen - ref_chosen, rejected - ref_rejected
        losses = preference_loss(ratios[0] - ratios[1], chosen_nll, self.beta, self.args.epsilon, self.alpha)
        return losses, {"rewards/chosen": self.beta * ratios[0], "rewards/rejected": self.beta * ratios[1]}

    def _refuse_pair(self, inputs, pair: int):
        """A loss without a number would spoil all weights."""
        ids, mask = inputs["input_ids"][pair], inputs["attention_mask"][pair].bool()
        text = self.processing_class.decode(ids[mask])
        raise InvalidInputError(
            f"the reference's log-probabilities of a pair are not finite, of the one that begins with {text[:200]!r}: "
            "remove the pair, or precomputed columns of another model, or load the reference in float32"
        )

    def loss_formula(self) -> str:
        """The loss in words and TeX."""
        sft = f" + {self.alpha:g} \\cdot \\mathrm{{NLL}}(\\text{{chosen}})" if self.alpha else ""
        noise = self.args.epsilon
        loss = f"$-{1 - noise:g} \\log\\sigma(\\beta\\Delta) - {noise:g} \\log\\sigma(-\\beta\\Delta){sft}$"
        return f"{loss}, with β = {self.args.beta:g}."
