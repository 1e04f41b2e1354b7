import copy

import pytest
import yaml

from hf_treecot.errors import InvalidInputError
from hf_treecot.mcts.pattern import KINDS, PATTERN_DIRECTORY, available_patterns, load_pattern


GOOD = {
    "name": "good",
    "start": {"thinking": 2},
    "thoughts": {
        "thinking": {"tag": "thinking", "next": {"thinking": 1, "answer": 1}},
        "reflection": {"tag": "reflection", "closed": True, "prefills": ["Wait!"], "next": {"thinking": 1}},
        "answer": {"tag": "answer", "terminal": True},
    },
    "on_wrong": {"add": "reflection", "under": ["thinking"]},
}


def write(tmp_path, data):
    path = tmp_path / "mine.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return path


def test_the_papers_patterns_and_the_released_one_come_with_the_package():
    assert available_patterns() == ["double_check", "hypothesis", "reclarify", "reflection", "released_demo"]
    used = {kind for name in available_patterns() for kind in load_pattern(name).thoughts}
    assert used == set(KINDS)


def test_transitions_of_the_paper():
    a, b, c, d, demo = (
        load_pattern(n) for n in ("reflection", "hypothesis", "double_check", "reclarify", "released_demo")
    )
    for pattern in (a, b, c, d, demo):
        assert list(pattern.next_kinds(None)) == ["sub_task"]
    assert (a.on_wrong.add, b.on_wrong.add, c.on_wrong, d.on_wrong.add) == (
        "reflection",
        "thinking",
        None,
        "reclarify",
    )
    assert set(c.thoughts["thinking"].next) == {"thinking", "double_check", "answer"}
    assert set(c.thoughts["double_check"].next) == {"thinking", "answer"}
    assert demo.start == {"sub_task": 2}
    assert {k: dict(s.next) for k, s in demo.thoughts.items()} == {
        "sub_task": {"thinking": 2},
        "thinking": {"double_check": 2, "thinking": 2},
        "double_check": {"answer": 1},
        "reflection": {"thinking_from_scratch": 2},
        "thinking_from_scratch": {"thinking": 2},
        "answer": {},
    }
    assert demo.on_wrong.under == ("double_check",)
    assert {k for k, s in demo.thoughts.items() if s.role == "critic"} == {
        "double_check", "reflection", "thinking_from_scratch",
    }  # fmt: skip


def test_a_pattern_of_ones_own(tmp_path):
    pattern = load_pattern(write(tmp_path, GOOD))
    assert pattern.thoughts["thinking"].opening == "<thinking>"
    assert pattern.thoughts["reflection"].closed
    assert pattern.system_prompt("critic") == ""


def test_system_prompt_lists_the_kinds():
    prompt = load_pattern("reflection").system_prompt("generator")
    assert "- <sub-task>: break the problem down" in prompt
    assert "{thoughts}" not in prompt


def change(path, value):
    def apply(data):
        *parents, last = path.split(".")
        for parent in parents:
            data = data[parent]
        if value is KeyError:
            del data[last]
        else:
            data[last] = value

    return apply


