"""A model that says how likely a chain of thoughts is to end in a right answer, learnt from a search's values."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer, set_seed
from transformers.utils import logging

from ..engines.chat_template import encode_thoughts
from ..errors import InvalidInputError
from .losses import value_loss
from .model_card import MATH_SHEPHERD_PAPER, add_value_sections
from .packing_config import (
    TreePackingConfig,
    arguments_obstacle,
    check_config,
    default_config,
    has_no_wish_for_attention,
    keep_batches_whole,
)
from .precision import check_trainable_weights
from .targets import tokenize_fitting
from .tree_attention import TreePlan, attend_as_tree
from .tree_packing import pack, packing_obstacle
from .tree_scores import see_trees
from .trl_compat import BaseConfig, BaseTrainer, ModelCardFacts, tree_loader


logger = logging.get_logger(__name__)
COLUMNS = ("prompt", "thoughts", "values")
UNKNOWN = -100.0  # of tokens that no value is learnt at; what transformers does not count


@dataclass
class ValueConfig(TreePackingConfig, BaseConfig):
    r"""
    Everything that [`~transformers.TrainingArguments`] takes, and how the chains of a tree share a batch.

    Args:
        max_length (`int`, *optional*, defaults to `1024`):
            Tokens of a chain; longer ones are left out, and counted. `None` is no limit.
        model_init_kwargs (`dict`, *optional*):
            Arguments of `from_pretrained`, for a model that is given by its name.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Run code that comes with the model.
        tree_packing (`str`, *optional*, defaults to `"auto"`):
            Forward every token that the chains of a batch share once: `"auto"` where the model and the other options
            allow it, `"on"` or refuse, `"off"`.
        max_tokens_per_batch (`int`, *optional*, defaults to `32768`):
            With tree packing, the unique tokens of a training batch. `None` is no limit.

    Raises:
        InvalidInputError: A value is out of its range.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "The initial learning rate for AdamW."})
    max_length: int | None = field(default=1024, metadata={"help": "Tokens of a chain; longer ones are left out."})
    model_init_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Arguments of from_pretrained, for a model that is given by its name."}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Run code that comes with the model."})


