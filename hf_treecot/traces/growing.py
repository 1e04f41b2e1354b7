"""Traces of a problem become its tree: cut, verified, and merged where they begin alike.

This module must not know where traces come from, nor what becomes of the tree.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..base import Verdict
from ..control_tokens import escape_control_tokens
from ..errors import UnverifiableError
from ..mcts.pattern import Pattern, load_pattern
from ..mcts.search import Verify
from ..mcts.tree import ROOT, Node, Tree
from .cutting import cut_trace
from .reading import Traces


@cache
def trace_pattern() -> Pattern:
    """The pattern of traces that others wrote: any thought may follow any other."""
    return load_pattern(Path(__file__).parent / "trace.yaml")


async def tree_of_traces(
    traces: Traces, verify: Verify, count_tokens: Callable[[str], int], dropped: Counter[str]
) -> Tree | None:
    """
    The tree of the traces of a problem; None if none of them can be taken.

    Args:
        traces ([`Traces`]): The problem, and what was written about it.
        verify (`Callable`): `await verify(answer_text, problem)` gives a [`Verdict`].
        count_tokens (`Callable[[str], int]`): Tokens of a text, which nodes are measured in.
        dropped (`Counter[str]`): Counts the traces that are left out, by reason. Wrong ones are taken.
    """
    pattern = trace_pattern()
    tags = [tag for spec in pattern.thoughts.values() for tag in (spec.opening, spec.closing)]
    problem = replace(traces.problem, prompt=escape_control_tokens(traces.problem.prompt, tags))
    cuts = []
    for text in traces.texts:
        cut = cut_trace(text)
        if isinstance(cut, str):
            dropped[cut] += 1
        else:
            cuts.append(cut)
    verdicts = await asyncio.gather(*(verify(cut.answer, problem) for cut in cuts), return_exceptions=True)
    tree = Tree(problem, pattern.name, stop_reason="imported")
    for cut, verdict in zip(cuts, verdicts, strict=True):
        if isinstance(verdict, UnverifiableError):
            dropped["trace on which the verifier failed"] += 1
        elif isinstance(verdict, BaseException):
            raise verdict
        elif verdict.answer is None and verdict.reward <= 0.5:
            dropped["trace without an answer"] += 1
        else:
            thoughts = [(kind, escape_control_tokens(text, tags)) for kind, text in cut.thoughts]
            answer = escape_control_tokens(cut.answer, tags)
            add_chain(tree, ROOT, [*thoughts, ("answer", answer)], pattern, verdict, count_tokens)
    return tree if tree.simulations else None


def add_chain(
    tree: Tree,
    parent: int,
    thoughts: Sequence[tuple[str, str]],
    pattern: Pattern,
    verdict: Verdict,
    count_tokens: Callable[[str], int],
) -> int:
    """
    Add a verified chain below a node; thoughts that are there already are shared.

    Args:
        tree ([`Tree`]): Is changed.
        parent (`int`): Where the chain goes on from.
        thoughts (`Sequence[tuple[str, str]]`): Kind and text of each; the last is the answer.
        pattern ([`Pattern`]): Has the tags of the kinds.
        verdict ([`Verdict`]): On the answer.
        count_tokens (`Callable[[str], int]`): Tokens of a text.

    Returns:
        `int`: Id of the answer.
    """
    simulation = len(tree.simulations)
    for kind, text in thoughts:
        same = (c for c in tree.nodes[parent].children if (tree.nodes[c].kind, tree.nodes[c].text) == (kind, text))
        node = Node(kind, pattern.thoughts[kind].tag, text, parent, simulation=simulation, tokens=count_tokens(text))
        parent = next(same, None) or tree.add(node)
    leaf = tree.nodes[parent]
    leaf.reward, leaf.answer, leaf.reason = verdict.reward, verdict.answer, verdict.reason
    tree.backpropagate(parent, verdict.reward)
    tree.simulations.append(parent)
    return parent
