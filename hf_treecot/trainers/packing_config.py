"""What the trainers that pack trees, and their configurations, have in common."""

from dataclasses import dataclass, field

from ..errors import InvalidInputError
from .trl_compat import name_of


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


def default_config(trainer, model):
    """
    The configuration of a trainer that is given none: into a directory named after the model and the configuration.

    Args:
        trainer (`~transformers.Trainer`): With a `config_class`.
        model (`str` or `~transformers.PreTrainedModel`): What it is to train.
    """
    return trainer.config_class(f"{name_of(model)}-{trainer.config_class.__name__.removesuffix('Config')}")


def check_config(trainer, args) -> None:
    """
    Raises:
        InvalidInputError: `args` is not of the trainer's `config_class`.
    """
    if not isinstance(args, trainer.config_class):
        raise InvalidInputError(
            f"args is a {type(args).__name__}: {type(trainer).__name__} needs a {trainer.config_class.__name__}"
        )


def has_no_wish_for_attention(model, args) -> bool:
    """
    Whether the fastest attention may be chosen: the trainer loads the model, and nobody asked for an implementation.

    Args:
        model (`str` or `~transformers.PreTrainedModel`): What the trainer was given.
        args (`~trl.SFTConfig` or `~trl.DPOConfig`): Of the trainer.
    """
    return isinstance(model, str) and not (args.model_init_kwargs or {}).get("attn_implementation")


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
