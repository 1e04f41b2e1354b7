"""Regrowing: new continuations from changes of mind, the shortest right one counts; in tags, in prose; resumed."""

import asyncio
import json
from collections import Counter

import pytest

from hf_treecot.base import Verdict
from hf_treecot.building.regrowing import regrow_trees
from hf_treecot.cli.regrow import describe, main
from hf_treecot.engines.engine import Completion, EngineIdentity
from hf_treecot.errors import ContextLengthError, EngineError, InvalidInputError, UnverifiableError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.hub.dataset_card import TreeStatistics
from hf_treecot.hub.push import _models
from hf_treecot.mcts.tree import Tree
from hf_treecot.selection.formats import write_beginning, write_chain
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.traces.regrow import RegrowConfig, length, regrow

from .test_formats import CHAIN
from .test_selection import tree_of


def tokenize(text):
    return text.split()


def count(text):
    return len(tokenize(text))


class Scripted:
    """An engine that writes by what its prompt ends in, and remembers what it was asked."""

    identity = EngineIdentity("scripted", "none")

    def __init__(self, endings, generation_prompt="<assistant>", fails_after=None):
        self.endings, self.generation_prompt, self.fails_after = endings, generation_prompt, fails_after
        self.requests = []

    def render_chat(self, messages):
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + self.generation_prompt

    async def generate(self, request):
        if self.fails_after is not None and len(self.requests) >= self.fails_after:
            raise EngineError("it is gone")
        self.requests.append(request)
        text = next(text for ending, text in self.endings.items() if request.prompt.endswith(ending))
        if text is None:
            raise ContextLengthError("no room")
        return Completion(text, "length" if text.endswith("…") else "stop", 9, count(text))


async def verify(text, problem):
    if "crash" in text:
        raise UnverifiableError("it hung")
    return Verdict(float("2" in text), text, "right" if "2" in text else "wrong")


def run(tree, engine, dropped=None, **config):
    defaults = {"samples": 2, "max_new_tokens": 64}
    settings = RegrowConfig(**{**defaults, **config})
    return asyncio.run(regrow(tree, engine, verify, settings, count, dropped=dropped))


def long_tree():
    """Two changes of mind before the right answer."""
    chain = [
        "sub_task: plan it",
        "thinking: it is 3",
        "reflection: Wait no",
        "thinking: hm hm",
        "double_check: Let me check",
    ]
    return tree_of((chain, 1.0), prompt="1 + 1?")


FIRST, SECOND = "<thinking>it is 3</thinking>\n", "<thinking>hm hm</thinking>\n"


def test_from_every_change_of_mind_a_model_goes_on():
    engine = Scripted(
        {
            f"{FIRST}<answer>": "3",
            f"{FIRST}<thinking>": "so be it</thinking>\n<answer>4</answer>",
            f"{SECOND}<answer>": "2",
            f"{SECOND}<thinking>": "so</thinking>\n<answer>2 2 2 2 2 2",
        }
    )
    before = long_tree()
    tree = run(before, engine)
    assert [request.prompt.rpartition("<assistant>")[2] for request in engine.requests[:1]] == [
        f"<sub_task>plan it</sub_task>\n{FIRST}<answer>"
    ]
    assert engine.requests[0].prompt.startswith("[system]Solve the user's problem")
    assert len({request.seed for request in engine.requests}) == 4
    assert before == long_tree()  # is not changed
    texts = [[tree.nodes[i].text for i in tree.path(leaf)[3:]] for leaf in tree.simulations[1:]]
    assert texts == [["3"], ["so be it", "4"], ["Wait no", "hm hm", "2"], ["Wait no", "hm hm", "so", "2 2 2 2 2 2"]]
    assert [tree.nodes[leaf].reward for leaf in tree.simulations] == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert tree.nodes[1].visit_count == 5
    assert (tree.requests, tree.generated_tokens) == (4, sum(map(count, engine.endings.values())))
    shortest = min(tree.answers(right=True), key=lambda leaf: length(tree, leaf, count))
    assert tree.nodes[shortest].text == "2"
    assert Tree.from_record(tree.to_record()) == tree


