"""`Tree` and `Node`: everything that one search has found out about one problem.

The only mutable state of a search. This module turns trees into records and back, and walks their paths; it must not
know how a tree is grown, nor what becomes of it.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..base import Problem
from ..control_tokens import count_escaped, escape_control_tokens
from ..errors import InvalidInputError


ROOT = 0
NO_PARENT = -1
ROOT_KIND = "problem"
UNVERIFIABLE = "unverifiable"  # a dead end: the verifier failed on the answer


@dataclass
class Node:
    """
    A thought in its place in a tree. Its id is its index in `Tree.nodes`.

    Args:
        kind (`str`): Kind of thought; [`ROOT_KIND`] for the root, which holds no thought.
        tag (`str`): The tag that it is rendered with.
        text (`str`): The thought, its prefill included, without tags.
        parent (`int`): Id of the parent; [`NO_PARENT`] for the root.
        role (`str`): Which engine wrote it.
        simulation (`int`): Index of the simulation that added it.
        tokens (`int`): Tokens that were generated for it (its prefill not counted).
        finish_reason (`str`): As of [`~engines.engine.Completion`]: `"length"` for an unfinished thought.
        log_probability (`float`, *optional*): Sum over the generated tokens, where the engine gives it.
        visit_count (`int`): Simulations that went through it.
        value_sum (`float`): Sum of the rewards that they backed up.
        reward (`float`, *optional*): The verifier's reward, in [0, 1]; None unless it is a verified answer.
        answer (`str`, *optional*): What the verifier took as the answer; None if it found none.
        reason (`str`): The verifier's reason for the reward.
        dead_end (`str`): Why the chain ends here without an answer; empty if it does not.
        reasoning (`str`): What a reasoning model thought before it wrote the thought, if that is kept. No part of any
            chain.
        children (`list[int]`): Ids of the children, in the order in which they were added.
    """

    kind: str
    tag: str
    text: str
    parent: int
    role: str = "generator"
    simulation: int = 0
    tokens: int = 0
    finish_reason: str = "stop"
    log_probability: float | None = None
    visit_count: int = 0
    value_sum: float = 0.0
    reward: float | None = None
    answer: str | None = None
    reason: str = ""
    dead_end: str = ""
    reasoning: str = ""
    children: list[int] = field(default_factory=list)

    @property
    def value(self) -> float:
        """Mean reward of the simulations that went through it; 0 before the first."""
        return self.value_sum / self.visit_count if self.visit_count else 0.0

    @property
    def rendered(self) -> str:
        """The thought between its tags, as it stands in a chain; a whole reply has none."""
        return f"<{self.tag}>{self.text}</{self.tag}>" if self.tag else self.text


@dataclass
class Tree:
    """
    All thoughts about one problem.

    Args:
        problem ([`Problem`]): What it is about.
        pattern (`str`): Name of the transition pattern that it was grown with.
        nodes (`list[Node]`): The root first; a parent always comes before its children.
        simulations (`list[int]`): For every simulation, in order, the id of the node that it ended in.
        stop_reason (`str`): Why the search stopped; empty while it runs.
        requests, prompt_tokens, generated_tokens (`int`): What it cost. Thoughts that two samples have in common are
            one node, but were paid for twice.
        malformed (`int`): Replies of chat servers that held no thought.
        provenance (`dict`): Where it comes from: models, engines, sampling, seed, versions.
    """

    problem: Problem
    pattern: str
    nodes: list[Node] = field(default_factory=lambda: [Node(ROOT_KIND, "", "", NO_PARENT, role="")])
    simulations: list[int] = field(default_factory=list)
    stop_reason: str = ""
    requests: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    malformed: int = 0
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def tree_id(self) -> str:
        """Names the tree among all trees of all runs: problem, pattern and seed."""
        return f"{self.problem.problem_id}/{self.pattern}/{self.provenance.get('seed', '')}"

    def add(self, node: Node) -> int:
        """Append a node under its parent and return its id."""
        node_id = len(self.nodes)
        self.nodes.append(node)
        self.nodes[node.parent].children.append(node_id)
        return node_id

    def path(self, node_id: int) -> list[int]:
        """Ids from the root (included) to a node (included)."""
        path = [node_id]
        while (parent := self.nodes[path[-1]].parent) != NO_PARENT:
            path.append(parent)
        return path[::-1]

    def render(self, node_id: int) -> str:
        """The chain from the root to a node, as text: one thought a line, each between its tags."""
        return "\n".join(self.nodes[i].rendered for i in self.path(node_id)[1:])

    def log_probability(self, node_id: int) -> float | None:
        """Of all that was generated in the chain to a node; None where the engine did not give it."""
        values = [self.nodes[i].log_probability for i in self.path(node_id) if self.nodes[i].tokens]
        return None if None in values else sum(values)

    def leaves(self) -> Iterator[int]:
        """Ids of the nodes without children, the root excepted, in order."""
        return (i for i, node in enumerate(self.nodes) if i != ROOT and not node.children)

    def answers(self, right: bool) -> list[int]:
        """Ids of the verified answers that are right (reward above one half) or that are not."""
        return [i for i, node in enumerate(self.nodes) if node.reward is not None and (node.reward > 0.5) is right]

    def backpropagate(self, node_id: int, reward: float) -> None:
        """Add a reward and a visit to a node and all its ancestors."""
        for i in self.path(node_id):
            self.nodes[i].visit_count += 1
            self.nodes[i].value_sum += reward

    @property
    def escaped_control_tokens(self) -> int:
        """How many control tokens its problem and thoughts hold as plain text."""
        return sum(count_escaped(text) for text in (self.problem.prompt, *(node.text for node in self.nodes)))

    @property
    def statistics(self) -> dict[str, int]:
        """Simulations, chains by how they ended, and what the tree cost."""
        return {
            "simulations": len(self.simulations),
            "right": len(self.answers(right=True)),
            "wrong": len(self.answers(right=False)),
            "dead_ends": sum(bool(node.dead_end) for node in self.nodes),
            "unverifiable": sum(node.dead_end == UNVERIFIABLE for node in self.nodes),
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "generated_tokens": self.generated_tokens,
            "malformed": self.malformed,
        }

    def to_record(self) -> dict[str, Any]:
        """A row of the `trees` dataset: nested dictionaries and lists of plain values, without loss."""
        nodes = []
        for node in self.nodes:
            record = {name: getattr(node, name) for name in NODE_COLUMNS}
            nodes.append({**record, "value": node.value})
        return {
            "tree_id": self.tree_id,
            "problem": asdict(self.problem),
            "pattern": self.pattern,
            "nodes": nodes,
            "simulations": list(self.simulations),
            "status": "solved" if self.answers(right=True) else "failed",
            "stop_reason": self.stop_reason,
            "statistics": self.statistics,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Tree":
        """
        The tree of a record: `Tree.from_record(tree.to_record()) == tree`. Control tokens and tags of
        thoughts in the texts of others are made plain text.

        Raises:
            InvalidInputError: The record is not that of a tree: a column is missing or of another type, a parent does
                not come before its child, or a simulation ends in no node.
        """
        try:
            tree = cls(
                problem=Problem(**record["problem"]),
                pattern=record["pattern"],
                nodes=[_node(row) for row in record["nodes"]],
                simulations=list(record["simulations"]),
                stop_reason=record["stop_reason"],
                provenance=dict(record["provenance"]),
                malformed=record["statistics"].get("malformed") or 0,
                **{name: record["statistics"][name] for name in ("requests", "prompt_tokens", "generated_tokens")},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(
                f"tree {_name(record)}: malformed ({type(error).__name__}: {str(error)[:100]}); remove it"
            ) from error
        if fault := next(_faults(tree), ""):
            raise InvalidInputError(f"tree {_name(record)}: malformed ({fault[:200]}); remove it")
        tags = {f"<{slash}{node.tag}>" for node in tree.nodes for slash in ("", "/") if node.tag}
        tree.problem = replace(tree.problem, prompt=escape_control_tokens(tree.problem.prompt, tags))
        for node_id, node in enumerate(tree.nodes):
            node.text = escape_control_tokens(node.text, tags)
            node.reasoning = escape_control_tokens(node.reasoning)
            if node_id != ROOT:
                tree.nodes[node.parent].children.append(node_id)
        return tree


def _node(row: dict[str, Any]) -> Node:
    """A node of a record; those of earlier versions know no reasoning."""
    return Node(
        **{
            **{name: row[name] for name in NODE_COLUMNS if name != "reasoning"},
            "reasoning": row.get("reasoning") or "",
        }
    )


def _name(record: Any) -> str:
    name = record.get("tree_id") if isinstance(record, dict) else None
    return repr(str(name)[:100]) if name else "without a tree_id"


def _faults(tree: Tree) -> Iterator[str]:
    """What keeps a tree from being walked: cycles, parents that are not there, values of other types."""
    if not tree.nodes or tree.nodes[ROOT].parent != NO_PARENT:
        yield f"its first node must be the root, with parent {NO_PARENT}"
    for name, value in {**vars(tree.problem), "pattern": tree.pattern, "stop_reason": tree.stop_reason}.items():
        if not isinstance(value, str):
            yield f"{name} must be text, got {value!r:.50}"
    for name in ("requests", "prompt_tokens", "generated_tokens", "malformed"):
        if not isinstance(getattr(tree, name), int):
            yield f"{name} must be a whole number, got {getattr(tree, name)!r:.50}"
    for node_id, node in enumerate(tree.nodes):
        for name in ("kind", "tag", "text", "role", "finish_reason", "reason", "dead_end", "reasoning"):
            if not isinstance(getattr(node, name), str):
                yield f"node {node_id}: {name} must be text, got {getattr(node, name)!r:.50}"
        if isinstance(node.tag, str) and not TAG.fullmatch(node.tag):
            yield f"node {node_id}: tag must be a name, got {node.tag!r:.50}"
        for name in ("parent", "simulation", "tokens", "visit_count"):
            if not isinstance(getattr(node, name), int):
                yield f"node {node_id}: {name} must be a whole number, got {getattr(node, name)!r:.50}"
        for name in ("value_sum", "reward", "log_probability"):
            value = getattr(node, name)
            if not (isinstance(value, int | float) or (value is None and name != "value_sum")):
                yield f"node {node_id}: {name} must be a number, got {value!r:.50}"
        if node.answer is not None and not isinstance(node.answer, str):
            yield f"node {node_id}: answer must be text or nothing, got {node.answer!r:.50}"
        if node.reward is not None and not 0 <= node.reward <= 1:
            yield f"node {node_id}: reward must be from 0 to 1, got {node.reward!r:.50}"
        if node_id == ROOT:
            continue
        if not ROOT <= node.parent < node_id:
            yield f"node {node_id}: its parent {node.parent} must come before it"
        elif tree.nodes[node.parent].reward is not None:
            yield f"node {node_id}: its parent {node.parent} is an answer"
    if tree.nodes and tree.nodes[ROOT].reward is not None:
        yield "the root must have no reward"
    if not all(isinstance(end, int) and ROOT <= end < len(tree.nodes) for end in tree.simulations):
        yield f"a simulation ends in no node of the {len(tree.nodes)} that there are"


TAG = re.compile(r"(?:[A-Za-z][\w-]{0,60})?")  # the root has none
NODE_COLUMNS = tuple(f.name for f in fields(Node) if f.name != "children")
