"""Draw a tree of a run as a picture.

treecot draw --run runs/demo                  # a tree with right and wrong chains
treecot draw --run runs/demo --problem letters-7-3 --output tree.svg
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidInputError
from ..hub.dataset import load_trees
from ..mcts.tree import Tree
from ..reports.tree_picture import draw_tree
from .parser import parse, run


logger = logging.getLogger(__name__)


READABLE = 30  # nodes


@dataclass
class DrawArguments:
    """Which tree, and where its picture goes."""

    run: str = field(default="runs/demo", metadata={"help": "Directory of a run, or of its dataset."})
    problem: str | None = field(
        default=None, metadata={"help": "Id of the problem. Default: the fullest readable tree with right and wrong."}
    )
    output: str | None = field(default=None, metadata={"help": "The picture. Default: tree.png in the run."})


def choose(arguments: DrawArguments) -> Tree:
    """The tree that was asked for, or one that shows most in one picture."""
    best, best_score = None, -1
    for tree in load_trees(arguments.run, on_malformed=logger.warning):
        if tree.problem.problem_id == arguments.problem:
            return tree
        right, wrong = len(tree.answers(True)), len(tree.answers(False))
        kinds = len({node.kind for node in tree.nodes})
        score = (len(tree.nodes) <= READABLE) * (10 * min(right, wrong, 3) + 5 * kinds + right + wrong)
        if arguments.problem is None and score > best_score:
            best, best_score = tree, score
    if best is None:
        raise InvalidInputError(f"problem={arguments.problem!r}: there is no such tree in {arguments.run!r}")
    return best


def main(args: list[str] | None = None) -> None:
    """Draw it."""
    arguments = parse("draw", DrawArguments, __doc__, args)
    output = Path(arguments.output) if arguments.output else Path(arguments.run) / "tree.png"
    run(lambda: draw_tree(choose(arguments), output))
    print(f"A picture of a tree is in {output}")
