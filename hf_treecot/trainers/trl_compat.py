"""What touches private parts of TRL 1.16 (and of the transformers 5 Trainer below it): all of it is here.

TRL moves its internals often. When its ceiling in `pyproject.toml` is raised, this is the file to read again.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import Dataset, IterableDataset, load_from_disk
from torch.utils.data import DataLoader
from transformers import Trainer
from trl import DPOConfig, DPOTrainer, SFTTrainer
from trl.trainer.base_config import _BaseConfig as BaseConfig  # noqa: F401 (what configurations have in common)
from trl.trainer.base_trainer import _BaseTrainer as BaseTrainer  # noqa: F401 (what writes model cards)
from trl.trainer.utils import FusedCausalLMOutput

from ..errors import InvalidInputError
from .targets import tokenize_chains, tokenize_pairs
from .tree_batches import TreeBatchSampler


class ModelCardFacts:
    """What TRL's model card says of a trainer; class attributes with public names."""

    method: ClassVar[str] = ""
    paper: ClassVar[dict[str, str] | None] = None
    tags: ClassVar[list[str]] = []

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._name, cls._paper, cls._tag_names = cls.method, cls.paper, cls.tags


def describe(trainer: SFTTrainer, method: str, paper: dict[str, str], tags: list[str]) -> None:
    """What the model card of one trainer says, where it depends on its configuration; before `super().__init__`."""
    trainer._name, trainer._paper, trainer._tag_names = method, paper, tags


def tokenizer_of(trainer: SFTTrainer):
    """The tokenizer of an SFT trainer, that of a processor included."""
    return trainer._tokenizer


def name_of(model) -> str:
    """What a model, or its name, is called without the directory or account that it is from."""
    return Path(model if isinstance(model, str) else model.config.name_or_path).name


def name_arguments(trainer_class: type[Trainer], named: int, positional: tuple, arguments: dict) -> dict:
    """
    Arguments of a trainer of TRL by name.

    Args:
        trainer_class (`type[~transformers.Trainer]`): TRL's.
        named (`int`): How many of its arguments come before `positional`.
        positional (`tuple`): Arguments in TRL's order.
        arguments (`dict`): The others, by name.

    Raises:
        TypeError: One is given twice, or there are too many.
    """
    parameters = list(inspect.signature(trainer_class.__init__).parameters.values())[1 + named :]
    given = inspect.Signature(parameters).bind_partial(*positional, **arguments)
    return dict(given.arguments)


@contextmanager
def scoring_only(model, wanted: torch.Tensor) -> Iterator[None]:
    """
    Within the block, TRL's fused head is given the states of some positions alone, in one row.

    Args:
        model (`~transformers.PreTrainedModel` or `~peft.PeftModel`): The model, unwrapped.
        wanted (`torch.Tensor` of shape `(rows, width)`): Which positions.
    """

    def keep(module, arguments, outputs):
        outputs.last_hidden_state = outputs.last_hidden_state[wanted][None]
        return outputs

    base = model.get_base_model() if hasattr(model, "peft_config") else model
    hook = base.base_model.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def as_fused_output(scores, learnt: torch.Tensor) -> FusedCausalLMOutput:
    """Scores of tokens as TRL's fused head returns them."""
    return FusedCausalLMOutput(
        log_probs=scores.log_probs, entropy=scores.entropy, is_top1=scores.is_top1.bool(), label_mask=learnt
    )


def attention_of(model) -> str:
    """The attention implementation of a model."""
    return model.config._attn_implementation


def save_without_pushing(trainer: Trainer) -> None:
    """Save the model, and push nothing yet: it is pushed when it has its card."""
    trainer.save_model(_internal_call=True)


@contextmanager
def row_of_its_own(trainer: Trainer) -> Iterator[None]:
    """What is logged within the block takes neither the figures that TRL gathers for its next row, nor their place."""
    gathered = getattr(trainer, "_metrics", {})
    held = {mode: dict(values) for mode, values in gathered.items()}
    for values in gathered.values():
        values.clear()
    yield
    for mode, values in held.items():
        gathered[mode].update(values)


