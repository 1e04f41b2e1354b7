"""What is learnt of a row, token for token, where a chat template would make something else of it.

TRL renders prompt and completion as one conversation. The templates of reasoning models rewrite think blocks in it:
a chain would lose its thoughts, or an answer without thoughts get an empty block that nobody wrote.
"""

from collections.abc import Sequence
from functools import partial

from datasets import Dataset
from trl import is_conversational

from ..engines.chat_template import render_target, rewrites_thoughts


def render_row(tokenizer, prompt: list[dict], completion: list[dict], **options) -> tuple[str, str]:
    """
    What a model sees of a row, and what it learns to write then.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): With a chat template.
        prompt, completion (`list[dict]`): Messages.
        options: Of the template.
    """
    if rewrites_thoughts(tokenizer) and len(completion) == 1:
        return render_target(tokenizer, prompt, completion[0]["content"], **options)
    before = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **options)
    text = tokenizer.apply_chat_template(prompt + completion, tokenize=False, **options)
    shared = _shared(before, text)
    return text[:shared], text[shared:]


def tokenize_row(tokenizer, prompt: list[dict], completion: list[dict], **options) -> tuple[list[int], int]:
    """
    The tokens of [`render_row`].

    Returns:
        `tuple[list[int], int]`: All token ids, and how many of them are the prompt's. As in TRL, a token that spans
            the end of the prompt is the completion's.
    """
    before, after = render_row(tokenizer, prompt, completion, **options)
    seen, ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, before + after))
    return ids, _shared(seen, ids)


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


def _shared(one: Sequence, other: Sequence) -> int:
    """How much two texts, or two lists of tokens, have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


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
