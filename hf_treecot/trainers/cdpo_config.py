"""Configuration of [`CDPOTrainer`]."""

from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import InvalidInputError
from .pair_config import IGNORED, PairConfig


@dataclass
class CDPOConfig(PairConfig):
    r"""
    Everything that [`PairConfig`] takes, and the label noise of conservative DPO.

    With `mask_shared_prefix` the tokens that chosen and rejected share cancel in Δ, so loss and gradient are the same;
    the rewards that are logged are those of what differs.

    Args:
        epsilon (`float`, *optional*, defaults to `0.1`):
            Label noise ε: the share of pairs that are assumed to be the wrong way round. 0 is DPO.

    Raises:
        InvalidInputError: `epsilon` is out of its range, or as [`PairConfig`].
    """

    ignored: ClassVar[dict[str, str]] = {**IGNORED, "label_smoothing": "use epsilon"}

    epsilon: float = field(
        default=0.1, metadata={"help": "Label noise of conservative DPO, 0 <= epsilon < 0.5. 0 is DPO."}
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.epsilon < 0.5:
            raise InvalidInputError(f"epsilon={self.epsilon} is out of range: it must be at least 0 and below 0.5")
