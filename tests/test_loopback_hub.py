"""The loopback Hub against the real clients: what other tests lean on."""

import io

import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import httpx

from hf_treecot.testing.hub import Fault, LoopbackHub, User


def commit(repo_id, files, **options):
    operations = [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
    return HfApi().create_commit(repo_id, operations, commit_message="files", **options)


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_what_is_committed_comes_back(hub, tmp_path, kind):
    api = HfApi()
    api.create_repo("user/name", repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    large = bytes(range(256)) * 5000
    commit(
        "user/name", {"a/b.txt": b"text", "large.bin": large, "README.md": b"---\ntags: [a]\n---\n"}, repo_type=kind
    )
    assert api.list_repo_files("user/name", repo_type=kind) == [".gitattributes", "README.md", "a/b.txt", "large.bin"]
    snapshot_download("user/name", repo_type=kind, local_dir=tmp_path / "copy")
    assert (tmp_path / "copy" / "large.bin").read_bytes() == large
    assert hub.files(f"{kind}s", "user/name")["a/b.txt"] == b"text"
    api.create_commit("user/name", [CommitOperationDelete("a/b.txt")], commit_message="gone", repo_type=kind)
    assert [e.path for e in api.list_repo_tree("user/name", repo_type=kind)] == [
        ".gitattributes", "README.md", "large.bin",
    ]  # fmt: skip
    assert len(api.list_repo_commits("user/name", repo_type=kind)) == 3


def test_revisions_and_parents(hub):
    api = HfApi()
    api.create_repo("user/name")
    first = commit("user/name", {"a": b"1"}).oid
    api.create_branch("user/name", branch="v1/x")
    commit("user/name", {"a": b"2"}, parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="412"):
        commit("user/name", {"a": b"3"}, parent_commit=first)
    for revision, content in (("main", b"2"), ("v1/x", b"1"), (first, b"1")):
        with open(hf_hub_download("user/name", "a", revision=revision), "rb") as file:
            assert file.read() == content
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("user/name", revision="v2")


def test_rights(hub, monkeypatch):
    api = HfApi()
    api.create_repo("user/secret", private=True)
    hub.users["hf_other"] = User("other", orgs=("club",))
    for token in ("hf_other", False):
        with pytest.raises(RepositoryNotFoundError):
            api.repo_info("user/secret", token=token)
    assert api.repo_info("user/secret").private
    for repo_id, token in (("club/x", "hf_loopback_write"), ("user/x", "hf_loopback_read")):
        with pytest.raises(HfHubHTTPError, match="403"):
            api.create_repo(repo_id, token=token)
    api.create_repo("club/x", token="hf_other")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_unknown")


def test_datasets_push_and_load(hub):
    rows = Dataset.from_dict({"n": list(range(100))})
    rows.push_to_hub("user/rows", "one", split="train")
    assert load_dataset("user/rows", "one", split="train")["n"] == rows["n"]
    assert [row["n"] for row in load_dataset("user/rows", "one", split="train", streaming=True)] == list(range(100))


def test_a_directory_of_repositories_is_served(tmp_path):
    (tmp_path / "models" / "user" / "m").mkdir(parents=True)
    (tmp_path / "models" / "user" / "m" / "config.json").write_text("{}")
    with LoopbackHub(directory=tmp_path) as hub:
        assert hub.files("models", "user/m") == {"config.json": b"{}"}
        assert "config.json" in httpx.get(f"{hub.url}/api/models/user/m/tree/main").text
        part = httpx.get(f"{hub.url}/user/m/resolve/main/config.json", headers={"Range": "bytes=1-"})
        assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "}", "bytes 1-1/2")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("refuse", "POST .*/commit/"), "ReadError|RemoteProtocolError|ConnectError|WriteError"),
        (Fault("status", "POST .*/commit/", status=503), "503"),
        (Fault("drop", "POST .*/commit/"), "RemoteProtocolError"),
        (Fault("die", "POST .*/commit/"), "ReadError|RemoteProtocolError"),
    ],
)
def test_faults_are_seen_by_the_client_and_only_the_last_two_leave_a_commit(hub, fault, error):
    HfApi().create_repo("user/name")
    hub.faults.append(fault)
    with pytest.raises((HfHubHTTPError, httpx.TransportError)) as caught:
        commit("user/name", {"a": b"1"})
    assert any(name in f"{type(caught.value).__name__} {caught.value}" for name in error.split("|"))
    assert len(hub.commits("models", "user/name")) == (fault.kind in ("drop", "die"))
    commit("user/name", {"a": b"2"})
    assert hub.files("models", "user/name") == {"a": b"2"}
