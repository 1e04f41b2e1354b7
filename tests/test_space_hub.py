"""The Space and the Hub: datasets browsed there, judgements kept there, the Space itself published."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


pytest.importorskip("gradio")
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils import httpx

from hf_treecot.engines.server_process import free_port
from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.push import push_space
from hf_treecot.selection.judgements import Judgement, load_judgements
from hf_treecot.space import judging
from hf_treecot.space.tree_index import Query, open_trees

from .space import small_tree, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", (small_tree(i, right=1 + i % 2, wrong=1) for i in range(30)))


def test_a_dataset_on_the_hub_is_browsed(hub, run):
    from hf_treecot.hub.push import push_trees

    push_trees(run, "user/trees", private=True)
    index = open_trees("user/trees", directories=False)
    assert len(index) == 30
    (row,) = index.find(Query(text="p-17"))["row"].to_pylist()
    assert index.tree(row) == small_tree(17, right=2, wrong=1)
    assert len(index.pairs(index.tree(row))) == 1
    with pytest.raises(InvalidInputError, match="user/trees"):  # a visitor may not use the owner's token
        open_trees("user/trees", directories=False, token=False)


def test_judgements_go_to_the_hub_and_come_back(hub, tmp_path):
    log, scheduler = judging.open_log(tmp_path / "one", "user/judgements")
    log.add(Judgement("x", "reject", "ann", "secret reason"))
    scheduler.trigger().result()
    scheduler.stop()
    assert HfApi().repo_info("user/judgements", repo_type="dataset").private
    again, scheduler = judging.open_log(tmp_path / "two", "user/judgements")  # a Space that has lost its disk
    assert again.of("ann")["x"].comment == "secret reason"
    again.undo("ann")
    scheduler.trigger().result()
    scheduler.stop()
    everything = snapshot_download("user/judgements", repo_type="dataset", local_dir=tmp_path / "three")
    assert not load_judgements(everything).rejects("x")
    assert again.of("ann") == {}


def pip(*args):
    result = subprocess.run([sys.executable, "-m", "pip", *args], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_published_space_starts_without_a_release(hub, tmp_path, run, monkeypatch):
    """As its build does it: what `requirements.txt` names is fetched from the Space and installed."""
    published = push_space(None, "user/space", private=False)
    files = Path(snapshot_download("user/space", repo_type="space", local_dir=tmp_path / "space"))
    (wheel,) = files.glob("*.whl")
    name, address = (files / "requirements.txt").read_text().strip().split(" @ ")
    assert name == "hf-treecot[space]"
    assert address.endswith(f"/spaces/user/space/resolve/main/{wheel.name}")
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path / "site"), str(wheel))
    assert (tmp_path / "site" / "hf_treecot" / "space" / "tree_view.js").is_file()
    assert (tmp_path / "site" / "hf_treecot" / "cli" / "configs" / "build" / "demo.yaml").is_file()
    assert not push_space(None, "user/space").changed  # the same files make the same wheel
    assert published.changed
    port = free_port()
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path / "site"), "TREECOT_SOURCE": str(run),
        "GRADIO_SERVER_PORT": str(port),
    }  # fmt: skip
    app = subprocess.Popen([sys.executable, "app.py"], cwd=files, env=environment)
    try:
        assert "Trees of thoughts" in _get_when_up(f"http://127.0.0.1:{port}/config")
    finally:
        app.terminate()
        app.wait()


def test_a_private_space_installs_its_wheel_itself(hub, tmp_path):
    push_space(None, "user/private", private=True)
    files = hub.files("spaces", "user/private")
    needed = files["requirements.txt"].decode()
    assert "gradio" in needed
    assert "trl" in needed
    assert "resolve/main" not in needed
    assert any(path.endswith(".whl") for path in files)
    assert "__init__.py" not in files


def test_a_space_of_ones_own_is_published_as_it_is(hub, tmp_path):
    (tmp_path / "README.md").write_text("---\nsdk: gradio\n---\n")
    (tmp_path / "app.py").write_text("1\n")
    push_space(tmp_path, "user/mine")
    assert {"README.md", "app.py"} == {path for path in hub.files("spaces", "user/mine") if path != ".gitattributes"}


def _get_when_up(url):
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url).raise_for_status().text
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
