"""Configuration of [`CDPOTrainer`]."""

from dataclasses import dataclass, field

from trl import DPOConfig

from ..errors import InvalidInputError


# Options of TRL that would change nothing here: a run that asks for one is refused rather than surprised.
IGNORED = {
    "loss_weights": "there is one loss; use JointSFTDPOConfig.alpha to weigh SFT",
    "label_smoothing": "use epsilon",
    "ld_alpha": "length-desensitised DPO is not combined with this loss",
    "f_divergence_type": "only reverse_kl belongs to this loss",
    "use_weighting": "WPO weights are not combined with this loss",
    "f_alpha_divergence_coef": "only reverse_kl belongs to this loss",
    "discopop_tau": "the loss is conservative DPO",
    "padding_free": "use tree_packing, which forwards no more padding and less of everything else",
}
# What belongs to one loss alone, and so would change nothing with the other.
OF_OTHER_LOSS = {
    "sigmoid": {"redi_alpha": "it belongs to loss_type=['redi']"},
    "redi": {
        "epsilon": "REDI weighs its two sides by redi_alpha",
        "beta": "REDI weighs its two sides by redi_alpha",
        "precompute_ref_log_probs": "REDI has no reference",
        "sync_ref_model": "REDI has no reference",
    },
}


@dataclass
class CDPOConfig(DPOConfig):
    r"""
    Everything that [`~trl.DPOConfig`] takes, and what conservative DPO on trees needs.

    Args:
        loss_type (`list[str]`, *optional*, defaults to `["sigmoid"]`):
            `["sigmoid"]` is conservative DPO. `["redi"]` is REDI (Xu et al., 2025, arXiv:2505.24850), −log π(chosen) /
            |chosen| + α · log π(rejected) / |rejected|: it has no reference, so none is forwarded or held in memory
            (under FSDP TRL loads one, and frees it before training). It was made for a model that has been through
            SFT. Of TRL's other losses none is available.
        redi_alpha (`float`, *optional*, defaults to `0.8`):
            α of REDI, the weight of rejected, between 0 (SFT on chosen) and 1. 0.8 is the source's.
        epsilon (`float`, *optional*, defaults to `0.1`):
            Label noise ε: the share of pairs that are assumed to be the wrong way round. 0 is DPO.
        mask_shared_prefix (`bool`, *optional*, defaults to `True`, with REDI to `False`):
            Leave the tokens that chosen and rejected share out of the preference term (paper, section 4.2). They
            cancel in Δ, so loss and gradient are the same; the rewards that are logged are those of what differs. In
            REDI they do not cancel, so this is another objective: the source's lengths |chosen| and |rejected| are
            those of whole answers, masked ones count the tokens of what differs alone (a side without any adds 0).
        tree_packing (`str`, *optional*, defaults to `"auto"`):
            Forward every token that the rows of a batch share once: `"auto"` where the model allows it, `"on"` or
            refuse, `"off"`.
        max_tokens_per_batch (`int`, *optional*, defaults to `32768`):
            With tree packing, the unique tokens of a training batch: it then holds at most this many, and at most
            `per_device_train_batch_size` pairs. A single pair above it makes a batch of its own. Outside flex
            attention the mask of a tree takes the square of its tokens in bytes. `None` is no limit.
        max_truncated_share (`float`, *optional*, defaults to `0.05`):
            Refuse to train if more of the rows than this would be cut at `max_length`: a chain that is cut ends
            without an answer, which is what a model then learns.

    Raises:
        InvalidInputError: A value is out of its range, or an option of TRL would silently be ignored.
    """

    loss_type: list[str] = field(
        default_factory=lambda: ["sigmoid"],
        metadata={"help": "sigmoid is conservative DPO; redi is REDI, which has no reference."},
    )
    redi_alpha: float = field(default=0.8, metadata={"help": "Weight of rejected in REDI, 0 <= redi_alpha <= 1."})
    epsilon: float = field(
        default=0.1, metadata={"help": "Label noise of conservative DPO, 0 <= epsilon < 0.5. 0 is DPO."}
    )
    mask_shared_prefix: bool | None = field(
        default=None,
        metadata={
            "help": "Leave tokens shared by chosen and rejected out of the preference term. Default: true, with "
            "loss_type redi false."
        },
    )
    tree_packing: str = field(
        default="auto", metadata={"help": "Forward shared tokens once: auto, on (or refuse), off."}
    )
    max_tokens_per_batch: int | None = field(
        default=32768, metadata={"help": "Unique tokens of a training batch, with tree packing."}
    )
    max_truncated_share: float = field(
        default=0.05, metadata={"help": "Refuse to train if more of the rows are cut at max_length."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.loss_type not in (["sigmoid"], ["redi"]):
            raise InvalidInputError(
                f"loss_type={self.loss_type!r} would be ignored: use sigmoid, which is conservative DPO (DPO itself "
                "with epsilon=0), or redi"
            )
        if self.mask_shared_prefix is None:
            self.mask_shared_prefix = not self.is_redi
        if not 0 <= self.redi_alpha <= 1:
            raise InvalidInputError(f"redi_alpha={self.redi_alpha} is out of range: it must be between 0 and 1")
        if not 0 <= self.epsilon < 0.5:
            raise InvalidInputError(f"epsilon={self.epsilon} is out of range: it must be at least 0 and below 0.5")
        if self.tree_packing not in ("auto", "on", "off"):
            raise InvalidInputError(f"tree_packing={self.tree_packing!r} is unknown: use auto, on or off")
        if self.max_tokens_per_batch is not None and self.max_tokens_per_batch < 1:
            raise InvalidInputError(f"max_tokens_per_batch={self.max_tokens_per_batch} must be at least 1")
        if not 0 <= self.max_truncated_share <= 1:
            raise InvalidInputError(f"max_truncated_share={self.max_truncated_share} must be between 0 and 1")
        for name, reason in {**IGNORED, **OF_OTHER_LOSS[self.loss_type[0]]}.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InvalidInputError(f"{name}={getattr(self, name)!r} would be ignored: {reason}")

    @property
    def is_redi(self) -> bool:
        """Whether the loss is REDI, which needs no reference."""
        return self.loss_type == ["redi"]

    def __getstate__(self) -> dict:
        """Without the token: trainers pickle their arguments beside every model, and push them with it."""
        return {**self.__dict__, "hub_token": None}
