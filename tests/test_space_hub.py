"""The Space and the Hub: datasets browsed there, judgements kept there, the Space itself published."""

import subprocess
import sys
import time

import pytest


pytest.importorskip("gradio")
import httpx
from huggingface_hub import HfApi, snapshot_download

from hf_treecot.errors import InvalidInputError
from hf_treecot.selection.judgements import Judgement, load_judgements
from hf_treecot.space import judging
from hf_treecot.space.tree_index import Query, open_trees

from .space import SPACE, small_tree, write_run


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


def test_the_published_space_starts(hub, tmp_path, run):
    from hf_treecot.hub.push import push_space

    push_space(SPACE, "user/space")
    files = snapshot_download("user/space", repo_type="space", local_dir=tmp_path / "space")
    port = _free_port()
    arguments = ["--source", str(run), "--judgements", str(tmp_path / "judgements"), "--port", str(port)]
    app = subprocess.Popen([sys.executable, "app.py", *arguments], cwd=files)
    try:
        assert "Trees of thoughts" in _get_when_up(f"http://127.0.0.1:{port}/config")
    finally:
        app.terminate()
        app.wait()


def _free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _get_when_up(url):
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url).raise_for_status().text
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
