"""What the Explore tab shows: a page of the list of problems, a tree, one of its thoughts. Knows no components."""

from html import escape
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pyarrow

from ..mcts.tree import Tree
from .rendering import node_html, pair_html, tree_payload
from .text import plain_text, text_html
from .tree_index import Query, TreeIndex


ROWS_A_PAGE = 15
EVERY = "all"
LONGEST_GOLD = 80  # characters
NO_PAIR = '<p class="note">This tree made no preference pair.</p>'


class Page(NamedTuple):
    """A page of the list: its rows, where it is, its number."""

    rows: str
    place: str
    number: int


def query_of(*values) -> Query:
    """The query of the filters' values; what is out of range finds nothing, and hurts nobody."""
    text, source, pattern, low, high, min_tokens, max_tokens, order = values
    every = {EVERY: ""}
    return Query(
        str(text or "")[:200], every.get(source, source), every.get(pattern, pattern), low / 100, high / 100,
        min_tokens or None, max_tokens or None, order,
    )  # fmt: skip


def page_of(index: TreeIndex, number: int, query: Query, chosen: int | None) -> Page:
    """A page of what a query finds, the last one if there are not so many."""
    found = index.find(query)
    last = max(0, (len(found) - 1) // ROWS_A_PAGE)
    number = min(max(int(number), 0), last)
    rows = found.slice(number * ROWS_A_PAGE, ROWS_A_PAGE)
    place = f"{len(found):,} of {len(index):,} trees · page {number + 1} of {last + 1}"
    return Page(rows_html(rows, chosen), f'<p class="note" role="status">{place}</p>', number)


def page_with(index: TreeIndex, row: int) -> int:
    """The number of the page on which a row stands, without filters."""
    return row // ROWS_A_PAGE


def rows_html(rows: pyarrow.Table, chosen: int | None) -> str:
    """Problems as buttons: a line of text, right and wrong answers as a bar, and facts."""
    return f'<ol class="rows">{"".join(_row_html(row, row["row"] == chosen) for row in rows.to_pylist())}</ol>'


def _row_html(row: dict[str, Any], is_chosen: bool) -> str:
    right, wrong = row["right"], row["wrong"]
    prompt = plain_text(row["prompt"])
    facts = f"✓{right} ✗{wrong} · {row['pattern']} · {row['tokens']:,} tokens"
    about = f"{row['problem_id'][:60]}: {prompt}"
    return (
        f'<li><button type="button" class="tree-row" data-row="{row["row"]}" aria-current="{str(is_chosen).lower()}">'
        f'<span class="row-problem" title="{escape(about)}">{escape(prompt)}</span>'
        f'<span class="row-bar" role="img" aria-label="{right} right, {wrong} wrong">'
        f'<i class="right" style="flex:{right}"></i><i class="wrong" style="flex:{wrong}"></i></span>'
        f'<span class="row-facts">{escape(facts)}</span></button></li>'
    )


def title_html(tree: Tree) -> str:
    """A problem and what its tree came to."""
    gold = " ".join(tree.problem.answer.split())
    facts = [
        f"right: {plain_text(gold)}" if len(gold) <= LONGEST_GOLD else "", tree.pattern, f"{len(tree.nodes)} nodes",
        f"{len(tree.answers(True))} right, {len(tree.answers(False))} wrong", f"{tree.generated_tokens:,} tokens",
        (tree.stop_reason or "unfinished").replace("_", " "),
    ]  # fmt: skip
    line = escape(" · ".join(filter(None, facts)))
    problem = f'<div class="problem text" role="heading" aria-level="2">{text_html(tree.problem.prompt)}</div>'
    return f'{problem}<p class="note">{line}</p>'


def drawn(tree: Tree, name: str, shown: str, node: int = 0, step: int | None = None) -> dict[str, Any]:
    """
    What is drawn of a tree.

    Args:
        tree ([`Tree`]): The tree.
        name (`str`): What tells it from another that was drawn before.
        shown (`str`): What its source is called in a link; empty for the one that opens by itself.
        node, step (`int`): The thought that is chosen, and after how many simulations.
    """
    where = {"tab": "explore", **({"source": shown} if shown else {}), "tree": tree.tree_id}
    step = step if step is not None and 0 <= step <= len(tree.simulations) else len(tree.simulations)
    return {**tree_payload(tree), "title": name, "link": f"?{urlencode(where)}", "chosen": node, "step": step}


def thought_at(tree: Tree, node: int, step: int | None, constant: float) -> str:
    """All about a thought after so many simulations; of the root if there is no such thought."""
    last = len(tree.simulations)
    return node_html(tree, node if 0 <= node < len(tree.nodes) else 0, last if step is None else step, constant)


def pairs_html(index: TreeIndex, tree: Tree) -> str:
    """The preference pairs of a tree."""
    pairs = index.pairs(tree)
    return "".join(pair_html(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs) or NO_PAIR
