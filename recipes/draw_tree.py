"""Draw a tree of a run as a picture.

python recipes/draw_tree.py --run runs/demo                  # a tree with right and wrong chains
python recipes/draw_tree.py --run runs/demo --problem letters-7-3 --output tree.svg
"""

from dataclasses import dataclass, field
from pathlib import Path

from hf_treecot import recipe
from hf_treecot.dataset import load_trees
from hf_treecot.errors import InvalidInputError
from hf_treecot.report import draw_tree
from hf_treecot.tree import Tree


READABLE = 30  # nodes


@dataclass
class Arguments:
    """Arguments of draw_tree.py."""

    run: str = field(default="runs/demo", metadata={"help": "Directory of a run, or of its dataset."})
    problem: str | None = field(
        default=None, metadata={"help": "Id of the problem. Default: the fullest readable tree with right and wrong."}
    )
    output: str | None = field(default=None, metadata={"help": "The picture. Default: tree.png in the run."})


def choose(arguments: Arguments) -> Tree:
    """The tree that was asked for, or one that shows most in one picture."""
    best, best_score = None, -1
    for tree in load_trees(arguments.run):
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


def main() -> None:
    """Draw it."""
    arguments = recipe.parse(Arguments, __doc__)
    output = Path(arguments.output) if arguments.output else Path(arguments.run) / "tree.png"
    recipe.run(lambda: draw_tree(choose(arguments), output))
    print(f"A picture of a tree is in {output}")


if __name__ == "__main__":
    main()
