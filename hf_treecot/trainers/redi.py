"""REDI: reinforcement distillation on pairs of right and wrong chains, without a reference."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from ..errors import InvalidInputError
from .losses import redi_loss
from .model_card import REDI_PAPER
from .packing_config import default_config
from .pair_config import IGNORED, PairConfig
from .pair_trainer import PairTrainer


@dataclass
class REDIConfig(PairConfig):
    r"""
    Everything that [`PairConfig`] takes, and the weight of the wrong chains.

    The loss is −log π(chosen) / |chosen| + α · log π(rejected) / |rejected| (Xu et al., 2025, arXiv:2505.24850). It
    has no reference, so none is forwarded or held in memory (under FSDP TRL loads one, and frees it before training).
    It was made for a model that has been through SFT.

    Args:
        redi_alpha (`float`, *optional*, defaults to `0.8`):
            α, the weight of rejected, between 0 (SFT on chosen) and 1. 0.8 is the source's.
        mask_shared_prefix (`bool`, *optional*, defaults to `False`):
            Count only the tokens in which the sides differ. Shared tokens do not cancel here, so this is another
            objective: the source's lengths |chosen| and |rejected| are those of whole answers (a side without any
            token of its own then adds 0).

    Raises:
        InvalidInputError: `redi_alpha` is out of its range, or as [`PairConfig`].
    """

    ignored: ClassVar[dict[str, str]] = {
        **IGNORED,
        "label_smoothing": "REDI has no label noise",
        "beta": "REDI weighs its two sides by redi_alpha",
        "precompute_ref_log_probs": "REDI has no reference",
        "sync_ref_model": "REDI has no reference",
    }

    redi_alpha: float = field(default=0.8, metadata={"help": "Weight of rejected, 0 <= redi_alpha <= 1."})
    mask_shared_prefix: bool = field(
        default=False, metadata={"help": "Count only the tokens in which chosen and rejected differ."}
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.redi_alpha <= 1:
            raise InvalidInputError(f"redi_alpha={self.redi_alpha} is out of range: it must be between 0 and 1")


class REDITrainer(PairTrainer):
    """
    REDI, which pushes right chains up and wrong ones down without a reference.

    Takes what [`PairTrainer`] takes, with a [`REDIConfig`]. A reward is relative to a reference, which REDI has not:
    instead of `rewards/*` it logs as `redi/*` the mean log-probabilities of a token that it is made of.

    Raises:
        InvalidInputError: A `ref_model` is given; or as [`PairTrainer`].
    """

    config_class = REDIConfig

    tags = ["trl", "redi", "tree-cot"]
    method = "REDI on trees of thoughts"
    paper = REDI_PAPER

    def __init__(self, model, ref_model=None, args: REDIConfig | None = None, *others, **kwargs):
        if ref_model is not None:
            raise InvalidInputError("ref_model is given, but REDI has no reference: leave it out")
        args = default_config(self, model) if args is None else args
        args.precompute_ref_log_probs = True  # TRL then holds no reference; `prepare_reference` computes nothing
        try:
            super().__init__(model, None, args, *others, **kwargs)
        finally:
            args.precompute_ref_log_probs = self.precompute_ref_logps = False

    def prepare_reference(self, dataset, name: str, batch_size: int):
        """There is none."""
        return dataset

    def pair_losses(self, inputs, chosen, rejected, preference: torch.Tensor, chosen_nll):
        """[`redi_loss`] of every pair, and the mean log-probabilities that it is made of."""
        chosen_length, rejected_length = preference.sum(1).clamp(min=1).chunk(2)
        sides = {"redi/chosen": chosen / chosen_length, "redi/rejected": rejected / rejected_length}
        return redi_loss(*sides.values(), self.args.redi_alpha), sides

    def loss_formula(self) -> str:
        """The loss in words and TeX."""
        names = ("chosen", "rejected")
        sides = [f"\\frac{{\\log\\pi(\\text{{{side}}})}}{{|\\text{{{side}}}|}}" for side in names]
        tokens = (
            "the tokens after the prefix that both share"
            if self.args.mask_shared_prefix
            else "all tokens of an answer"
        )
        return f"$-{sides[0]} + {self.args.redi_alpha:g} {sides[1]}$, REDI without a reference, over {tokens}."
