"""What is learnt of a row, token for token, where a chat template would make something else of it.

TRL renders prompt and completion as one conversation. The templates of reasoning models rewrite think blocks in it:
a chain would lose its thoughts, or an answer without thoughts get an empty block that nobody wrote.
"""

from collections.abc import Callable, Sequence
from functools import partial

from datasets import Dataset
from transformers.utils import logging
from trl import is_conversational

from ..engines.chat_template import common_length, render_row, rewrites_thoughts
from ..errors import InvalidInputError


logger = logging.get_logger(__name__)


def tokenize_row(tokenizer, prompt: list[dict], completion: list[dict], **options) -> tuple[list[int], int]:
    """
    The tokens of [`render_row`].

    Returns:
        `tuple[list[int], int]`: All token ids, and how many of them are the prompt's. As in TRL, a token that spans
            the end of the prompt is the completion's.
    """
    before, after = render_row(tokenizer, prompt, completion, **options)
    seen, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, before + after))
    return ids, common_length(seen, ids)


def tokenize_chains(rows: Dataset, tokenizer) -> Dataset:
    """
    SFT rows as TRL takes them when they are tokenized; as they are if it renders them as they are meant.

    Args:
        rows (`~datasets.Dataset`): `prompt` and `completion`.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Of the model.
    """
    if not _is_rewritten(rows, tokenizer, ("completion",)):
        return rows
    tokenize = partial(_tokenize_chain, tokenizer=tokenizer)
    return rows.map(tokenize, remove_columns=rows.column_names, desc="Tokenizing chains as they are meant")


def tokenize_pairs(rows: Dataset, tokenizer) -> Dataset:
    """
    Preference rows as TRL takes them when they are tokenized; as they are if it renders them as they are meant.

    Args:
        rows (`~datasets.Dataset`): `prompt`, `chosen` and `rejected`.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Of the model.
    """
    if not _is_rewritten(rows, tokenizer, ("chosen", "rejected")):
        return rows
    return rows.map(partial(_tokenize_pair, tokenizer=tokenizer), desc="Tokenizing pairs as they are meant")


def tokenize_fitting(
    rows: Dataset,
    tokenize: Callable[[dict], dict],
    columns: Sequence[str],
    maker: str,
    max_length: int | None,
    name: str,
) -> Dataset:
    """
    Rows of thoughts as token ids, without those that are too long; how many these are is said.

    Args:
        rows (`~datasets.Dataset`): Chains of trees.
        tokenize (`Callable`): Gives a row's `input_ids`, and what else is learnt from.
        columns (`Sequence[str]`): What the rows must have.
        maker (`str`): What makes such rows of trees, for errors.
        max_length (`int`, *optional*): Longer chains are left out.
        name (`str`): What errors call the rows.

    Raises:
        InvalidInputError: A column is missing.
    """
    if missing := [column for column in columns if column not in rows.column_names]:
        raise InvalidInputError(
            f"{name}: there is no column {missing[0]!r} (it has {', '.join(rows.column_names)}): make rows of trees "
            f"with {maker}"
        )
    tokenized = rows.map(tokenize, remove_columns=rows.column_names, desc=f"Tokenizing {name}")
    fitting = tokenized
    if max_length is not None:
        fitting = tokenized.filter(lambda row: len(row["input_ids"]) <= max_length, desc="Leaving out long chains")
    if len(fitting) < len(tokenized):
        left_out = len(tokenized) - len(fitting)
        logger.warning(f"{left_out} of {len(tokenized)} chains are left out: longer than max_length={max_length}.")
    return fitting


def _is_rewritten(rows: Dataset, tokenizer, columns: tuple[str, ...]) -> bool:
    """Whether rows are conversations of which a template may drop thoughts; those with tools, or of several turns, or
    without a prompt are left to TRL."""
    if not hasattr(tokenizer, "get_chat_template") or not rewrites_thoughts(tokenizer):
        return False
    if not {"prompt", *columns} <= set(rows.column_names) or "tools" in rows.column_names or not len(rows):
        return False
    return is_conversational(rows[0]) and all(len(rows[0][column]) == 1 for column in columns)


def _tokenize_chain(row: dict, tokenizer) -> dict[str, list[int]]:
    options = row.get("chat_template_kwargs") or {}
    ids, prompt = tokenize_row(tokenizer, row["prompt"], row["completion"], **options)
    return {"input_ids": ids, "completion_mask": [0] * prompt + [1] * (len(ids) - prompt)}


def _tokenize_pair(row: dict, tokenizer) -> dict[str, list[int]]:
    options = row.get("chat_template_kwargs") or {}
    sides = [tokenize_row(tokenizer, row["prompt"], row[side], **options) for side in ("chosen", "rejected")]
    (chosen, _), (rejected, _) = sides
    prompt = min(shared for _, shared in sides)
    return {"prompt_ids": chosen[:prompt], "chosen_ids": chosen[prompt:], "rejected_ids": rejected[prompt:]}
