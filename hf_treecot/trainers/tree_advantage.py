"""An objective on whole trees: thoughts after which right answers are likelier go up, others down."""

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTTrainer

from ..engines.chat_template import encode_thoughts
from ..errors import InvalidInputError
from .losses import advantage_score
from .model_card import TREE_RL_PAPER
from .packing_config import check_config, default_config
from .targets import tokenize_fitting
from .tree_sft import TreeSFTConfig, TreeSFTTrainer
from .trl_compat import ModelCardFacts, name_arguments


COLUMNS = ("prompt", "completion", "thoughts", "advantages", "chains")


@dataclass
class TreeAdvantageConfig(TreeSFTConfig):
    r"""
    Everything that [`TreeSFTConfig`] takes, and where thoughts are no longer pushed down.

    Args:
        clip (`float`, *optional*, defaults to `0.1`):
            A token of a thought with a negative advantage is made less likely only while its probability is above
            this, in (0, 1): without a reference nothing else would keep a model from unlearning to write. Near 1
            nothing is pushed down, and what is left is SFT that weighs thoughts by their advantage.

    Raises:
        InvalidInputError: A value is out of its range.
    """

    clip: float = field(
        default=0.1, metadata={"help": "Push tokens of bad thoughts down only while their probability is above this."}
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.clip < 1:
            raise InvalidInputError(f"clip={self.clip} is out of range: it must be above 0 and below 1")


class TreeAdvantageTrainer(ModelCardFacts, TreeSFTTrainer):
    """
    Trains on all verified chains of trees at once, each thought weighed by its advantage; see [`advantage_score`].

    Every thought counts once, in however many chains it is. The loss is divided by the tokens of all chains.

    Args:
        model (`str` or `~transformers.PreTrainedModel`): As in TRL.
        args ([`TreeAdvantageConfig`], *optional*): Configuration.
        train_dataset (`~datasets.Dataset`): Rows of [`~selection.advantages.advantage_rows`].
        **kwargs: As in TRL.

    Raises:
        InvalidInputError: Another configuration or other rows, rows whose thoughts are all worth the same, or as
            [`TreeSFTTrainer`].

    Example:

    ```python
    rows = [row for tree in load_trees("runs/demo") for row in advantage_rows(tree)]
    trainer = TreeAdvantageTrainer(
        "Qwen/Qwen2.5-1.5B-Instruct", TreeAdvantageConfig("my-model"), train_dataset=Dataset.from_list(rows)
    )
    trainer.train()
    ```
    """

    config_class = TreeAdvantageConfig

    method = "weighted SFT on all chains of trees by the advantages of thoughts"
    paper = TREE_RL_PAPER
    tags: ClassVar[list[str]] = ["trl", "sft", "tree-advantage", "tree-cot"]

    def __init__(self, model, args: TreeAdvantageConfig | None = None, *others, **kwargs):
        kwargs = name_arguments(SFTTrainer, 2, others, kwargs)
        args = default_config(self, model) if args is None else args
        check_config(self, args)
        if kwargs.get("processing_class") is None:
            kwargs["processing_class"] = AutoTokenizer.from_pretrained(
                model if isinstance(model, str) else model.config.name_or_path
            )
        for name in ("train_dataset", "eval_dataset"):
            if isinstance(kwargs.get(name), Dataset):
                kwargs[name] = tokenize_thoughts(kwargs[name], kwargs["processing_class"], args.max_length, name)
        args.remove_unused_columns = False  # TRL knows no weights
        super().__init__(model, args, **kwargs)
        self.data_collator = _WeightCollator(self.data_collator)

    def weigh(self, outputs, weights: torch.Tensor):
        """Log-probabilities as [`advantage_score`] has them."""
        log_probs = outputs.log_probs
        outputs.log_probs = advantage_score(log_probs, weights[:, -log_probs.shape[1] :].to(log_probs), self.args.clip)
        return outputs


@dataclass
class _WeightCollator:
    """Batches of another collator, and the weight of every token in them."""

    collator: Callable

    def __call__(self, examples: list[dict]) -> dict:
        batch = self.collator([{key: row[key] for key in ("input_ids", "labels")} for row in examples])
        weights = torch.zeros(batch["input_ids"].shape)
        for row, example in zip(weights, examples, strict=True):
            row[: len(example["weights"])] = torch.tensor(example["weights"])
        return {**batch, "weights": weights}


def tokenize_thoughts(rows: Dataset, tokenizer, max_length: int | None, name: str = "rows") -> Dataset:
    """
    Token ids, labels and weights of chains whose thoughts have advantages.

    Args:
        rows (`~datasets.Dataset`): Of [`~selection.advantages.advantage_rows`].
        tokenizer (`~transformers.PreTrainedTokenizerBase`): A fast one, with a chat template.
        max_length (`int`, *optional*): Longer chains are left out, and counted.
        name (`str`): What errors call the rows.

    Returns:
        `~datasets.Dataset`: `input_ids`, `labels` and `weights`: a token's is its thought's advantage over the number
        of chains that share the thought; 0 in the prompt. What a template adds after a chain is of its last thought.

    Raises:
        InvalidInputError: Other rows, a slow tokenizer, nothing that fits, or no thought that has an advantage.
    """
    tokenize = partial(_tokenize, tokenizer=tokenizer)
    fitting = tokenize_fitting(
        rows, tokenize, COLUMNS, "hf_treecot.selection.advantages.advantage_rows", max_length, name
    )
    if not any(weight for row in fitting["weights"] for weight in row):
        raise InvalidInputError(
            f"{name}: no thought of {len(fitting)} chains has an advantage (max_length={max_length}): "
            "trees need right and wrong answers"
        )
    return fitting


def _tokenize(row: dict, tokenizer) -> dict[str, list]:
    chain = encode_thoughts(tokenizer, row["prompt"], row["thoughts"])
    weights = [advantage / chains for advantage, chains in zip(row["advantages"], row["chains"], strict=True)]
    labels, of_tokens = [], []
    for token, first in zip(chain.ids, chain.starts, strict=True):
        is_learnt = first >= chain.prompt_end
        labels.append(token if is_learnt else -100)
        of_tokens.append(weights[min(bisect(chain.ends, first), len(weights) - 1)] if is_learnt else 0.0)
    return {"input_ids": chain.ids, "labels": labels, "weights": of_tokens}
