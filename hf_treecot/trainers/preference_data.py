"""Preference rows checked before anything is trained on them."""

from typing import Any

from datasets import Dataset
from transformers.utils import logging

from ..errors import InvalidInputError
from .pair_config import PairConfig


logger = logging.get_logger(__name__)


def check_rows(dataset: Dataset, name: str) -> None:
    """
    Refuse rows that nothing can be learnt from.

    Args:
        dataset (`~datasets.Dataset`): With `chosen` and `rejected`, and mostly `prompt`: texts or message lists.
        name (`str`): What to call it in errors.

    Raises:
        InvalidInputError: A column is missing, texts and message lists are mixed, an answer is empty, or chosen is
            the same as rejected.
    """
    if missing := {"chosen", "rejected"} - set(dataset.column_names):
        raise InvalidInputError(
            f"the {name} dataset has no column {sorted(missing)[0]!r} (it has {', '.join(dataset.column_names)}): "
            "use the `preference` configuration of a dataset of trees, or rename its columns"
        )
    columns = [column for column in ("prompt", "chosen", "rejected") if column in dataset.column_names]
    for index, row in enumerate(dataset.select_columns(columns)):
        kinds = {column: _kind(row[column]) for column in columns}
        if len(set(kinds.values())) > 1:
            described = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
            raise InvalidInputError(f"row {index} of the {name} dataset mixes schemas ({described}): use one for all")
        for column in ("chosen", "rejected"):
            if not _text(row[column]).strip():
                raise InvalidInputError(f"row {index} of the {name} dataset has an empty {column}: leave it out")
        if row["chosen"] == row["rejected"]:
            raise InvalidInputError(
                f"row {index} of the {name} dataset has the same text as chosen and as rejected: leave it out"
            )


def check_tokens(dataset: Dataset, num_rows: int, name: str, config: PairConfig) -> int:
    """
    Report how many rows are cut at `max_length`, and refuse if they are too many.

    Args:
        dataset (`~datasets.Dataset`): Tokenized: `prompt_ids`, `chosen_ids`, `rejected_ids`.
        num_rows (`int`): Rows before TRL left out those whose prompt alone fills `max_length`.
        name (`str`): What to call it in errors.
        config ([`PairConfig`]): `max_length` and the share of rows that it may cut.

    Returns:
        `int`: The tokens of the longest row, as it is trained on.

    Raises:
        InvalidInputError: A prompt fills `max_length`, more rows are cut than may be, or nothing that is left of a
            pair differs.
    """
    max_length = config.max_length
    filled, cut, longest = num_rows - len(dataset), 0, 0
    for index, row in enumerate(dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])):
        prompt, chosen, rejected = (len(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected"))
        length = prompt + max(chosen, rejected)
        longest = max(longest, length)
        filled += max_length is not None and prompt >= max_length
        cut += max_length is not None and length > max_length
        room = None if max_length is None or config.truncation_mode != "keep_start" else max(max_length - prompt, 1)
        if not chosen or not rejected or row["chosen_ids"][:room] == row["rejected_ids"][:room]:
            raise InvalidInputError(
                f"row {index} of the {name} dataset has an empty answer, or chosen and rejected have the same tokens "
                "as far as max_length reaches: leave it out"
            )
    if filled:
        raise InvalidInputError(
            f"max_length={max_length}: the prompt alone fills it in {filled} of {num_rows} rows of the {name} "
            "dataset; raise max_length or leave these rows out"
        )
    if cut > config.max_truncated_share * num_rows:
        raise InvalidInputError(
            f"max_length={max_length} would cut {cut} of {num_rows} rows of the {name} dataset, more than "
            f"max_truncated_share={config.max_truncated_share}: raise max_length (the longest row has {longest} "
            "tokens), or select shorter chains"
        )
    if cut:
        logger.warning(f"{cut} of {num_rows} rows of the {name} dataset are cut at max_length={max_length}.")
    return longest if max_length is None else min(longest, max_length)


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "messages" if isinstance(value, list) else type(value).__name__


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "".join(str(message.get("content") or message.get("tool_calls") or "") for message in value or [])
