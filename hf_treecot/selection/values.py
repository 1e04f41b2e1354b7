"""Chains with what a search found every thought to be worth: rows for [`~trainers.ValueTrainer`].

A pure function of one tree. It must not know how rows are tokenized, nor what is learnt of them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ..mcts.tree import Tree
from .formats import write_pieces
from .steps import is_correction


def value_rows(tree: Tree, format: str = "tags", corrections: bool = True) -> Iterator[dict[str, Any]]:
    """
    One row for every chain of a tree that ends in a verified answer, right or wrong.

    Args:
        tree ([`Tree`]): A finished tree.
        format (`str`): How chains are written; see [`~formats.write_pieces`].
        corrections (`bool`): Also chains with a thought that was added since an answer was wrong; see
            [`~steps.step_rows`].

    Returns:
        `Iterator[dict]`: `prompt` and `completion` as message lists, `tree_id`, `thoughts` (texts that make up the
        completion), and for each `values` (v/N of the search: of an answer its reward; None in all chains but the
        first that a thought is in, so that it counts once) and `log_probabilities` (mean over the tokens that were
        generated up to its end; None where the engine gave none). The last thought of a row is its answer.
    """
    known: set[int] = set()
    for leaf in sorted(tree.answers(right=True) + tree.answers(right=False)):
        path = tree.path(leaf)[1:]
        if not corrections and any(is_correction(tree, node) for node in path):
            continue
        pieces = write_pieces([tree.nodes[node] for node in path], format)
        yield {
            "prompt": [{"role": "user", "content": tree.problem.prompt}],
            "completion": [{"role": "assistant", "content": "".join(pieces)}],
            "tree_id": tree.tree_id,
            "thoughts": pieces,
            "values": [None if node in known else tree.nodes[node].value for node in path],
            "log_probabilities": [_mean_log_probability(tree, node) for node in path],
        }
        known.update(path)


def agreed(rows: Sequence[dict[str, Any]], scores: Sequence[Sequence[float]]) -> tuple[list[dict[str, Any]], int]:
    """
    Rows without the values that a critic contradicts: one of the two says that the thought leads to a right answer
    more often than not, and the other that it does not. Monte Carlo's values are noisy where few simulations were,
    but what an answer is worth is known, by a rule; that stays. Consensus filtering of [Zhang et al., 2025](https://arxiv.org/abs/2501.07301).

    Args:
        rows (`Sequence[dict]`): Of [`value_rows`].
        scores (`Sequence[Sequence[float]]`): What the critic says of their thoughts, from 0 to 1.

    Returns:
        `tuple[list[dict], int]`: The rows, with None for values that are left out, and how many these are.
    """
    kept, count = [], 0
    for row, of_row in zip(rows, scores, strict=True):
        pairs = list(zip(row["values"], of_row, strict=True))
        thoughts = pairs[:-1]  # the last is the answer
        against = [value is not None and (value > 0.5) is not (score > 0.5) for value, score in thoughts] + [False]
        count += sum(against)
        values = [None if is_against else value for is_against, (value, _) in zip(against, pairs, strict=True)]
        kept.append({**row, "values": values})
    return kept, count


def _mean_log_probability(tree: Tree, node_id: int) -> float | None:
    total, tokens = tree.log_probability(node_id), sum(tree.nodes[node].tokens for node in tree.path(node_id))
    return None if total is None or not tokens else total / tokens
