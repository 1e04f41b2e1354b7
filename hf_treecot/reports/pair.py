"""A pair of a run, with the place marked where its chains part. Texts of models are untrusted and go into fences."""

import logging
import re
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..hub.dataset import dataset_directory, read_tables
from ..hub.dataset_card import EXAMPLE_LENGTH, TreeStatistics, example, fenced, inline


logger = logging.getLogger(__name__)


MARK = "▶▶▶ from here on they differ"
BEFORE = 400  # characters of what two chains share that are shown
LOOKED_AT = 500  # rows


def pair_sections(run: Path, statistics: TreeStatistics) -> list[str]:
    """
    A preference row, as it is trained on; of trees without such rows a right and a wrong chain.

    Args:
        run (`Path`): Directory of a run.
        statistics ([`TreeStatistics`]): Of its trees.
    """
    if row := _choose(run):
        prompt, chosen, rejected = (row[name][0]["content"] for name in ("prompt", "chosen", "rejected"))
        shared, lengths = row["shared_prefix_length"], (row["chosen_length"], row["rejected_length"])
        return [
            "## A pair",
            "One problem, the right chain that is chosen and the wrong one that is rejected: "
            f"{inline(lengths[0])} and {inline(lengths[1])} tokens, of which they share the first {inline(shared)}.",
            fenced(prompt),
            *map(fenced, mark_difference(chosen, rejected)),
        ]
    texts = example(statistics.example)
    return ["## A right and a wrong chain of one problem", *texts.values()] if texts else []


def mark_difference(first: str, second: str) -> tuple[str, str]:
    """
    Two texts, each with [`MARK`] on a line of its own before the first word that differs.

    Args:
        first, second (`str`): Texts. Of a long beginning that they share only the end is kept.

    Returns:
        `tuple[str, str]`: The marked texts.
    """
    same = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    shared = first[:same]
    if len(shared) < max(len(first), len(second)):
        shared = re.match(r"(.*[\s>])?", shared, re.DOTALL)[0]  # back to the beginning of a word
    before = shared if len(shared) <= BEFORE else f"…{shared[-BEFORE:]}"
    before = f"{before.rstrip()}\n" if before.strip() else ""
    return tuple(f"{before}{MARK}\n{text[len(shared) :]}" for text in (first, second))


def _choose(run: Path) -> dict[str, Any] | None:
    """The first pair whose chains begin alike and are shown whole; without such a one the first."""
    try:
        tables = read_tables(dataset_directory(run), "preference")
        rows = list(islice((row for table in tables for row in table.to_pylist()), LOOKED_AT))
    except InvalidInputError as error:
        logger.warning("no pair is shown: %s", error)
        return None
    readable = (
        row
        for row in rows
        if row["shared_prefix_length"]
        and max(len(row[name][0]["content"]) for name in ("chosen", "rejected")) < EXAMPLE_LENGTH - len(MARK)
    )
    return next(readable, rows[0] if rows else None)
