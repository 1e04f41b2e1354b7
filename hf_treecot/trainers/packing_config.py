"""What the configurations of all trainers that pack trees have in common."""

from dataclasses import dataclass, field

from ..errors import InvalidInputError


@dataclass
class TreePackingConfig:
    r"""
    How a configuration of TRL says that batches are trees; to be put before it among the bases of a class.

    Args:
        tree_packing (`str`, *optional*, defaults to `"auto"`):
            Forward every token that the rows of a batch share once: `"auto"` where the model and the other options
            allow it, `"on"` or refuse, `"off"`.
        max_tokens_per_batch (`int`, *optional*, defaults to `32768`):
            With tree packing, the unique tokens of a training batch. `None` is no limit.

    Raises:
        InvalidInputError: A value is out of its range.
    """

    tree_packing: str = field(
        default="auto", metadata={"help": "Forward shared tokens once: auto, on (or refuse), off."}
    )
    max_tokens_per_batch: int | None = field(
        default=32768, metadata={"help": "Unique tokens of a training batch, with tree packing."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.tree_packing not in ("auto", "on", "off"):
            raise InvalidInputError(f"tree_packing={self.tree_packing!r} is unknown: use auto, on or off")
        if self.max_tokens_per_batch is not None and self.max_tokens_per_batch < 1:
            raise InvalidInputError(f"max_tokens_per_batch={self.max_tokens_per_batch} must be at least 1")


def arguments_obstacle(args, aux_loss_enabled: bool) -> str | None:
    """
    Which option keeps batches from being packed as trees, or None if none does.

    Args:
        args (`~transformers.TrainingArguments`): Of the trainer.
        aux_loss_enabled (`bool`): Whether there is the auxiliary loss of a mixture of experts.
    """
    if aux_loss_enabled:
        return "the auxiliary loss of a mixture of experts is defined over rows"
    if args.train_sampling_strategy != "random":
        return f"train_sampling_strategy={args.train_sampling_strategy!r} is not that of trees"
    if args.neftune_noise_alpha:
        return "neftune_noise_alpha draws noise for every row, and packed rows share one draw"
    if args.accelerator_config.split_batches or args.accelerator_config.dispatch_batches:
        return "split_batches and dispatch_batches cut batches into slices, and packed ones differ in size"
    return None


def keep_batches_whole(args) -> None:
    """
    See that batches of streams, those given to `evaluate` too, are not cut into slices: packed ones differ in size.

    Args:
        args (`~transformers.TrainingArguments`): Changed in place, unless it says what it wants.
    """
    if args.accelerator_config.dispatch_batches is None:
        args.accelerator_config.dispatch_batches = False
