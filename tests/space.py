"""Datasets of trees to show in the Space, for its tests and its benchmark."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from hf_treecot.base import Problem
from hf_treecot.evaluation.comparison import markdown
from hf_treecot.hub.dataset import DatasetWriter
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.selection.selector import Selector


SPACE = Path(__file__).parents[1] / "spaces" / "treecot"

KINDS = ("truncated", "looping", "none_given", "unparseable")  # of outputs without an answer
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


def figure(name, value, low=None, high=None):
    return {name: value, f"{name}_low": value if low is None else low, f"{name}_high": value if high is None else high}


def row(model, task, accuracy, no_answer=0.0, decoding="greedy", **others):
    kinds = dict.fromkeys(KINDS, 0.0) | others.pop("kinds", {"truncated": no_answer})
    return {
        "model": model, "decoding": decoding, "task": task, "count": 50, **figure("accuracy", *accuracy),
        **figure("no_answer_rate", no_answer), **figure("repetition_rate", 0.02, 0.0, 0.065),
        **figure("over_reflection_rate", 0.0), **figure("length", 90.5, 80.0, 100.0), **figure("tokens", 91.4),
        **{f"no_answer_{kind}": share for kind, share in kinds.items()}, **others,
    }  # fmt: skip


ROWS = [
    row("base", "letters", (0.42, 0.28, 0.56)),
    row("base", "blocks", (0.371, 0.3291, 0.414)),
    row("sft", "letters", (0.7835, 0.66, 0.88), **figure("difference", 0.34, 0.2, 0.5), p_value=0.0004),
    row("sft", "blocks", (0.18, 0.08, 0.28), 0.54, kinds={"truncated": 0.3, "looping": 0.22, "unparseable": 0.02},
        **figure("difference", -0.02, -0.08, 0.04), p_value=1.0),
]  # fmt: skip


def write_outputs(run, model, task, outcomes):
    """Details as lighteval keeps them, as far as they are read."""
    directory = run / "evaluation" / "details" / model / "greedy" / "2026"
    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, outcome in enumerate(outcomes):
        metric = {"accuracy": float(outcome == "right"), "no_answer_rate": float(outcome in KINDS)}
        metric |= {f"no_answer_{kind}": float(outcome == kind) for kind in KINDS}
        problem = {"problem_id": f"{task}-{number}"}
        rows.append(
            {
                "doc": {"query": f"Problem {number} <b>", "specific": {"problems": [problem]}},
                "metric": metric, "model_response": {"text": [f"<thinking>{outcome} {number} <b></thinking>"]},
            }
        )  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), directory / f"details_treecot:{task}|0_2026.parquet")


def write_evaluation(run):
    """An evaluation of two models on two kinds of problems, with outputs of one of them."""
    (run / "evaluation").mkdir()
    (run / "evaluation.json").write_text(json.dumps(ROWS))
    (run / "evaluation" / "table.md").write_text(markdown(ROWS))
    write_outputs(run, "sft", "blocks", ["right", "wrong", "truncated", "truncated", "looping"])
    return run
