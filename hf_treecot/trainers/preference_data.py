"""Preference rows checked before anything is trained on them."""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset
from transformers.utils import logging

from ..errors import InvalidInputError


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


def check_tokens(
    dataset: Dataset, num_rows: int, name: str, max_length: int | None, max_truncated_share: float
) -> None:
    """
    Report how many rows are cut at `max_length`, and refuse if they are too many.

    Args:
        dataset (`~datasets.Dataset`): Tokenized: `prompt_ids`, `chosen_ids`, `rejected_ids`.
        num_rows (`int`): Rows before TRL left out those whose prompt alone fills `max_length`.
        name (`str`): What to call it in errors.
        max_length (`int`, *optional*): Tokens of a row.
        max_truncated_share (`float`): The share of rows that may be cut.

    Raises:
        InvalidInputError: A prompt fills `max_length`, or more rows are cut than may be.
    """
    if max_length is None:
        return
    if dropped := num_rows - len(dataset):
        raise InvalidInputError(
            f"max_length={max_length}: the prompt alone fills it in {dropped} of {num_rows} rows of the {name} "
            "dataset; raise max_length or leave these rows out"
        )
    cut = sum(length > max_length for length in _lengths(dataset))
    if cut > max_truncated_share * num_rows:
        raise InvalidInputError(
            f"max_length={max_length} would cut {cut} of {num_rows} rows of the {name} dataset, more than "
            f"max_truncated_share={max_truncated_share}: raise max_length (the longest row has "
            f"{max(_lengths(dataset))} tokens), or select shorter chains"
        )
    if cut:
        logger.warning(f"{cut} of {num_rows} rows of the {name} dataset are cut at max_length={max_length}.")


def _lengths(dataset: Dataset) -> Iterable[int]:
    columns = dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])
    return (len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in columns)


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "messages" if isinstance(value, list) else type(value).__name__


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "".join(str(message.get("content") or "") for message in value or [])
