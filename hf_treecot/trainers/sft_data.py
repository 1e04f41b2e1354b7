"""SFT rows checked before anything is trained on them: TRL cuts long ones without a word."""

from datasets import Dataset
from transformers.utils import logging

from ..errors import InvalidInputError
from .targets import tokenize_row


logger = logging.get_logger(__name__)
MAX_TRUNCATED_SHARE = 0.05


def check_completions(rows: Dataset, tokenizer, max_length: int | None) -> None:
    """
    Report how many rows are cut at `max_length`, and refuse if they are more than 5 %.

    A chain that is cut ends without an answer, which is what a model then learns.

    Args:
        rows (`~datasets.Dataset`): `prompt` and `completion` as message lists.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Of the model.
        max_length (`int`, *optional*): Tokens of a row.

    Raises:
        InvalidInputError: There are no rows, or too many are cut.
    """
    if not len(rows):
        raise InvalidInputError("the sft dataset is empty: build more trees, or give another split")
    if max_length is None:
        return
    lengths = [len(tokenize_row(tokenizer, row["prompt"], row["completion"])[0]) for row in rows]
    cut = sum(length > max_length for length in lengths)
    if cut > MAX_TRUNCATED_SHARE * len(rows):
        raise InvalidInputError(
            f"max_length={max_length} would cut {cut} of {len(rows)} rows, more than {MAX_TRUNCATED_SHARE:.0%}: raise "
            f"max_length (the longest row has {max(lengths)} tokens), or select shorter chains"
        )
    if cut:
        logger.warning(f"{cut} of {len(rows)} rows are cut at max_length={max_length}.")
