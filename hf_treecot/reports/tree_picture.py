"""A picture of a tree."""

import textwrap
from pathlib import Path

from ..errors import InvalidInputError
from ..mcts.tree import ROOT, Tree


KIND_COLOURS = {
    "problem": "#d9d9d9",
    "sub_task": "#c6dbef",
    "thinking": "#eff3ff",
    "hypothesis": "#dadaeb",
    "double_check": "#fdd0a2",
    "reflection": "#fcbba1",
    "thinking_from_scratch": "#fee6ce",
    "reclarify": "#e5d8bd",
    "answer": "#ffffff",
}


LARGEST, DEEPEST = 12_000, 200  # rows times columns, and columns: a picture of a gigabyte, of 65,536 pixels a side


def draw_tree(tree: Tree, path: Path) -> None:
    """
    Draw a tree as a picture: kinds by colour, visits by line width, right and wrong answers by border.

    Args:
        tree ([`Tree`]): A finished tree.
        path (`Path`): Where the picture goes; its suffix is the format (`.png`, `.svg`).

    Raises:
        InvalidInputError: The format is unknown, there is no such directory, or the tree is too large for a picture.
    """
    from matplotlib.figure import Figure

    places = _places(tree)
    height, depth = max(y for _, y in places) + 1, max(x for x, _ in places) + 1
    if height * depth > LARGEST or depth > DEEPEST:
        raise InvalidInputError(
            f"tree {tree.tree_id!r}: {len(tree.nodes)} thoughts, {depth:g} deep, are too many for a "
            "picture; look at it with `treecot space`"
        )
    figure = Figure(figsize=(2.9 * depth, 0.62 * height + 0.8), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in formats or not path.parent.is_dir():
        raise InvalidInputError(
            f"output={str(path)!r}: give a file in an existing directory, with one of the suffixes "
            f"{', '.join(sorted(formats))}"
        )
    axes = figure.add_subplot()
    for node_id, node in enumerate(tree.nodes):
        x, y = places[node_id]
        if node_id != ROOT:
            parent_x, parent_y = places[node.parent]
            width = 0.5 + 3.5 * node.visit_count / max(1, tree.nodes[ROOT].visit_count)
            axes.plot(
                [parent_x, parent_x + 0.82, x], [parent_y, parent_y, y], color="#9e9e9e", linewidth=width, zorder=1
            )
        border = "#9e9e9e" if node.reward is None else "#1a9850" if node.reward > 0.5 else "#d73027"
        colour = KIND_COLOURS.get(node.kind, "#ffffff")
        text = tree.problem.prompt if node_id == ROOT else node.text
        text = "".join(letter if letter.isprintable() else " " for letter in text)  # no font has the others
        label = "\n".join(textwrap.wrap(text.replace("$", r"\$"), 38, max_lines=2, placeholder=" …"))
        statistics = f"{node.kind.replace('_', '-')}  N={node.visit_count}  v/N={node.value:.2f}"
        axes.text(
            x, y, f"{statistics}\n{label}", fontsize=6.5, va="center", zorder=2, family="DejaVu Sans",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": border,
                  "linewidth": 1.0 if node.reward is None else 2.2},
        )  # fmt: skip
    axes.set_xlim(-0.05, depth)
    axes.set_ylim(height - 0.4, -0.6)
    axes.axis("off")
    figure.savefig(path, dpi=110)


def _places(tree: Tree) -> list[tuple[int, float]]:
    """Where every node goes: its depth, and a row; leaves one below the other, parents amid their children."""
    depths, rows = [0] * len(tree.nodes), [0.0] * len(tree.nodes)
    next_row, stack = 0.0, [ROOT]
    while stack:  # without recursion, since chains can be long
        node_id = stack.pop()
        children = tree.nodes[node_id].children
        if not children:
            rows[node_id], next_row = next_row, next_row + 1
        for child in reversed(children):
            depths[child] = depths[node_id] + 1
            stack.append(child)
    for node_id in reversed(range(len(tree.nodes))):  # children come after their parents
        if children := tree.nodes[node_id].children:
            rows[node_id] = (rows[children[0]] + rows[children[-1]]) / 2
    return list(zip(depths, rows, strict=True))
