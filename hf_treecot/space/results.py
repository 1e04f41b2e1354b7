"""The figures of `treecot evaluate`, as a table and a plot, and the pictures beside them."""

import json
from html import escape
from pathlib import Path

import pandas
from PIL import Image

from ..errors import InvalidInputError


MOST_PICTURES = 8
SHARES = ("accuracy", "no_answer_rate", "repetition", "truncated", "verifier_failures")


def read_results(directory: Path) -> pandas.DataFrame:
    """
    One row for every model and set of problems.

    Args:
        directory (`Path`): Of `evaluation.json`, or of lighteval's `results_*.json` at any depth.

    Raises:
        InvalidInputError: A file cannot be read.
    """
    rows = []
    for path in [*directory.glob("evaluation*.json"), *sorted(directory.glob("**/results_*.json"))]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows += [dict(row) for row in content] if isinstance(content, list) else _lighteval_rows(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"results {str(path)!r} cannot be read ({error}): make them again") from error
    return pandas.DataFrame(rows)


def _lighteval_rows(content: dict) -> list[dict]:
    model = content["config_general"].get("model_name") or content["config_general"]["model_config"]["model_name"]
    return [
        {"model": model, "problems": task, **metrics} for task, metrics in content["results"].items() if task != "all"
    ]


def table_html(results: pandas.DataFrame) -> str:
    """The figures as a table."""
    head = "".join(f"<th scope='col'>{escape(name.replace('_', ' '))}</th>" for name in results.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(name, value))}</td>" for name, value in row.items()) + "</tr>"
        for row in results.to_dict("records")
    )
    table = f'<table class="statistics"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="table-scroll">{table}</div>'


def _cell(name: str, value) -> str:
    if isinstance(value, float):
        if pandas.isna(value):
            return "—"
        return f"{value:.1%}" if name in SHARES else f"{value:.4g}"
    return str(value)


def pictures(directory: Path) -> list[tuple[Image.Image, str]]:
    """The plots that lie beside the figures, with their names."""
    found = []
    for path in sorted(directory.glob("**/*.png"))[:MOST_PICTURES]:
        with Image.open(path) as picture:
            found.append((picture.copy(), path.stem.replace("_", " ")))
    return found
