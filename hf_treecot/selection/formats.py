"""Formats: how a chain is written in a row: between the tags of thoughts, or as prose in or without a think block.

Pure functions of a chain's nodes. This module must not know which chains are taken.
"""

from collections.abc import Sequence

from ..control_tokens import escape_control_tokens
from ..mcts.tree import Node
from ..mcts.turning_words import CONNECTIVES, opening_kind
from ..think_blocks import CLOSING, OPENING


FORMATS = ("tags", "think", "plain")


def write_pieces(nodes: Sequence[Node], format: str) -> list[str]:
    """
    A chain as a row has it, thought by thought: joined, the pieces are its text.

    Args:
        nodes (`Sequence[Node]`): The thoughts of a chain, without the root; the last is its answer.
        format (`str`): One of [`FORMATS`]: `"tags"`, a thought a line, each between the tags of its kind; `"think"`,
            thoughts as paragraphs between `<think>` and `</think>`, and the answer below, as the chat templates of
            today's reasoning models have it; `"plain"`, the same paragraphs without a block. Where there are no tags,
            a thought that does not say by its first words of which kind it is gets a sentence that does.

    Returns:
        `list[str]`: As many as there are thoughts. `<think>` and `</think>` within a thought are made plain text.
    """
    if format == "tags":
        tagged = [_escaped(node.rendered) for node in nodes]
        return [*(f"{text}\n" for text in tagged[:-1]), tagged[-1]]
    *thoughts, answer = nodes
    pieces = [*(f"{_prose(node)}\n\n" for node in thoughts), _escaped(answer.text)]
    if format == "think":
        if not thoughts:  # as Qwen 3 writes an answer without any
            return [f"{OPENING}\n\n{CLOSING}\n\n{pieces[0]}"]
        pieces[0] = f"{OPENING}\n{pieces[0]}"
        pieces[-2] = pieces[-2].removesuffix("\n") + f"{CLOSING}\n\n"
    return pieces


def write_beginning(nodes: Sequence[Node], format: str, is_answering: bool) -> str:
    """
    The beginning of a chain, up to where its next thought, or its answer, is to be written.

    Args:
        nodes (`Sequence[Node]`): The thoughts so far, without the root; none of them an answer.
        format (`str`): One of [`FORMATS`]. With tags, what comes next has a tag of its own.
        is_answering (`bool`): Whether an answer comes next: a think block is then closed.
    """
    text = "".join(write_pieces([*nodes, Node("answer", "answer", "", 0)], format)[:-1])
    if format != "think":
        return text
    if not nodes:
        return f"{OPENING}\n\n{CLOSING}\n\n" if is_answering else f"{OPENING}\n"
    return text if is_answering else text.removesuffix(f"\n{CLOSING}\n\n") + "\n\n"


def write_chain(nodes: Sequence[Node], format: str) -> str:
    """The text of a chain; see [`write_pieces`]."""
    return "".join(write_pieces(nodes, format))


def _prose(node: Node) -> str:
    text = _escaped(node.text)
    connective = CONNECTIVES.get(node.kind)
    if connective is None or opening_kind(text) is not None:
        return text
    return f"{connective} {text}".rstrip()


def _escaped(text: str) -> str:
    return escape_control_tokens(text, (OPENING, CLOSING))
