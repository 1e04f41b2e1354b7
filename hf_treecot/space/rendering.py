"""Trees and chains as what a browser shows. All text of a model or dataset goes through `escape`, nothing else."""

import re
from html import escape
from itertools import pairwise
from os.path import commonprefix
from typing import Any

from ..mcts.pattern import available_patterns, load_pattern
from ..mcts.spending import uct_score
from ..mcts.tree import ROOT, Tree
from ..verifiers.diagnostics import count_reflections, repetition
from .text import plain_text, text_html


LABEL = 80  # characters of a thought on its card
LONG_SHARED, SHOWN_SHARED = 40, 16  # characters that siblings begin with alike: what is cut, and what is left
KIND_OF_TAG = {spec.tag: kind for name in available_patterns() for kind, spec in load_pattern(name).thoughts.items()}
TAGS = re.compile(rf"<({'|'.join(map(re.escape, KIND_OF_TAG))})>(.*?)(</\1>|\Z)\n?", re.DOTALL)


def thought_html(kind: str, text: str, extra: str = "") -> str:
    """A thought in a box of its kind's colour; `extra` are more classes of the box."""
    name = escape(kind.replace("_", "-"))
    return (
        f'<div class="thought kind-{escape(kind)} {extra}"><span class="kind">{name}</span>'
        f'<div class="text">{text}</div></div>'
    )


def chain_html(chain: str) -> str:
    """A rendered chain, finished or not: a box a thought. What is not between known tags is shown as it is."""
    pieces, end = [], 0
    for match in TAGS.finditer(chain):
        pieces.append(_loose(chain[end : match.start()]))
        extra = "" if match.group(3) else "unfinished"
        pieces.append(thought_html(KIND_OF_TAG[match.group(1)], text_html(match.group(2).strip()), extra))
        end = match.end()
    pieces.append(_loose(chain[end:]))
    return f'<div class="chain">{"".join(pieces)}</div>'


def _loose(text: str) -> str:
    return f'<div class="loose text">{escape(text.strip())}</div>' if text.strip() else ""


def pair_html(chosen: str, rejected: str) -> str:
    """A pair side by side: what both begin with is dimmed, and where they part is marked."""
    shared = 0
    for a, b in zip(chosen, rejected, strict=False):
        if a != b:
            break
        shared += 1
    sides = (("chosen", "✓ chosen", chosen), ("rejected", "✗ rejected", rejected))
    columns = "".join(
        f'<section class="{name}"><h3>{title} <small>{len(text):,} characters</small></h3>'
        f"{_parted_html(text, shared)}</section>"
        for name, title, text in sides
    )
    return f'<div class="pair" data-shared="{shared}">{columns}</div>'


def _parted_html(chain: str, shared: int) -> str:
    mark, marked = '<mark class="divergence" title="here the two part">▸</mark>', False
    pieces, end = [], 0
    for match in TAGS.finditer(chain):
        pieces.append(_loose(chain[end : match.start()]))
        text, dim = match.group(2), ""
        if shared > match.end(2):  # up to the next tag at least, the two are the same
            html, dim = text_html(text), "shared"
        elif marked:
            html = text_html(text)
        else:  # plain text: a formula may be cut in two
            here, marked = max(shared - match.start(2), 0), True
            html = f'<span class="shared">{escape(text[:here])}</span>{mark}{escape(text[here:])}'
            html = html if here else f"{mark}{text_html(text)}"
        pieces.append(thought_html(KIND_OF_TAG[match.group(1)], html, dim))
        end = match.end()
    pieces.append(_loose(chain[end:]))
    return f'<div class="chain">{"".join(pieces)}</div>'


def alert_html(message: str) -> str:
    """A message that a screen reader reads out; nothing for an empty one."""
    return f'<div class="alert" role="alert">{escape(message)}</div>' if message else ""