@pytest.mark.parametrize(
    ("mutate", "message"),
    [
        (change("thoughts.thinking.tag", KeyError), r"thoughts\.thinking\.tag: missing; add it"),
        (change("thoughts.thinking.tag", "a b"), r"thoughts\.thinking\.tag: must be a word"),
        (change("thoughts.thinking.tag", "answer"), r"thoughts\.thinking\.tag: 'answer' is used twice"),
        (change("thoughts.musing", {"tag": "musing"}), r"thoughts\.musing: unknown kind; use one of sub_task"),
        (change("thoughts.thinking.next", {"musing": 1}), r"thoughts\.thinking\.next\.musing: unknown kind"),
        (
            change("thoughts.thinking.next", {"thinking": 1}),
            r"thoughts\.thinking\.next: no way from here to an answer",
        ),
        (change("thoughts.thinking.next", {"answer": 0}), r"next\.answer: the count must be .* from 1 to 64, got 0"),
        (change("thoughts.thinking.next", {"answer": True}), r"next\.answer: the count .* got True"),
        (change("thoughts.thinking.next", {}), r"thoughts\.thinking\.next: must map at least one kind"),
        (change("start", {"thinking": -1}), r"start\.thinking: the count must be"),
        (change("start", KeyError), r"start: missing; add it"),
        (change("thoughts.answer.terminal", False), r"no way to an answer; set terminal: true|must map at least one"),
        (
            change("thoughts.answer.next", {"thinking": 1}),
            r"thoughts\.answer\.next: nothing may follow a terminal kind",
        ),
        (change("thoughts.thinking.role", "judge"), r"thoughts\.thinking\.role: unknown role 'judge'; use one of"),
        (change("thoughts.thinking.rolle", "critic"), r"thoughts\.thinking\.rolle: unknown key; use one of kind, tag"),
        (change("thoughts.reflection.prefills", [""]), r"thoughts\.reflection\.prefills: a closed thought"),
        (change("thoughts.thinking.prefills", "Hm"), r"thoughts\.thinking\.prefills: must be a list"),
        (change("thoughts.thinking.closed", "yes"), r"thoughts\.thinking\.closed: must be true or false"),
        (change("on_wrong.add", "musing"), r"on_wrong\.add: unknown kind 'musing'"),
        (change("on_wrong.add", "answer"), r"on_wrong\.add: 'answer' is terminal"),
        (change("on_wrong.under", []), r"on_wrong\.under: must be a list of at least one kind"),
        (change("on_wrong.under", ["answer"]), r"on_wrong\.under: 'answer' is not a kind"),
        (change("on_wrong.count", 0), r"on_wrong\.count: must be a whole number of at least 1"),
        (change("on_wrong", KeyError), r"thoughts\.reflection: nothing leads to this kind"),
        (change("system_prompts", {"judge": "x"}), r"system_prompts\.judge: unknown role"),
        (change("system_prompts", {"critic": ["x"]}), r"system_prompts\.critic: must be text"),
        (change("system_prompts", "x"), r"system_prompts: must map roles to text, got 'x'"),
        (change("description", 3), r"description: must be text"),
        (change("thoughts.answer.next", None), r"thoughts\.answer\.next: must map kinds to counts, got None"),
        (change("thoughts.thinking.prefills", ["</answer>"]), r"thinking\.prefills: </answer> would end the thought"),
        (change("thoughts.thinking.description", 3), r"thoughts\.thinking\.description: must be text"),
        (change("on_wrong.add", ["reflection"]), r"on_wrong\.add: unknown kind"),
        (change("on_wrong.under", [["thinking"]]), r"on_wrong\.under: \['thinking'\] is not a kind"),
        (change("thoughts", {}), r"thoughts: list at least one kind"),
        (change("thoughts.thinking", "text"), r"thoughts\.thinking: expected a mapping, got 'text'"),
    ],
)
def test_malformed_patterns_are_refused_with_file_key_and_remedy(tmp_path, mutate, message):
    data = copy.deepcopy(GOOD)
    mutate(data)
    path = write(tmp_path, data)
    with pytest.raises(InvalidInputError, match=message) as error:
        load_pattern(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["just text", "- a\n- b", "", "name: [unclosed"])
def test_files_that_are_no_mapping_are_refused(tmp_path, text):
    with pytest.raises(InvalidInputError, match=r"mine\.yaml"):
        load_pattern(write(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(InvalidInputError, match=r"mine\.yaml: not valid YAML in UTF-8"):
        load_pattern(path)


def test_unknown_patterns_are_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="'socratic' does not exist: use one of double_check, hypothesis"):
        load_pattern("socratic")


def test_every_file_in_the_directory_is_a_pattern_of_its_name():
    for path in PATTERN_DIRECTORY.glob("*.yaml"):
        assert load_pattern(path).name == path.stem
