"""Configuration of [`JointSFTDPOTrainer`]."""

from dataclasses import dataclass, field

from ..errors import InvalidInputError
from .cdpo_config import CDPOConfig


@dataclass
class JointSFTDPOConfig(CDPOConfig):
    r"""
    Everything that [`CDPOConfig`] takes, and the weight of the SFT term.

    Args:
        alpha (`float`, *optional*, defaults to `1.0`):
            α in L = L_DPO + α · L_SFT (paper, section 4.3; α = 1 was best). L_SFT of a pair is the negative
            log-likelihood of its chosen answer, *averaged over its tokens*; pairs count equally. So the loss does not
            depend on how pairs are gathered into batches.
        mask_sft_prefix (`bool`, *optional*, defaults to `False`):
            Leave the prefix that chosen shares with rejected out of the SFT term too.

    Raises:
        InvalidInputError: `alpha` is negative, or as [`CDPOConfig`].
    """

    alpha: float = field(default=1.0, metadata={"help": "Weight of the SFT term."})
    mask_sft_prefix: bool = field(
        default=False, metadata={"help": "Leave tokens shared with rejected out of the SFT term."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.alpha < 0:
            raise InvalidInputError(f"alpha={self.alpha} is out of range: it must be at least 0")