def test_a_shorter_continuation_takes_the_place_of_the_rest():
    """Then what was after it is not looked at any more."""
    engine = Scripted({f"{FIRST}<answer>": "2", f"{FIRST}<thinking>": "2</thinking><answer>2"})
    tree = run(long_tree(), engine)
    assert len(engine.requests) == 2
    assert len(tree.answers(right=True)) == 3


def test_chains_share_what_was_asked_and_the_longest_come_first():
    rest = ["thinking: b", "reflection: Wait c"]
    tree = tree_of(([*rest, "thinking: e f g"], 1.0), ([*rest], 1.0), (["thinking: b"], 1.0), (["thinking: x"], 0.0))
    engine = Scripted({"<answer>": "3", "<thinking>": "e</thinking><answer>3"})
    run(tree, engine, max_chains=3)
    assert len(engine.requests) == 2
    engine = Scripted({"<answer>": "3"})
    run(tree_of((["reflection: Wait", "thinking: a"], 1.0)), engine)  # what a chain begins with is no change of mind
    assert engine.requests == []


@pytest.mark.parametrize(
    ("continuation", "reason"),
    [
        (None, "continuation without room"),
        ("so</thinking>", "continuation that comes to no end"),
        ("so</thinking><answer>2…", "continuation that comes to no end"),
        ("so</thinking><answer> </answer>", "continuation with an empty thought"),
        ("Wait, no</thinking><answer>2</answer>", "continuation that changes its mind at once"),
        ("so</thinking><answer>crash</answer>", "continuation on which the verifier failed"),
    ],
)
def test_what_comes_to_nothing_is_counted(continuation, reason):
    dropped = Counter()
    engine = Scripted({"<answer>": "3", f"{FIRST}<thinking>": continuation, "<thinking>": "a</thinking><answer>3"})
    run(long_tree(), engine, dropped)
    assert dropped == {reason: 1}


def test_a_server_of_single_thoughts_is_asked_for_a_thought_and_then_for_the_answer():
    engine = Scripted({f"{FIRST}<answer>": "3", f"{FIRST}<thinking>": " so", "so</thinking>\n<answer>": "2"})
    engine.identity = EngineIdentity("chat", "none", thoughts="in_words")
    tree = run(long_tree(), engine)
    assert [request.stop for request in engine.requests] == [("</answer>",), ("</thinking>",), ("</answer>",)]
    assert [tree.nodes[i].text for i in tree.path(tree.simulations[-1])[3:]] == ["so", "2"]


@pytest.mark.parametrize("generation_prompt", ["<assistant>", "<assistant><think>\n"])
def test_reasoning_models_go_on_in_prose(generation_prompt):
    beginning = "[user]1 + 1?<assistant><think>\nplan it\n\nit is 3"
    engine = Scripted(
        {
            f"{beginning}\n</think>\n\n": "It is 3.",
            f"{beginning}\n\n": "Well.\n\nIt is 2.\n</think>\n\n2",
        },
        generation_prompt,
    )  # fmt: skip
    tree = long_tree()
    tree.nodes[1].text = "plan it"
    for node in tree.nodes[1:2]:
        node.kind = "thinking"
    grown = run(tree, engine, continue_in="think")
    chains = [[(grown.nodes[i].kind, grown.nodes[i].text) for i in grown.path(leaf)[3:]] for leaf in grown.simulations]
    assert chains[1:] == [[("answer", "It is 3.")], [("thinking", "Well."), ("thinking", "It is 2."), ("answer", "2")]]
    assert all(request.stop == () for request in engine.requests)