class ValueTrainer(ModelCardFacts, BaseTrainer):
    """
    Fits a scalar head, and the model below it, to v/N of a search at the last token of every thought.

    The head is transformers' token classification with one label, whose sigmoid is the value. The loss is
    [`~losses.value_loss`], a mean over thoughts. With tree packing every token of a tree is forwarded once.

    Args:
        model (`str` or `~transformers.PreTrainedModel`): A causal model, whose head is replaced, or a token classifier
            with one label.
        args ([`ValueConfig`], *optional*): Configuration. Default: into a directory named after the model.
        train_dataset (`~datasets.Dataset`): Rows of [`~selection.values.value_rows`].
        eval_dataset (`~datasets.Dataset`, *optional*): More of them.
        processing_class (`~transformers.PreTrainedTokenizerBase`, *optional*): A fast tokenizer with a chat template.
        **kwargs: Of [`~transformers.Trainer`].

    Raises:
        InvalidInputError: Another configuration or other rows, nothing to learn, weights in which steps are lost, a
            model with another head, or `tree_packing="on"` where it is not possible.

    Example:

    ```python
    rows = [row for tree in load_trees("runs/demo") for row in value_rows(tree)]
    trainer = ValueTrainer(
        "Qwen/Qwen2.5-1.5B-Instruct", ValueConfig("my-value-model"), train_dataset=Dataset.from_list(rows)
    )
    trainer.train()
    ```
    """

    config_class = ValueConfig

    method = "binary cross-entropy with the Monte Carlo values of thoughts"
    paper = MATH_SHEPHERD_PAPER
    tags: ClassVar[list[str]] = ["value-model", "process-reward-model", "tree-cot"]

    def __init__(
        self, model, args: ValueConfig | None = None, train_dataset=None, eval_dataset=None, processing_class=None,
        **kwargs,
    ):  # fmt: skip
        args = default_config(self, model) if args is None else args
        check_config(self, args)
        keep_batches_whole(args)
        args.remove_unused_columns, args.prediction_loss_only, args.label_names = False, True, ["labels"]
        may_choose_attention = has_no_wish_for_attention(model, args)
        if isinstance(model, str):
            model = load_with_head(model, args)
        if model.config.num_labels != 1:
            raise InvalidInputError(f"the model has {model.config.num_labels} labels: a value model has num_labels=1")
        tokenizer = processing_class or AutoTokenizer.from_pretrained(model.config.name_or_path)
        tokenized = {
            name: None if rows is None else tokenize_values(rows, tokenizer, args.max_length, name)
            for name, rows in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset))
        }
        super().__init__(model, args, processing_class=tokenizer, **tokenized, **kwargs)
        self.report = ""  # what the card says of how the model was judged, in Markdown
        self.model_accepts_loss_kwargs = True  # so that the thoughts of an optimizer step are counted
        check_trainable_weights(self)
        obstacle = self.packing_obstacle()
        self.is_packing = args.tree_packing != "off" and obstacle is None
        self.data_collator = ValueCollator(tokenizer.pad_token_id or 0, self.is_packing)
        if self.is_packing:
            see_trees([self.model], may_choose_flex=may_choose_attention and args.device.type == "cuda")
        elif args.tree_packing == "on":
            raise InvalidInputError(f"tree_packing='on' is not possible: {obstacle}; use 'auto' or 'off'")
        elif args.tree_packing == "auto":
            logger.warning(f"Tree packing is off, and max_tokens_per_batch does not limit batches: {obstacle}.")

    def packing_obstacle(self) -> str | None:
        """Why chains cannot be forwarded as trees, or None if they can."""
        if obstacle := arguments_obstacle(self.args, aux_loss_enabled=False):
            return obstacle
        dropout = any(getattr(module, "p", 0) for module in self.model.modules() if "Dropout" in type(module).__name__)
        return packing_obstacle(self.model, disable_dropout=not dropout)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of chains, those of one tree together if batches are packed."""
        if not self.is_packing:
            return super().get_train_dataloader()
        return tree_loader(self, ("input_ids", "prompt_length"), _split)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean of [`~losses.value_loss`] over thoughts; over those of the optimizer step, if it is known."""
        logits, labels = self.logits(model, inputs), inputs["labels"]
        known = labels != UNKNOWN
        losses = value_loss(logits[known].float() if logits.dtype != torch.float64 else logits[known], labels[known])
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            loss = losses.sum() / num_items_in_batch
            if self.args.average_tokens_across_devices:  # gradients are averaged over processes
                loss = loss * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    def logits(self, model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """
        Of every token of every chain.

        Args:
            model (`torch.nn.Module`): It may be wrapped by DDP or FSDP.
            inputs (`dict[str, torch.Tensor]`): A batch of [`ValueCollator`].

        Returns:
            `torch.Tensor` of shape `(rows, length)`
        """
        if "tree_input_ids" not in inputs:
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            return model(input_ids=ids, attention_mask=mask, use_cache=False).logits.squeeze(-1)
        plan = TreePlan(inputs["tree_ends"], inputs["tree_position_ids"])
        outputs = model(
            input_ids=inputs["tree_input_ids"], position_ids=inputs["tree_position_ids"], use_cache=False,
            **attend_as_tree(self.accelerator.unwrap_model(model), plan),
        )  # fmt: skip
        return outputs.logits.view(-1)[inputs["tree_index"]]

    def values(self, rows: Dataset) -> list[list[float]]:
        """
        What the model says of the thoughts of chains, computed by every process for itself.

        Args:
            rows (`~datasets.Dataset`): Of [`~selection.values.value_rows`], all of them, however long.

        Returns:
            `list[list[float]]`: For every row the values of its thoughts.
        """
        tokenized = rows.map(
            partial(_tokenize, tokenizer=self.processing_class), remove_columns=rows.column_names, desc="Tokenizing"
        )
        size, found, model = self.args.per_device_eval_batch_size, [], self.model
        was_training = model.training
        model.eval()
        for start in range(0, len(tokenized), size):
            examples = [tokenized[i] for i in range(start, min(start + size, len(tokenized)))]
            batch = self._prepare_inputs(self.data_collator(examples))
            with torch.no_grad(), self.accelerator.autocast():
                scores = self.logits(model, batch).float().sigmoid()
            found += [row[example["places"]].tolist() for row, example in zip(scores.cpu(), examples, strict=True)]
        model.train(was_training)
        return found

    def create_model_card(self, *args, **kwargs):
        """TRL's card, with the loss, how the model was judged, and how it is asked."""
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            add_value_sections(Path(self.args.output_dir) / "README.md", self.report)


@dataclass
class ValueCollator:
    """
    Batches of tokenized chains: padded rows, and beside them the same tokens packed as trees.

    Args:
        pad_token_id (`int`): What rows are padded with.
        is_packing (`bool`): Whether they are packed besides (see [`~tree_packing.pack`]); `tree_index` then says for
            every token of every row where it is.
    """

    pad_token_id: int
    is_packing: bool

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        """Collate some chains."""
        rows = [example["input_ids"] for example in examples]
        width = max(map(len, rows))
        input_ids = torch.full((len(rows), width), self.pad_token_id)
        mask = torch.zeros_like(input_ids)
        labels = torch.full((len(rows), width), UNKNOWN)
        for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
            input_ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
            for place, value in zip(example["places"], example["values"], strict=True):
                if value is not None:
                    labels[i, place] = value
        batch = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
        if self.is_packing:
            groups = [tuple(example["input_ids"][: example["prompt_length"]]) for example in examples]
            batch |= pack([[*row, row[-1]] for row in rows], groups)  # its index is that of the token before each
        return batch


def _split(example: dict) -> tuple[list[int], list[list[int]]]:
    """Prompt and chain, as batches that keep trees together are made of."""
    ids, length = example["input_ids"], example["prompt_length"]
    return ids[:length], [ids[length:]]


def load_with_head(name: str, args: ValueConfig):
    """
    A model with a scalar head: a new one, drawn by the seed, unless it has one. Without dropout, as trees are packed.

    Args:
        name (`str`): Hub name or directory.
        args ([`ValueConfig`]): How it is loaded.
    """
    set_seed(args.seed)
    options = {"dtype": torch.float32, "trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
    options["dtype"] = options["dtype"] or torch.float32
    config = AutoConfig.from_pretrained(
        name, num_labels=1, revision=options.get("revision"), trust_remote_code=args.trust_remote_code
    )
    config.classifier_dropout = 0.0  # which most families' configurations do not know, and their heads look for
    return AutoModelForTokenClassification.from_pretrained(name, config=config, **options)


def tokenize_values(rows: Dataset, tokenizer, max_length: int | None, name: str = "rows") -> Dataset:
    """
    Token ids of chains, and where their thoughts end.

    Args:
        rows (`~datasets.Dataset`): Of [`~selection.values.value_rows`].
        tokenizer (`~transformers.PreTrainedTokenizerBase`): A fast one, with a chat template.
        max_length (`int`, *optional*): Longer chains are left out, and counted.
        name (`str`): What errors call the rows.

    Returns:
        `~datasets.Dataset`: `input_ids`, `prompt_length`, and for every thought `places` (its last token) and
        `values`.

    Raises:
        InvalidInputError: Other rows, a slow tokenizer, or nothing that fits.
    """
    tokenize = partial(_tokenize, tokenizer=tokenizer)
    fitting = tokenize_fitting(rows, tokenize, COLUMNS, "hf_treecot.selection.values.value_rows", max_length, name)
    if not any(value is not None for row in fitting["values"] for value in row):
        raise InvalidInputError(f"{name}: there is no value in {len(fitting)} chains (max_length={max_length})")
    return fitting


def _tokenize(row: dict, tokenizer) -> dict:
    chain = encode_thoughts(tokenizer, row["prompt"], row["thoughts"])
    return {
        "input_ids": chain.ids, "prompt_length": chain.prompt_length, "places": chain.last_tokens,
        "values": row["values"],
    }  # fmt: skip
