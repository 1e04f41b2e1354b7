"""Trees of requests as a dataset: there at once, whole after a kill, once each."""

import json

import httpx
import pytest
from datasets import load_dataset

from hf_treecot.errors import InvalidInputError
from hf_treecot.hub.dataset import load_trees
from hf_treecot.serving import keeping
from hf_treecot.serving.keeping import KeptTrees
from hf_treecot.space.tree_index import open_trees

from .serving_world import Writer, ask, service_of


async def ask_some(service, seeds, **more):
    from hf_treecot.serving.app import make_app

    transport = httpx.ASGITransport(app=make_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        for seed in seeds:
            reply = await client.post("/v1/chat/completions", json=ask("writer:search", seed=seed, **more))
            assert reply.status_code == 200, reply.text


def seeds_of(directory):
    return sorted(tree.tree_id for tree in load_trees(directory))


async def test_what_is_asked_becomes_a_dataset(tmp_path, run):
    directory = tmp_path / "served"
    async with KeptTrees(directory) as keep:
        service = service_of(Writer(), keep)
        await ask_some(service, [1, 2, 1])  # the third is the first again
        await ask_some(service, [3], messages=[{"role": "system", "content": "Be brief."}, *ask()["messages"]])
    kept = {s.labels["kept"]: s.value for m in service.metrics.trees.collect() for s in m.samples if "total" in s.name}
    assert kept == {"yes": 2, "no: kept before": 1, "no: of a conversation": 1}
    assert len(seeds_of(directory)) == 2
    assert len(open_trees(str(directory))) == 2
    assert len(load_dataset(str(directory / "dataset"), "trees", split="train")) == 2
    result = run("select", "--trees", directory, "--output_dir", "rows")
    assert result.returncode == 0, result.stderr
    assert "2 / 2 / 2" in result.stdout  # rows of trees, sft, preference


async def test_it_is_read_while_it_grows_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "DELAY", 0.0)
    monkeypatch.setattr(keeping, "FULL", 3)
    for start in (0, 10):
        async with KeptTrees(tmp_path) as keep:
            for seed in range(start, start + 5):
                await ask_some(service_of(Writer(), keep), [seed])
                await keep._writing
                assert len(seeds_of(tmp_path)) == 5 * (start > 0) + seed - start + 1
    assert len(list((tmp_path / "dataset" / "trees").iterdir())) == 4  # of 3 and 2, twice


async def test_what_was_answered_before_a_kill_is_kept(tmp_path):
    async with KeptTrees(tmp_path / "whole") as keep:
        await ask_some(service_of(Writer(), keep), range(3))
    killed = KeptTrees(tmp_path / "killed")
    await killed.__aenter__()
    await ask_some(service_of(Writer(), killed), range(3))
    killed._writing.cancel()  # nothing that a process does at its end
    killed._lock.__exit__(None, None, None)
    with (tmp_path / "killed" / "unwritten.jsonl").open("a") as file:
        file.write(json.dumps({"tree_id": "half"})[:-1])
    async with KeptTrees(tmp_path / "killed"):
        pass
    assert seeds_of(tmp_path / "killed") == seeds_of(tmp_path / "whole")


async def test_a_directory_is_one_servers(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("Dear")
    with pytest.raises(InvalidInputError, match="is not empty and holds no run of ours"):
        await KeptTrees(tmp_path / "other").__aenter__()
    async with KeptTrees(tmp_path / "mine"):
        with pytest.raises(InvalidInputError, match="is in use by another process"):
            await KeptTrees(tmp_path / "mine").__aenter__()