@pytest.mark.parametrize("format", ["tags", "think", "plain"])
def test_a_beginning_is_what_a_chain_begins_with(format):
    whole = write_chain(CHAIN, format)
    for end in range(len(CHAIN) - 1):
        assert whole.startswith(write_beginning(CHAIN[:end], format, is_answering=False))
    answering = write_beginning(CHAIN[:-1], format, is_answering=True)
    answer = CHAIN[-1].text
    assert whole == answering + (f"<answer>{answer}</answer>" if format == "tags" else answer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples=0 is out of range"),
        ({"continue_in": "plain"}, "continue_in='plain' is unknown: use one of tags, think"),
        ({"temperature": -1}, "temperature=-1"),
        ({"top_p": 0}, "top_p=0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        RegrowConfig(**changes)


def build(trees, engine, directory, **changes):
    return asyncio.run(
        regrow_trees(
            trees, engine, verify, Selector(tokenize, SelectionConfig(sft="shortest")), directory,
            RegrowConfig(samples=2, max_new_tokens=64), source="here", show_progress=False, **changes,
        )
    )  # fmt: skip


def other_tree():
    tree = long_tree()
    tree.problem = type(tree.problem)("other", "1 + 1 + 0?", "2")
    return tree


ENDINGS = {f"{FIRST}<answer>": "2", "<answer>": "3", "<thinking>": "so</thinking>\n<answer>3</answer>"}


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    trees = [long_tree(), other_tree()]
    report, _ = build(trees, Scripted(ENDINGS, fails_after=3), tmp_path / "run", trees_in_flight=1)
    assert report.trees == 1
    assert list(report.failures.values()) == ["EngineError: it is gone"]
    again, shortening = build(trees, rest := Scripted(ENDINGS), tmp_path / "run")
    assert len(rest.requests) == 1
    assert (again.trees, again.failures, again.replayed, again.asked) == (2, {}, 1, 1)
    whole, expected = build(trees, Scripted(ENDINGS), tmp_path / "whole")
    assert shortening == expected
    assert list(load_trees(tmp_path / "run")) == list(load_trees(tmp_path / "whole"))
    assert again.rejections == whole.rejections
    assert (shortening.trees, shortening.shortened, shortening.continuations, shortening.right) == (2, 2, 4, 2)
    assert shortening.regrown < shortening.shortest == shortening.longest
    assert "(54% fewer): it became shorter in 2 trees." in describe(shortening)
    rows = json.loads((tmp_path / "run" / "report.json").read_text())["rows"]
    assert rows == {"trees": 2, "sft": 2, "preference": 2}
    (tree, _) = load_trees(tmp_path / "run")
    assert tree.provenance["regrow_generator_engine"] == "scripted"
    assert tree.provenance["seed"] == "0"  # what it says of the tree before stays
    # The card of a published dataset names the model that went on, and its licence.
    assert list(_models(None, TreeStatistics.of([tree]))) == ["none"]


def test_what_cannot_be_regrown_is_refused(tmp_path):
    for trees, message in (([], "there are none"), ([long_tree()] * 2, "two of them have the same tree_id")):
        with pytest.raises(InvalidInputError, match=message):
            build(trees, Scripted({}), tmp_path)
    build([long_tree()], Scripted(ENDINGS), tmp_path / "run")
    with pytest.raises(InvalidInputError, match="holds a run with another configuration"):
        build([long_tree()], Scripted(ENDINGS), tmp_path / "run", seed=1)
    _, nothing = build([tree_of((["thinking: a"], 0.0))], Scripted({}), tmp_path / "wrong")
    assert describe(nothing) == "No tree has a right chain: nothing was regrown."


def test_the_command(tmp_path, tiny_model_directory, dataset, capsys):
    arguments = ["--trees", dataset, "--model", tiny_model_directory, "--max_new_tokens", "8", "--num_trees", "3"]
    assert main([*arguments, "--output_dir", str(tmp_path / "run")]) == 0
    assert len(list(load_trees(tmp_path / "run"))) == 3
    assert json.loads((tmp_path / "run" / "report.json").read_text())["selection"]["sft"] == "shortest"
    assert "new continuations" in capsys.readouterr().out
