"""Datasets of trees to show in the Space, for its tests and its benchmark."""

from pathlib import Path

from hf_treecot.base import Problem
from hf_treecot.hub.dataset import DatasetWriter
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.selection.selector import Selector


SPACE = Path(__file__).parents[1] / "spaces" / "treecot"

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '<img src="x" onerror="window.hacked = 1">',
    "[click](javascript:window.hacked=1) ![](http://outside.example/x.png)",
    "${window.hacked = 1} {{#each value}}{{this}}{{/each}}",
    "</thinking></div></script><script>window.hacked = 1</script><thinking>",
    r"$\href{javascript:window.hacked=1}{x}$ $\text{<script>window.hacked=1</script>}$ $\frac{1$",
    '"><svg onload="window.hacked = 1"><a href="javascript:window.hacked=1">x</a>',
)


def small_tree(number=0, pattern="reflection", right=1, wrong=1, source="tests"):
    """A tree with so many right and wrong chains, which part after the first thought."""
    prompt = f"Problem {number}: what is 6 times 7?"
    tree = Tree(Problem(f"p-{number}", prompt, "42", "letters", source), pattern, provenance={"seed": "0"})
    plan = tree.add(Node("sub_task", "sub-task", f"Plan {number}.", 0, simulation=0, tokens=3))
    for k in range(right + wrong):
        good = k < right
        text = rf"Thought {k}: $\frac{{84}}{{2}}$ is right." if good else f"Thought {k}: I guess."
        role = "generator" if good else "critic"
        thought = tree.add(Node("thinking", "thinking", text, plan, role=role, simulation=k, tokens=5))
        reward, answer = (1.0, "42") if good else (0.0, "41")
        leaf = tree.add(Node("answer", "answer", rf"The answer is: \boxed{{{answer}}}", thought, simulation=k,
                             tokens=2, reward=reward, answer=answer, reason="right" if good else "wrong"))  # fmt: skip
        tree.backpropagate(leaf, reward)
        tree.simulations.append(leaf)
    tree.stop_reason, tree.generated_tokens = "enough_right", 3 + 7 * (right + wrong)
    return tree


def hostile_tree():
    """A tree whose every text attacks the page; one thought has 1 MB."""
    tree = Tree(Problem("<b>evil</b>", HOSTILE[1] + HOSTILE[3], "1", "letters", HOSTILE[0]), "reflection")
    parent = 0
    for text in (*HOSTILE, "x<y> " * 200_000):
        parent = tree.add(Node("thinking", "thinking", text, parent))
    for reward, text in ((1.0, HOSTILE[0]), (0.0, HOSTILE[1])):
        leaf = tree.add(Node("answer", "answer", text, parent, reward=reward, answer=HOSTILE[1], reason=HOSTILE[0]))
        tree.backpropagate(leaf, reward)
        tree.simulations.append(leaf)
    tree.provenance = {"seed": "0"}
    return tree


def large_tree(nodes=2000):
    """A tree of so many nodes: each node has three children, one of which is a leaf."""
    tree = Tree(Problem("large", "A large tree", "1", "letters", "tests"), "reflection", provenance={"seed": "0"})
    open_nodes = [0]
    while len(tree.nodes) < nodes:
        parent = open_nodes.pop(0)
        for k in range(3):
            if k == 2 and parent:
                reward = float(len(tree.nodes) % 2)
                leaf = tree.add(Node("answer", "answer", "The answer is: 1", parent, simulation=len(tree.simulations),
                                     reward=reward, answer="1"))  # fmt: skip
                tree.backpropagate(leaf, reward)
                tree.simulations.append(leaf)
            else:
                text = f"Thought number {len(tree.nodes)} of a large tree."
                open_nodes.append(
                    tree.add(Node("thinking", "thinking", text, parent, simulation=len(tree.simulations)))
                )
    return tree


def write_run(directory, trees):
    """A run's directory with these trees and their pairs."""
    directory.mkdir(parents=True, exist_ok=True)
    selector = Selector(lambda text: list(text.encode()))
    with DatasetWriter(directory / "dataset") as writer:
        for tree in trees:
            writer.write("trees", tree.to_record())
            for row in selector.select_preferences(tree):
                writer.write("preference", row)
    return directory
