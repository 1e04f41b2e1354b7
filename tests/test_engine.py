import json
import os

import pytest

from hf_treecot import files
from hf_treecot.files import fingerprint


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TREECOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fingerprints"


def test_a_fingerprint_follows_the_content_not_the_place(tmp_path):
    one, copy, other = (tmp_path / name for name in ("one", "copy", "other"))
    for path, weights in ((one, b"w" * 3_000_000), (copy, b"w" * 3_000_000), (other, b"w" * 2_999_999 + b"x")):
        path.mkdir()
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(weights)
    (copy / "README.md").write_text("what it is called does not matter")
    assert fingerprint(one) == fingerprint(copy)
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_of_an_adapter_covers_the_model_that_it_adapts(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for path in (base, adapter):
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"w")
    for name in (str(base), str(adapter), "user/name"):  # of itself, or of the Hub: its name is all there is
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": name}))
        before = fingerprint(adapter)
        (base / "model.safetensors").write_bytes(name.encode())
        assert (fingerprint(adapter) != before) is (name == str(base))


def model_with(tmp_path, weights, age=60.0):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights)
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return tmp_path


def test_a_fingerprint_covers_the_middle_of_the_weights(tmp_path):
    weights = bytearray(b"w" * 5_000_000)
    one = fingerprint(model_with(tmp_path / "one", weights))
    weights[2_500_000] = 0
    assert fingerprint(model_with(tmp_path / "two", weights)) != one


def test_a_fingerprint_costs_once(tmp_path, monkeypatch, cache):
    directory = model_with(tmp_path / "model", b"w" * 5_000_000)
    first = fingerprint(directory)
    reads = []
    read = files.hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *a: reads.append(a) or read(*a))
    assert fingerprint(directory) == first
    assert not reads
    assert fingerprint(model_with(directory, b"v" * 5_000_000, age=30.0)) != first  # other time
    assert len(reads) == 1
    next(iter(cache.iterdir())).write_text("cut off")
    next(reversed(list(cache.iterdir()))).write_text("cut off")
    assert fingerprint(directory) != first  # read again


def test_a_file_that_was_written_just_now_is_not_remembered(tmp_path, cache):
    fingerprint(model_with(tmp_path / "model", b"w" * 2_000_000, age=0.0))
    assert not cache.exists()


def test_a_fingerprint_without_a_cache_to_write_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_TREECOT_CACHE", str(tmp_path / "file"))
    directory = model_with(tmp_path / "model", b"w" * 2_000_000)
    assert fingerprint(directory) == fingerprint(directory)