def tree_loader(trainer: Trainer, columns: tuple[str, ...], rows_of: Callable[[dict], tuple]) -> DataLoader:
    """
    A loader of training batches that keep trees together; see [`~tree_batches.TreeBatchSampler`].

    Args:
        trainer (`~transformers.Trainer`): Its arguments have `max_tokens_per_batch`.
        columns (`tuple[str, ...]`): Of the train dataset, tokenized.
        rows_of (`Callable`): What the sampler takes of an example.
    """
    args = trainer.args
    dataset = trainer._remove_unused_columns(trainer.train_dataset, description="training")
    sampler = TreeBatchSampler(
        map(rows_of, dataset.select_columns(list(columns))),
        trainer._train_batch_size,
        args.max_tokens_per_batch,
        trainer.accelerator.num_processes,
        args.seed if args.data_seed is None else args.data_seed,
        args.dataloader_drop_last,
    )
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=trainer.data_collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        multiprocessing_context=args.dataloader_multiprocessing_context,
        in_order=args.dataloader_in_order,
    )
    loader = trainer.accelerator.prepare(loader)
    if loader.batch_sampler is not sampler:
        # accelerate's share of one process hides the sampler, and a resumed epoch would be in another's order.
        loader.batch_sampler.set_epoch = sampler.set_epoch
    return loader


class SFTTrainerHooks(SFTTrainer):
    """[`~trl.SFTTrainer`] that learns what rows say, whatever a chat template makes of think blocks."""

    def _prepare_dataset(self, dataset, processing_class, args, packing, formatting_func, dataset_name):
        # With assistant_only_loss TRL takes a template of its own, which drops nothing.
        if isinstance(dataset, Dataset) and formatting_func is None and not args.assistant_only_loss:
            dataset = tokenize_chains(dataset, processing_class)
        return super()._prepare_dataset(dataset, processing_class, args, packing, formatting_func, dataset_name)


class DPOTrainerHooks(ModelCardFacts, DPOTrainer):
    """[`~trl.DPOTrainer`] whose private hooks have public names."""

    def check_dataset(self, dataset: Dataset, name: str) -> None:
        """Refuse rows, before they are tokenized."""

    def check_tokenized(self, dataset: Dataset, num_rows: int, name: str, args: DPOConfig) -> None:
        """Refuse tokenized rows."""

    def count_items(self, batches: list) -> torch.Tensor:
        """How many items a loss is a mean over: those of the batches of an optimizer step, over all processes."""
        raise NotImplementedError

    def refuse_images(self) -> None:
        """
        Raises:
            InvalidInputError: The dataset has images.
        """
        if self._is_vision_dataset:
            raise InvalidInputError("the train dataset has images: this loss is for text alone; use trl.DPOTrainer")

    def create_accelerator_and_postprocess(self):
        """As in transformers; but FSDP2 gives float32 outputs: in bfloat16 a long chain is off by tens of nats."""
        super().create_accelerator_and_postprocess()
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        policy = getattr(plugin, "mixed_precision_policy", None)
        if hasattr(policy, "output_dtype"):  # FSDP1's has none
            plugin.mixed_precision_policy = replace(policy, output_dtype=torch.float32)

    def add_metric(self, mode: str, name: str, value: float) -> None:
        """Add a figure to those that are averaged in the next row of the log."""
        self._metrics[mode][name].append(value)

    def count_tokens(self, mode: str, tokens: int) -> None:
        """Count tokens that were trained on, and log how many there were so far."""
        if mode == "train":
            self._total_train_tokens += tokens
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

    def precompute_reference(self, dataset: Any, name: str, batch_size: int, variant: str) -> Any:
        """TRL's precomputed reference log-probabilities; those of another `variant` have another cache."""
        if self.accelerator.num_processes > 1 and isinstance(dataset, Dataset) and not dataset.cache_files:
            dataset = self._on_disk(dataset, name)
        model_hash = self._precompute_model_hash
        self._precompute_model_hash = f"{model_hash}-{variant}" if variant else model_hash
        try:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        finally:
            self._precompute_model_hash = model_hash

    def _on_disk(self, dataset: Dataset, name: str) -> Dataset:
        """A dataset in memory, where all processes find it: TRL writes the log-probabilities beside its file."""
        path = Path(self.args.output_dir) / "reference" / name
        if self.accelerator.is_main_process:
            dataset.save_to_disk(path)
        self.accelerator.wait_for_everyone()
        return load_from_disk(path)

    def prepare_reference(self, dataset: Any, name: str, batch_size: int) -> Any:
        """Precompute the reference's log-probabilities; see [`precompute_reference`]."""
        return self.precompute_reference(dataset, name, batch_size, "")

    def _precompute_ref_logps(self, dataset, name, batch_size):
        return self.prepare_reference(dataset, name, batch_size)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor:
        return self.count_items(batch_samples).to(device)

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        is_stream = isinstance(dataset, IterableDataset)  # which is not read before it is used
        is_tokenized = "prompt_ids" in (dataset.column_names or ())
        prepared = dataset
        if not is_stream and not is_tokenized:
            self.check_dataset(dataset, dataset_name)
            prepared = tokenize_pairs(dataset, processing_class)
        if "prompt_ids" not in (prepared.column_names or ()):
            prepared = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        if not is_stream:
            self.check_tokenized(prepared, len(dataset), dataset_name, args)
        return prepared
