"""What the configurations of all trainers on pairs have in common."""

from dataclasses import MISSING, dataclass, field
from typing import ClassVar

from trl import DPOConfig

from ..errors import InvalidInputError
from .packing_config import TreePackingConfig


# Options of TRL that would change nothing here: a run that asks for one is refused rather than surprised.
IGNORED = {
    "loss_weights": "there is one loss; use JointSFTDPOConfig.alpha to weigh SFT",
    "ld_alpha": "length-desensitised DPO is not combined with this loss",
    "f_divergence_type": "only reverse_kl belongs to this loss",
    "use_weighting": "WPO weights are not combined with this loss",
    "f_alpha_divergence_coef": "only reverse_kl belongs to this loss",
    "discopop_tau": "it belongs to another loss",
    "padding_free": "use tree_packing, which forwards no more padding and less of everything else",
    "label_smoothing_factor": "it smooths the tokens of SFT; epsilon of CDPOConfig is the noise of preferences",
    "include_for_metrics": "no logits are built, so there is no compute_metrics; use a callback",
    "batch_eval_metrics": "no logits are built, so there is no compute_metrics; use a callback",
    "loss_type": "each loss has a trainer of its own: CDPOTrainer, JointSFTDPOTrainer, REDITrainer, or trl.DPOTrainer",
}


@dataclass
class PairConfig(TreePackingConfig, DPOConfig):
    r"""
    Everything that [`~trl.DPOConfig`] takes, and what training on the pairs of trees needs.

    Args:
        mask_shared_prefix (`bool`, *optional*, defaults to `True`):
            Leave the tokens that chosen and rejected share out of the preference term (paper, section 4.2).
        tree_packing (`str`, *optional*, defaults to `"auto"`):
            Forward every token that the rows of a batch share once: `"auto"` where the model allows it, `"on"` or
            refuse, `"off"`.
        max_tokens_per_batch (`int`, *optional*, defaults to `32768`):
            With tree packing, the unique tokens of a training batch: it then holds at most this many, and at most
            `per_device_train_batch_size` pairs. A single pair above it makes a batch of its own. Batches of an
            evaluation, and of a reference that is precomputed, hold fewer pairs where their rows might have more
            tokens. `None` is no limit.
        max_truncated_share (`float`, *optional*, defaults to `0.05`):
            Refuse to train if more of the rows than this would be cut at `max_length`: a chain that is cut ends
            without an answer, which is what a model then learns.

    Raises:
        InvalidInputError: A value is out of its range, or an option of TRL would silently be ignored.
    """

    ignored: ClassVar[dict[str, str]] = IGNORED

    mask_shared_prefix: bool = field(
        default=True, metadata={"help": "Leave tokens shared by chosen and rejected out of the preference term."}
    )
    max_truncated_share: float = field(
        default=0.05, metadata={"help": "Refuse to train if more of the rows are cut at max_length."}
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.max_truncated_share <= 1:
            raise InvalidInputError(f"max_truncated_share={self.max_truncated_share} must be between 0 and 1")
        defaults = DPOConfig.__dataclass_fields__
        for name, reason in self.ignored.items():
            declared = defaults[name]
            default = declared.default if declared.default is not MISSING else declared.default_factory()
            if getattr(self, name) != default:
                raise InvalidInputError(f"{name}={getattr(self, name)!r} would be ignored: {reason}")

    def __getstate__(self) -> dict:
        """Without the token: trainers pickle their arguments beside every model, and push them with it."""
        return {**self.__dict__, "hub_token": None}
