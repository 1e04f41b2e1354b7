"""Chains with the advantage of every thought, as the search saw it: rows for [`~trainers.TreeAdvantageTrainer`].

A pure function of one tree. It must not know how rows are tokenized, nor what a loss makes of an advantage.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..mcts.tree import ROOT, Tree
from .formats import write_pieces


def advantage_rows(tree: Tree, format: str = "tags") -> Iterator[dict[str, Any]]:
    """
    One row for every chain of a tree that ends in a verified answer, right or wrong.

    The advantage of a thought is its value less that of the thought before it, where a value is the mean reward of the
    simulations that went through: v/N of the search. It says how much likelier a right answer became by it, and is 0
    for all of a tree whose answers are all right or all wrong. TreeRL (arXiv:2506.11902), Tree-GRPO (arXiv:2509.21240)
    and Tree-OPO (arXiv:2509.09284) train on advantages in trees, too, of chains that the model writes while it learns;
    here nothing is written any more.

    Args:
        tree ([`Tree`]): A finished tree.
        format (`str`): How chains are written; see [`~formats.write_pieces`].

    Returns:
        `Iterator[dict]`: `prompt` and `completion` as message lists, `tree_id`, `thoughts` (texts that make up the
        completion), and for each `advantages`, in [-1, 1], and `chains`, how many rows of the tree it is in.
    """
    leaves = sorted(tree.answers(right=True) + tree.answers(right=False))
    paths = [[node_id for node_id in tree.path(leaf) if node_id != ROOT] for leaf in leaves]
    chains = Counter(node_id for path in paths for node_id in path)
    for path in paths:
        nodes = [tree.nodes[node_id] for node_id in path]
        pieces = write_pieces(nodes, format)
        yield {
            "prompt": [{"role": "user", "content": tree.problem.prompt}],
            "completion": [{"role": "assistant", "content": "".join(pieces)}],
            "tree_id": tree.tree_id,
            "thoughts": pieces,
            "advantages": [node.value - tree.nodes[node.parent].value for node in nodes],
            "chains": [chains[node_id] for node_id in path],
        }
