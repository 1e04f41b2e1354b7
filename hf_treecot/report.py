"""What a build came to, for people: a table in the terminal, and a picture of a tree.

This room only shows; it must not compute anything that others need.
"""

import textwrap
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .builder import BuildReport
from .errors import InvalidInputError
from .tree import ROOT, Tree


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


def summary(report: BuildReport) -> list[tuple[str, str]]:
    """The figures of a build, each with its name, in order."""
    sums, trees = Counter(report.statistics), max(report.trees, 1)
    return [
        ("trees", f"{report.trees}"),
        ("  with a right chain", f"{report.with_right} ({report.with_right / trees:.0%})"),
        ("  with a right and a wrong chain", f"{report.with_pair} ({report.with_pair / trees:.0%})"),
        ("problems that failed", f"{len(report.failures)}"),
        ("right / wrong chains", f"{sums['right']} / {sums['wrong']}"),
        ("chains without an answer", f"{sums['dead_ends']}"),
        ("simulations", f"{sums['simulations']}"),
        ("thoughts asked / from the journal", f"{report.asked} / {report.replayed}"),
        ("generated tokens", f"{sums['generated_tokens']}"),
        ("rows: trees / sft / preference", " / ".join(str(count) for count in report.rows.values())),
        ("time", f"{report.seconds:.0f} s"),
    ]


def print_report(report: BuildReport, output_dir: Path) -> None:
    """
    Print the final table of a build, its failures, and what to type next.

    Args:
        report ([`BuildReport`]): What [`build_trees`] returned.
        output_dir (`Path`): The run's directory.
    """
    console = Console(highlight=False)
    table = Table(title="Trees of thoughts", title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, value in summary(report):
        table.add_row(name, value)
    console.print(table)
    for reason, count in sorted(report.rejections.items()):
        console.print(f"  left out: {count} x {reason}")
    for problem_id, reason in list(report.failures.items())[:10]:
        console.print(f"  [red]failed[/red]: {escape(problem_id)}: {escape(reason)}", soft_wrap=True)
    dataset = output_dir / "dataset"
    console.print(f"\nThe dataset is in {dataset}. Look at it with\n", soft_wrap=True)
    code = f"from datasets import load_dataset; print(load_dataset('{dataset}', 'preference')['train'][0])"
    command = f'python -c "{code}"'
    console.print(f"  {escape(command)}\n", soft_wrap=True)


def draw_tree(tree: Tree, path: Path) -> None:
    """
    Draw a tree as a picture: kinds by colour, visits by line width, right and wrong answers by border.

    Args:
        tree ([`Tree`]): A finished tree.
        path (`Path`): Where the picture goes; its suffix is the format (`.png`, `.svg`).

    Raises:
        InvalidInputError: The format is unknown, or there is no such directory.
    """
    from matplotlib.figure import Figure

    places = _places(tree)
    height, depth = max(y for _, y in places) + 1, max(x for x, _ in places) + 1
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
        text = tree.problem.prompt if node_id == ROOT else node.text
        label = "\n".join(textwrap.wrap(text.replace("$", r"\$"), 38, max_lines=2, placeholder=" …"))
        statistics = f"{node.kind.replace('_', '-')}  N={node.visit_count}  v/N={node.value:.2f}"
        axes.text(
            x, y, f"{statistics}\n{label}", fontsize=6.5, va="center", zorder=2, family="DejaVu Sans",
            bbox={"boxstyle": "round,pad=0.35", "facecolor": KIND_COLOURS[node.kind], "edgecolor": border,
                  "linewidth": 1.0 if node.reward is None else 2.2},
        )  # fmt: skip
    axes.set_xlim(-0.05, depth)
    axes.set_ylim(height - 0.4, -0.6)
    axes.axis("off")
    figure.savefig(path, dpi=110)


def _places(tree: Tree) -> list[tuple[int, float]]:
    """Where every node goes: its depth, and a row; leaves one below the other, parents amid their children."""
    places: dict[int, tuple[int, float]] = {}
    next_row = 0.0

    def place(node_id: int, depth: int) -> float:
        nonlocal next_row
        children = tree.nodes[node_id].children
        if children:
            rows = [place(child, depth + 1) for child in children]
            row = (rows[0] + rows[-1]) / 2
        else:
            row, next_row = next_row, next_row + 1
        places[node_id] = (depth, row)
        return row

    place(ROOT, 0)
    return [places[i] for i in range(len(tree.nodes))]
