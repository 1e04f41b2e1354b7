"""Files that anyone may have written."""

from pathlib import Path

import pytest

from hf_treecot.errors import InvalidInputError
from hf_treecot.files import read_yaml, write_atomically


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"an alias, \*a, is not read: write the value out"),
        ("a: &a [*a]", r"an alias, \*a, is not read"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a: " + "{a: " * 5000 + "1" + "}" * 5000, "nested too deep"),
        ("a: [unclosed", "not valid YAML in UTF-8"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML in UTF-8"),
        ("# " + "x" * 2**20, "larger than a mebibyte"),
    ],
)
def test_hostile_yaml_is_one_line(tmp_path, text, message):
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=message) as error:
        read_yaml(path)
    assert str(error.value).startswith(f"{path}: ")


def test_anchors_alone_and_everything_else_are_read(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text("a: &a [1, 2.5, true, null]\nb: {c: text}\n")
    assert read_yaml(path) == {"a": [1, 2.5, True, None], "b": {"c": "text"}}


def test_a_file_is_whole_or_not_there_in_the_working_directory_too(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    write_atomically(Path("run.json"), "{}")
    assert Path("run.json").read_text() == "{}"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["run", "run.json"]
