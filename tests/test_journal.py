import asyncio
import sqlite3
from dataclasses import replace

import pytest

from hf_treecot.engines.engine import Completion, EngineIdentity, Request
from hf_treecot.engines.journal import Journal, JournaledEngine, request_key
from hf_treecot.errors import EngineError, InvalidInputError

from .worlds import FailingEngine, ScriptedEngine


REQUEST = Request("[assistant]<thinking>", ("</thinking>",), 10, 0.7, 0.9, 1)


async def test_a_finished_request_is_not_asked_again_even_by_another_process(tmp_path):
    engine = ScriptedEngine()
    journal = Journal(tmp_path / "j.sqlite")
    first = await JournaledEngine(engine, journal).generate(REQUEST)
    journal.close()
    journal = Journal(tmp_path / "j.sqlite")
    again = await JournaledEngine(engine, journal).generate(REQUEST)
    assert first == again
    assert len(engine.requests) == 1
    assert (journal.asked, journal.replayed) == (0, 1)
    journal.close()


async def test_completions_survive_unchanged(tmp_path):
    journal = Journal(tmp_path / "j.sqlite")
    completion = Completion('ünï "quoted" \n\x00 \\boxed{1}', "length", 12, 34, -0.1 - 0.2)
    journal.store(b"key", completion)
    assert journal.find(b"key") == completion
    assert journal.find(b"other") is None
    assert journal.keys() == {b"key"}


async def test_the_same_request_at_the_same_time_is_asked_once(tmp_path):
    engine = ScriptedEngine(delay=0.01)
    journaled = JournaledEngine(engine, Journal(tmp_path / "j.sqlite"))
    results = await asyncio.gather(*(journaled.generate(REQUEST) for _ in range(5)))
    assert len(set(results)) == 1
    assert len(engine.requests) == 1


async def test_failures_are_not_journaled(tmp_path):
    engine = FailingEngine(every=1)
    journal = Journal(tmp_path / "j.sqlite")
    for _ in range(2):
        with pytest.raises(EngineError):
            await JournaledEngine(engine, journal).generate(REQUEST)
    assert len(engine.requests) == 2
    assert not journal.keys()


@pytest.mark.parametrize("name", [name for name in Request.__dataclass_fields__ if name != "chat_length"])
def test_keys_depend_on_everything_that_a_completion_depends_on(name):
    changed = {
        "prompt": "x", "stop": ("y",), "max_new_tokens": 11, "temperature": 0.8, "top_p": 1.0, "seed": 2,
    }  # fmt: skip
    identity = EngineIdentity("local", "a")
    for part in EngineIdentity.__dataclass_fields__:
        assert request_key(identity, REQUEST) != request_key(replace(identity, **{part: "other"}), REQUEST)
    assert request_key(identity, REQUEST) != request_key(identity, replace(REQUEST, **{name: changed[name]}))
    assert request_key(identity, REQUEST) != request_key(EngineIdentity("local", "a", "v2"), REQUEST)
    assert request_key(identity, REQUEST) == request_key(identity, replace(REQUEST, chat_length=5))  # only a hint


def test_trees_are_kept(tmp_path):
    journal = Journal(tmp_path / "j.sqlite")
    journal.store_tree("p", {"a": [1.5, None]})
    assert journal.find_tree("p") == {"a": [1.5, None]}
    assert journal.find_tree("q") is None


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(InvalidInputError, match="cannot be used"):
        Journal(path)
    sqlite3.connect(tmp_path / "ok.sqlite").close()
