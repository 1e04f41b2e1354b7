"""What a build came to, for people: a table in the terminal.

This module only shows; it must not compute anything that others need.
"""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..building.builder import BuildReport


def summary(report: BuildReport) -> list[tuple[str, str]]:
    """The figures of a build, each with its name, in order."""
    sums, trees = Counter(report.statistics), max(report.trees, 1)
    unverifiable = [("chains that no verifier could judge", f"{sums['unverifiable']}")]
    return [
        ("trees", f"{report.trees}"),
        ("  with a right chain", f"{report.with_right} ({report.with_right / trees:.0%})"),
        ("  with a right and a wrong chain", f"{report.with_pair} ({report.with_pair / trees:.0%})"),
        ("problems that failed", f"{len(report.failures)}"),
        ("right / wrong chains", f"{sums['right']} / {sums['wrong']}"),
        ("chains without an answer", f"{sums['dead_ends']}"),
        *(unverifiable if sums["unverifiable"] else []),
        ("simulations", f"{sums['simulations']}"),
        ("thoughts asked / from the journal", f"{report.asked} / {report.replayed}"),
        ("generated tokens", f"{sums['generated_tokens']}"),
        *([("cost", f"{report.cost:.2f}")] if report.cost else []),
        *([("replies without a thought", f"{sums['malformed']}")] if sums["malformed"] else []),
        (f"rows: {' / '.join(report.rows)}", " / ".join(str(count) for count in report.rows.values())),
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
    if report.escaped_control_tokens:
        console.print(f"  made plain text: {report.escaped_control_tokens} control tokens in problems and thoughts")
    for reason, count in sorted(report.rejections.items()):
        console.print(f"  left out: {count} x {reason}")
    for problem_id, reason in list(report.failures.items())[:10]:
        console.print(f"  [red]failed[/red]: {escape(problem_id)}: {escape(reason[:300])}", soft_wrap=True)
    dataset = output_dir / "dataset"
    config = next((config for config in ("preference", "sft", "trees") if report.rows.get(config)), None)
    if config is None:
        console.print(f"\nThe dataset in {dataset} is empty.", soft_wrap=True)
        return
    console.print(f"\nThe dataset is in {dataset}. Look at it with\n", soft_wrap=True)
    code = f"from datasets import load_dataset; print(load_dataset('{dataset}', '{config}')['train'][0])"
    command = f'python -c "{code}"'
    console.print(f"  {escape(command)}\n", soft_wrap=True)
