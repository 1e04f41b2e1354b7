from hf_treecot.files import fingerprint


def test_a_fingerprint_follows_the_content_not_the_place(tmp_path):
    one, copy, other = (tmp_path / name for name in ("one", "copy", "other"))
    for path, weights in ((one, b"w" * 3_000_000), (copy, b"w" * 3_000_000), (other, b"w" * 2_999_999 + b"x")):
        path.mkdir()
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(weights)
    (copy / "README.md").write_text("what it is called does not matter")
    assert fingerprint(one) == fingerprint(copy)
    assert fingerprint(one) != fingerprint(other)