def counters_html(text: str, tokens: int, note: str = "") -> str:
    """How long an output is, how much of it repeats itself, and how often it turns back on itself."""
    values = (
        ("tokens", f"{tokens}"),
        ("thoughts", f"{len(TAGS.findall(text))}"),
        ("repetition", f"{repetition(text):.0%}"),
        ("reflections", f"{count_reflections(text)}"),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in values)
    return f'<dl class="counters">{items}</dl><p class="note">{escape(note)}</p>'


def tree_payload(tree: Tree) -> dict[str, Any]:
    """What the drawing needs of a tree, column by column; texts only as far as they are shown on a card."""
    nodes = tree.nodes
    return {
        "kind": [node.kind for node in nodes],
        "parent": [node.parent for node in nodes],
        "simulation": [node.simulation for node in nodes],
        "reward": [node.reward for node in nodes],
        "critic": [int(node.role == "critic") for node in nodes],
        "dead": [int(bool(node.dead_end)) for node in nodes],
        "label": _labels(tree),
        "simulations": tree.simulations,
    }


def _labels(tree: Tree) -> list[str]:
    """A line for every card; what siblings begin with alike is cut, so that one sees what they differ in."""
    lines = [plain_text((node.text if node.parent >= 0 else tree.problem.prompt)[:400]) for node in tree.nodes]
    labels = list(lines)
    for node in tree.nodes:
        apart = _told_apart({lines[child] for child in node.children})
        for child in node.children:
            labels[child] = apart[lines[child]]
    return [label[:LABEL] for label in labels]


def _told_apart(lines: set[str]) -> dict[str, str]:
    shown, ordered = {line: line for line in lines}, sorted(lines)
    for pair in pairwise(ordered):
        shared = len(commonprefix(pair))  # noqa: RUF071, of texts
        for line in pair:
            if LONG_SHARED <= shared < len(line):
                rest = line.rfind(" ", 0, shared + 1) + 1
                shown[line] = f"{line[:SHOWN_SHARED].rstrip()} … {line[rest:]}"
    return shown


def visits_at(tree: Tree, step: int) -> tuple[list[int], list[float]]:
    """Visits and sums of rewards of every node after so many simulations."""
    visits, values = [0] * len(tree.nodes), [0.0] * len(tree.nodes)
    for leaf in tree.simulations[:step]:
        for i in tree.path(leaf):
            visits[i] += 1
            values[i] += tree.nodes[leaf].reward or 0.0
    return visits, values


def node_html(tree: Tree, node_id: int, step: int, exploration_constant: float) -> str:
    """Everything about a node after so many simulations."""
    node = tree.nodes[node_id]
    if node_id == ROOT:
        text, title = tree.problem.prompt, "problem"
    else:
        text, title = node.text, node.kind
    visits, values = visits_at(tree, step)
    n, value = visits[node_id], values[node_id]
    rows = [("node", f"{node_id} of {len(tree.nodes)}"), ("visits N", f"{n}"), ("value v", f"{value:g}")]
    rows.append(("v / N", f"{value / n:.3f}" if n else "—"))
    if node_id != ROOT:
        above = visits[node.parent]
        score = uct_score(value, n, above, exploration_constant)
        if n:
            rows.append(("C · √(ln N_parent / N)", f"{score - value / n:.3f}"))
        rows.append(("UCB", f"{score:.3f}" if n else "∞ (unvisited: comes first)"))
        rows += [("N_parent", f"{above}"), ("C", f"{exploration_constant:g}"), ("written by", node.role)]
        rows += [("tokens", f"{node.tokens}"), ("ended by", node.finish_reason)]
        if node.log_probability is not None:
            rows.append(("log-probability", f"{node.log_probability:.2f}"))
        rows.append(("added in simulation", f"{node.simulation + 1}"))
    else:
        rows += [("gold answer", tree.problem.answer), ("pattern", tree.pattern)]
    if node.reward is not None:
        rows += [("reward", f"{node.reward:g}"), ("read as", node.answer or "—"), ("reason", node.reason)]
    if node.dead_end:
        rows.append(("dead end", node.dead_end))
    table = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(cell)}</td></tr>" for name, cell in rows)
    return f'{thought_html(title, text_html(text), "long")}<table class="facts">{table}</table>'
