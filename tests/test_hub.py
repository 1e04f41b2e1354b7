"""Publishing, against the loopback Hub with the real clients."""

import asyncio
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from datasets import concatenate_datasets, load_dataset
from huggingface_hub import DatasetCard, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx

from hf_treecot.base import Problem
from hf_treecot.building.builder import select_again
from hf_treecot.cli.main import main
from hf_treecot.errors import HubError, InvalidInputError
from hf_treecot.hub.dataset import FEATURES, OPTIONAL, DatasetWriter, load_trees
from hf_treecot.hub.push import push_model, push_space, push_trees
from hf_treecot.mcts.tree import Node, Tree
from hf_treecot.selection.selector import SelectionConfig, Selector
from hf_treecot.testing.hub import Fault, User

from .build_worker import build
from .tiny_models import save_tiny


ALWAYS = [config for config in FEATURES if config not in OPTIONAL]


ROOT = Path(__file__).parents[1]
TOKEN = "hf_loopback_write"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 12 trees."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    asyncio.run(build(directory, directory.parent / "log", delay=0.0))
    return directory


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Clients that do not pause between their attempts."""

    class Clock:
        sleep = staticmethod(lambda seconds: None)

    monkeypatch.setattr("huggingface_hub.utils._http.time", Clock)
    monkeypatch.setattr("hf_treecot.hub.repository._pause", lambda attempt, response: 0.001)


def push(run, repo_id="user/trees", **options):
    return push_trees(run, repo_id, **{"test_fraction": 0.3, **options})


def by_id(trees):
    return sorted(trees, key=lambda tree: tree.tree_id)


def uploads(hub):
    return [request for request in hub.requests if request.startswith("PUT")]


def small_run(directory, *trees, rows=()):
    with DatasetWriter(directory / "dataset") as writer:
        for tree in trees:
            writer.write("trees", tree.to_record())
        for config, row in rows:
            writer.write(config, row)
    return directory


# What arrives


@pytest.mark.parametrize("config", ALWAYS)
def test_what_is_pushed_is_what_load_dataset_gives(hub, run, config):
    published = push(run)
    assert published.changed
    local = load_dataset(str(run / "dataset"), config, split="train")
    splits = load_dataset("user/trees", config)
    assert set(splits) == {"train", "test"}
    together = concatenate_datasets([splits["train"], splits["test"]])
    assert together.features == FEATURES[config]
    order = {row["tree_id"]: i for i, row in reversed(list(enumerate(local)))}
    assert sorted(together, key=lambda row: order[row["tree_id"]]) == list(local)
    streamed = load_dataset("user/trees", config, split="train", streaming=True)
    assert list(streamed) == list(splits["train"])
    tests = set(load_dataset("user/trees", "trees", split="test")["tree_id"])
    assert tests
    assert not tests & set(splits["train"]["tree_id"])
    assert set(splits["test"]["tree_id"]) <= tests
    assert HfApi().repo_info("user/trees", repo_type="dataset").sha == published.commit


def test_trees_come_back_equal(hub, run):
    push(run)
    assert by_id(load_trees("user/trees")) == by_id(load_trees(run))


def test_trainers_take_what_was_pushed(hub, run, tmp_path):
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    push(run)
    model = save_tiny(tmp_path / "model")
    for config, trainer_class, config_class in (
        ("sft", SFTTrainer, SFTConfig), ("preference", DPOTrainer, DPOConfig),
    ):  # fmt: skip
        arguments = config_class(
            output_dir=str(tmp_path / "out"), max_steps=1, report_to="none", bf16=False, use_cpu=True, max_length=None,
            disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        rows = load_dataset("user/trees", config, split="train")
        trainer = trainer_class(model, args=arguments, train_dataset=rows)
        trainer.train()
        assert trainer.state.log_history[-1]["train_loss"] > 0


def test_other_rows_from_published_trees(hub, run, tmp_path):
    push(run)
    settings = SelectionConfig(sft="shortest", max_sft_per_tree=3, preference="all")

    def tokenize(text):
        return list(text.encode())

    report = select_again(load_trees("user/trees"), Selector(tokenize, settings), tmp_path / "again", "user/trees")
    select_again(by_id(load_trees(run)), Selector(tokenize, settings), tmp_path / "direct", "run")
    assert report.trees == 12
    assert report.selection["preference"] == "all"
    for config in ALWAYS:
        again, direct = (
            sorted(load_dataset(str(tmp_path / name / "dataset"), config, split="train"), key=str)
            for name in ("again", "direct")
        )
        assert again == direct
        assert len(again) == report.rows[config]
    assert report.rows["preference"] > json.loads((run / "report.json").read_text())["rows"]["preference"]
    assert push(tmp_path / "again", "user/other").changed
    with pytest.raises(InvalidInputError, match="holds a run with another configuration"):
        select_again(load_trees("user/trees"), Selector(tokenize), tmp_path / "again", "user/else")


# What goes wrong


@pytest.fixture(scope="module")
def whole(loopback_hub, run):
    """The files of an undisturbed push, and the number of its requests."""
    patch = pytest.MonkeyPatch()
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setenv("HF_TOKEN", TOKEN)
    loopback_hub.reset()
    push(run)
    patch.undo()
    return loopback_hub.files("datasets", "user/trees"), len(uploads(loopback_hub))


REQUESTS = {
    "whoami": "GET /api/whoami",
    "create": "POST /api/repos/create",
    "info": "GET /api/datasets/user/trees",
    "tree": "GET .*/tree/",
    "yaml": "POST /api/validate-yaml",
    "preupload": "POST .*/preupload/",
    "batch": "POST .*/batch",
    "upload": "PUT /lfs/",
    "commit": "POST .*/commit/",
}
FAULTS = {
    "refuse": {"kind": "refuse"},
    "503": {"kind": "status", "status": 503, "times": 2},
    "429": {"kind": "status", "status": 429, "retry_after": 1},
    "drop": {"kind": "drop"},
    "die": {"kind": "die"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_push_survives_every_fault_at_every_request(hub, run, whole, request_name, fault):
    hub.faults.append(Fault(request=REQUESTS[request_name], **FAULTS[fault]))
    push(run)
    assert hub.faults[0].times == 0, "the fault did not happen"
    assert hub.files("datasets", "user/trees") == whole[0]
    assert len(hub.commits("datasets", "user/trees")) == 1
    repeated = request_name == "upload"
    assert len(uploads(hub)) <= whole[1] + 2 * repeated


@pytest.mark.parametrize("status", [408, 409, 412])
def test_a_conflict_is_tried_again(hub, run, whole, status):
    hub.faults.append(Fault("status", "POST .*/commit/", status=status, times=3))
    push(run)
    assert hub.files("datasets", "user/trees") == whole[0]
    assert len(uploads(hub)) == whole[1], "files were uploaded again"


def test_a_push_that_failed_goes_on_and_uploads_nothing_twice(hub, run, whole):
    hub.faults.append(Fault("status", "POST .*/commit/", status=503, times=1000))
    with pytest.raises(HubError, match=r"^the Hub failed 8 times \(status 503\): do the same again later$"):
        push(run)
    assert hub.files("datasets", "user/trees") == {}
    hub.faults.clear()
    assert push(run).changed
    assert hub.files("datasets", "user/trees") == whole[0]
    assert len(uploads(hub)) == whole[1]


def test_unchanged_data_makes_no_commit_and_changed_data_one(hub, run, monkeypatch):
    first = push(run)
    again = push(run)
    assert (again.changed, again.commit) == (False, first.commit)
    monkeypatch.setattr("hf_treecot.hub.parquet_shards.ROWS_A_GROUP", 4)
    monkeypatch.setattr("hf_treecot.hub.dataset.ROWS_A_GROUP", 4)
    push(run, max_shard_size=1)
    assert sum(path.startswith("trees/") for path in hub.files("datasets", "user/trees")) >= 3
    push(run, test_fraction=0.0)
    commits = hub.commits("datasets", "user/trees")
    assert len(commits) == 3
    assert not any("test" in path for path in commits[0].files)
    assert by_id(load_trees("user/trees", revision=first.commit)) == by_id(load_trees("user/trees"))


def test_a_reader_sees_a_whole_dataset_at_any_time(hub, run):
    push(run)
    for fraction in (0.5, 0.1):
        push(run, test_fraction=fraction)
    for commit in hub.commits("datasets", "user/trees"):
        assert by_id(load_trees("user/trees", revision=commit.oid)) == by_id(load_trees(run))


def test_pushes_at_once_do_not_mix(hub, run, whole, tmp_path):
    push(run, "user/other", test_fraction=0.0, max_shard_size=1)
    states = [whole[0], hub.files("datasets", "user/other")]
    for state in states:
        state["README.md"] = state["README.md"].replace(b"user/other", b"user/trees").replace(b"other:", b"trees:")
    HfApi().create_repo("user/trees", repo_type="dataset")
    errors = []

    def one(options):
        try:
            push(run, **options)
        except BaseException as error:
            errors.append(error)

    options = [{}, {"test_fraction": 0.0, "max_shard_size": 1}]
    threads = [threading.Thread(target=one, args=(options[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for commit in hub.commits("datasets", "user/trees"):
        files = hub.files("datasets", "user/trees", commit.oid)
        # Of the files: one state or the other. The pictures and tables of both are the same.
        assert files.keys() in [state.keys() for state in states]
        data = [{path: body for path, body in state.items() if path != "README.md"} for state in states]
        assert {path: body for path, body in files.items() if path != "README.md"} in data


def start(*args, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "hf_treecot.cli.main", "publish", *map(str, args)], text=True, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def test_killed_in_the_middle_and_run_again_it_is_whole(hub, run, whole):
    command = ("--dataset", run, "--repo_id", "user/trees", "--test_fraction", "0.3")
    for request, skip in (("PUT /lfs/", 3), ("POST .*/commit/", 0)):
        fault = Fault("stall", request, skip=skip)
        hub.faults = [fault]
        process = start(*command)
        deadline = time.monotonic() + 60
        while fault.times and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert hub.files("datasets", "user/trees") == {}
    hub.faults = []
    process = start(*command)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(f"Published: {hub.url}/datasets/user/trees at ")
    assert TOKEN not in out + err
    assert hub.files("datasets", "user/trees") == whole[0]
    assert len(hub.commits("datasets", "user/trees")) == 1
    finished = uploads(hub)
    assert len(finished) <= whole[1] + 5, "what was uploaded before the kill was uploaded again"


def test_reading_survives_a_flaky_hub(hub, run):
    push(run)
    hub.faults += [
        Fault("drop", "GET .*/resolve/.*parquet"),
        Fault("status", "GET /api/datasets/user/trees", status=503),
    ]
    assert by_id(load_trees("user/trees")) == by_id(load_trees(run))
    assert not any(fault.times for fault in hub.faults)


# Untrusted texts

HOSTILE = [
    "---\nlicense: mit\ntags: [stolen]\n---\n# Not the card",
    "<script>alert(1)</script><img src=x onerror=alert(1)> | a | table |",
    "```\n</code></pre> # heading\n~~~ ````` `",
    "\x00\x07\x1b[31m red \u202e backwards \r\n \u2028 end",
    "{{ card_data }} {% raw %} $\\frac{1}{2}$ [link](javascript:alert(1))",
    "long " * 200_000,
]


def hostile_tree(index, text):
    problem = Problem(f"p{index} | {text[:40]}", text, text[:50], "math", text[:120], text[:120])
    nodes = [
        Node("problem", "", "", -1, role=""),
        Node("thinking", "thinking", text, 0),
        Node("answer", "answer", f"\\boxed{{{text[:9]}}}", 1, reward=1.0, answer=text[:9], reason=text[:20]),
        Node("answer", "answer", text, 1, reward=0.0, answer="wrong", reason="wrong"),
    ]
    tree = Tree(
        problem, text[:60], nodes, [2, 3], provenance={"seed": "0", "generator_model": text[:80], text[:10]: text}
    )
    tree.nodes[0].children, tree.nodes[1].children = [1], [2, 3]
    return tree


def test_hostile_rows_leave_the_card_and_the_files_well_formed(hub, tmp_path):
    trees = [hostile_tree(i, text) for i, text in enumerate(HOSTILE)]
    selector = Selector(lambda text: list(text.encode()[:1000]))
    rows = [("sft", row) for tree in trees for row in selector.select_sft(tree)]
    rows += [("preference", row) for tree in trees for row in selector.select_preferences(tree)]
    for i, first in enumerate(trees):  # each in turn is the card's example
        run = small_run(tmp_path / str(i), first, *(tree for tree in trees if tree is not first), rows=rows)
        push(run, f"user/hostile{i}", test_fraction=0.0)
        card = DatasetCard(hub.files("datasets", f"user/hostile{i}")["README.md"].decode())
        assert card.data.license == ["unknown"] or card.data.license == "unknown"
        assert "stolen" not in card.data.tags
        assert {config["config_name"] for config in card.data.configs} == set(ALWAYS)
        assert len(card.content) < 40_000
        outside = card.text[: card.text.index("## An example")] + card.text[card.text.index("## Licences") :]
        assert "<" not in outside.replace("text -> token ids", "").replace("n<1K", "")
        assert not any(ord(c) < 32 and c != "\n" for c in card.content)
        assert "\u202e" not in card.content
        headings = [line for line in card.text.splitlines() if line.startswith("## ")]
        assert headings == [f"## {name}" for name in (
            "Use", "Contents", "How it was made", "Yield and cost", "Lengths", "An example", "Licences", "Limits",
            "Citation",
        )]  # fmt: skip
        assert by_id(load_trees(f"user/hostile{i}")) == by_id(trees)
    assert len(load_dataset("user/hostile0", "preference", split="train")) == len(trees)


# Privacy


def test_private_stays_private(hub, run):
    push(run, private=True)
    push(run, test_fraction=0.0)  # says nothing of it
    assert hub.repositories["datasets", "user/trees"].private
    hub.users["hf_other"] = User("other")
    for token in (False, "hf_other"):
        with pytest.raises(HfHubHTTPError):
            HfApi().repo_info("user/trees", repo_type="dataset", token=token)
    assert httpx.get(f"{hub.url}/datasets/user/trees/resolve/main/README.md").status_code == 401
    with pytest.raises(InvalidInputError, match="private=False: dataset 'user/trees' is there already and is private"):
        push(run, private=False)
    push(run, "user/open")
    before = hub.commits("datasets", "user/open")
    with pytest.raises(InvalidInputError, match="private=True: dataset 'user/open' is there already and is public"):
        push(run, "user/open", private=True, test_fraction=0.0)
    assert hub.commits("datasets", "user/open") == before


def test_the_token_appears_nowhere(hub, run, caplog, capfd, tmp_path):
    secret = "hf_secretSECRETsecretSECRETsecretSEC"
    hub.users[secret] = User("user")
    hub.users.pop(TOKEN)
    caplog.set_level(logging.DEBUG)
    hub.faults += [Fault("status", "POST .*/commit/"), Fault("die", "PUT"), Fault("refuse", "POST .*/batch")]
    push(run, token=secret)
    hub.faults += [Fault("status", "POST .*/commit/", times=1000)]
    with pytest.raises(HubError) as error:
        push(run, token=secret, test_fraction=0.0)
    written = [*hub.files("datasets", "user/trees").values(), capfd.readouterr().err.encode(), caplog.text.encode()]
    written += [repr(error.value).encode(), repr(error.value.__cause__).encode()]
    written += [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    assert len(written) > 15
    assert not any(secret.encode() in content for content in written)


# Bad input


def not_ours(hub):
    HfApi().create_repo("user/trees", repo_type="dataset")
    HfApi().upload_file(
        path_or_fileobj=b"a,b", path_in_repo="data.csv", repo_id="user/trees", repo_type="dataset"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "hf_unknown"}, "token: the Hub does not accept it; log in with `hf auth login`"),
        ({"token": "hf_loopback_read"}, "repo_id='user/trees': the token has no right to write there"),
        ({"repo_id": "someone/trees"}, "repo_id='someone/trees': the token has no right to write there"),
        ({"repo_id": "user/a b"}, "repo_id"),
        ({"repo_id": "a/b/c"}, "repo_id='a/b/c' is not a name: write user/name, or name"),
        ({"revision": "v7"}, "revision='v7': dataset 'user/trees' has no such branch; make it with"),
        ({"test_fraction": 1.0}, "test_fraction=1.0 is out of range"),
    ],
)
def test_bad_input_is_one_clear_line(hub, run, options, message):
    with pytest.raises(InvalidInputError) as error:
        push(run, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert all(not hub.commits(*key) for key in hub.repositories)


def test_without_a_token_nothing_is_asked(hub, run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InvalidInputError, match=r"token: there is none; log in with `hf auth login`, or set HF_TOKEN"):
        push(run)
    assert hub.requests == []


def test_a_dataset_of_something_else_is_left_alone(hub, run):
    not_ours(hub)
    with pytest.raises(InvalidInputError, match=r"is a dataset of something else \(it holds 'data.csv'\)"):
        push(run)
    assert hub.files("datasets", "user/trees") == {"data.csv": b"a,b"}


def test_an_empty_run_and_a_run_without_a_dataset_are_refused(hub, tmp_path):
    with pytest.raises(InvalidInputError, match="the run is empty; build at least one tree first"):
        push(small_run(tmp_path / "empty"))
    with pytest.raises(InvalidInputError, match="there is no dataset"):
        push(tmp_path / "nothing")
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("source", "revision", "message"),
    [
        (
            "user/nothing",
            None,
            "'user/nothing' is not a directory, and cannot be read as a dataset of the Hub (no such",
        ),
        ("user/model", None, "'user/model' is not a directory, and cannot be read as a dataset of the Hub (no such"),
        ("user/trees", "v7", "cannot be read as a dataset of the Hub (no revision 'v7')"),
        ("user/csv", None, "dataset 'user/csv' on the Hub is not one of ours: it has no trees/*.parquet"),
    ],
)
def test_reading_what_is_no_dataset_of_trees_is_one_clear_line(hub, run, source, revision, message):
    push(run)
    HfApi().create_repo("user/model")
    HfApi().create_repo("user/csv", repo_type="dataset")
    HfApi().upload_file(path_or_fileobj=b"a,b\n1,2", path_in_repo="a.csv", repo_id="user/csv", repo_type="dataset")
    with pytest.raises(InvalidInputError) as error:
        load_trees(source, revision=revision)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--repo_id", "user/x"], "give one of --dataset, --model and --space (got none)"),
        (["--repo_id", "user/x", "--model", "nowhere"], "model 'nowhere': there is no config.json"),
        (["--dataset", "nowhere"], "--repo_id"),
    ],
)
def test_the_recipe_exits_with_2_and_one_line(hub, args, message):
    process = start(*args)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err


# Models and Spaces


def lighteval_results(directory, **tasks):
    path = directory / "results" / "user" / "model" / "results_2026-01-01T00-00-00.json"
    path.parent.mkdir(parents=True)
    config = {"treecot:letters|0": {"hf_repo": "user/letters", "hf_subset": "default", "evaluation_splits": ["test"]}}
    path.write_text(json.dumps({"results": {**tasks, "all": {"accuracy": 1}}, "config_tasks": config}))
    return directory / "results"


def test_a_model_is_published_with_its_results_and_without_what_is_left_of_training(hub, tmp_path):
    model = Path(save_tiny(tmp_path / "model"))
    (model / "README.md").write_text("---\ntags: [cdpo]\ndatasets: user/trees\n---\n# Mine\n\nText.\n")
    (model / "checkpoint-5").mkdir()
    (model / "checkpoint-5" / "optimizer.pt").write_bytes(b"state")
    (model / "training_args.bin").write_bytes(b"token")
    results = lighteval_results(
        tmp_path, **{"treecot:letters|0": {"accuracy": 0.5, "accuracy_stderr": 0.1, "no_answer_rate": 0.25}}
    )
    assert push_model(model, "user/model", results=[results]).changed
    assert not push_model(model, "user/model", results=[results]).changed
    files = hub.files("models", "user/model")
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files.keys()
    assert not any("checkpoint" in path or path == "training_args.bin" for path in files)
    card = ModelCard(files["README.md"].decode())
    assert card.data.tags == ["cdpo"]
    assert card.data.datasets == "user/trees"
    assert [(r.metric_type, r.metric_value, r.dataset_type, r.dataset_split) for r in card.data.eval_results] == [
        ("accuracy", 0.5, "user/letters", "test"), ("no_answer_rate", 0.25, "user/letters", "test"),
    ]  # fmt: skip
    assert "| treecot:letters | accuracy | 0.5 |" in card.text
    assert card.text.count("## Evaluation") == 1
    assert (model / "README.md").read_text().count("Evaluation") == 0
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    push_model(model, "user/model")
    assert "model.safetensors" not in hub.files("models", "user/model")


def test_results_on_benchmarks_of_the_hub_are_shown_there(hub, tmp_path, caplog):
    """Read back with the client; whole runs alone, greedy before sampled, with links to outputs and to trees."""
    api = HfApi()
    api.create_repo("user/sums", repo_type="dataset")
    tasks = {"tasks": [{"id": "sums", "config": "main", "split": "test"}, {"id": "other", "config": "hard"}]}
    api.upload_file(
        path_or_fileobj=json.dumps(tasks).encode(), path_in_repo="eval.yaml", repo_id="user/sums", repo_type="dataset"
    )
    model = Path(save_tiny(tmp_path / "model"))
    results = tmp_path / "results"
    for decoding, accuracy, asked in (("sample", 0.7, 10), ("greedy", 0.5, 10), ("mcts", 0.9, 4)):
        names = {"treecot:sums|0": "user/sums", "treecot:letters|0": "user/letters"}
        config = {
            task: {
                "hf_repo": repo, "hf_subset": "main", "evaluation_splits": ["test"], "original_num_docs": 10,
                "effective_num_docs": asked, "num_fewshots": 0,
            }
            for task, repo in names.items()
        }  # fmt: skip
        path = results / decoding / "results_2026-01-02T03-04-05.678.json"
        path.parent.mkdir(parents=True)
        figures = {task: {"accuracy": accuracy, "no_answer_rate": 0.125} for task in names}
        general = {"model_config": {"decoding": decoding}}
        path.write_text(json.dumps({"results": figures, "config_tasks": config, "config_general": general}))
    options = {"results": [results], "results_url": "https://hub/outputs", "trees": "user/trees"}
    assert push_model(model, "user/model", **options).changed
    assert not push_model(model, "user/model", **options).changed
    info = api.model_info("user/model", expand=["evalResults"])
    (entry,) = info.eval_results
    assert (entry.dataset_id, entry.task_id, entry.value) == ("user/sums", "sums", 50.0)
    assert entry.notes == "greedy, 0 shots, no answer 12.5 %"
    assert (entry.date, entry.source_url) == ("2026-01-02T03:04:05Z", "https://hub/outputs")
    assert "4 of 10 problems are no result of a benchmark" in caplog.text
    card = ModelCard(hub.files("models", "user/model")["README.md"].decode())
    assert card.data.datasets == ["user/trees"]
    assert "datasets/user/trees" in card.text
    assert {result.dataset_type for result in card.data.eval_results} == {"user/sums", "user/letters"}
    push_model(model, "user/model")  # without results: those of before are not its
    assert ".eval_results/treecot_user_sums.yaml" not in hub.files("models", "user/model")


def test_trees_that_are_no_dataset_of_the_hub_are_refused(hub, tmp_path):
    with pytest.raises(InvalidInputError, match="trees='runs/demo/trees' is no name of a dataset on the Hub"):
        push_model(save_tiny(tmp_path / "model"), "user/model", trees="runs/demo/trees")


def test_a_space_is_published(hub, tmp_path):
    space = tmp_path / "space"
    (space / "__pycache__").mkdir(parents=True)
    (space / "__pycache__" / "app.pyc").write_bytes(b"")
    (space / "app.py").write_text("print('hello')\n")
    with pytest.raises(InvalidInputError, match=r"there is no README.md whose header names an sdk"):
        push_space(space, "user/space")
    (space / "README.md").write_text("---\ntitle: Trees\nsdk: gradio\napp_file: app.py\n---\n")
    assert push_space(space, "user/space", private=True).url == f"{hub.url}/spaces/user/space"
    assert hub.files("spaces", "user/space").keys() == {"app.py", "README.md"}
    assert hub.repositories["spaces", "user/space"].private


def test_a_trainer_pushes_its_card_tags_data_and_no_token_and_can_be_asked_again(hub, run, tmp_path):
    from hf_treecot.trainers import CDPOConfig, CDPOTrainer

    push(run)
    arguments = CDPOConfig(
        output_dir=str(tmp_path / "model"), max_steps=1, report_to="none", bf16=False, use_cpu=True, max_length=None,
        disable_tqdm=True, push_to_hub=True, hub_model_id="user/model", hub_token=TOKEN, save_strategy="no",
        hub_private_repo=True,
    )  # fmt: skip
    rows = load_dataset("user/trees", "preference", split="train")
    rows = rows.filter(lambda row: max(row["chosen_length"], row["rejected_length"]) < 190)  # what a tiny model takes
    assert len(rows)
    trainer = CDPOTrainer(save_tiny(tmp_path / "base"), args=arguments, train_dataset=rows)
    trainer.train()
    hub.faults.append(Fault("die", "POST .*/commit/"))
    with suppress(httpx.TransportError):
        trainer.push_to_hub(dataset_name="user/trees")
    uploaded = len(uploads(hub))
    trainer.push_to_hub(dataset_name="user/trees")
    assert len(uploads(hub)) == uploaded
    files = hub.files("models", "user/model")
    card = ModelCard(files["README.md"].decode())
    assert card.data.datasets == "user/trees"
    assert {"trl", "cdpo", "tree-cot"} <= set(card.data.tags)
    assert "model.safetensors" in files
    assert hub.repositories["models", "user/model"].private
    assert not any(TOKEN.encode() in content for content in files.values())
    assert arguments.hub_token == TOKEN


def test_the_training_recipes_push_in_one_commit_whatever_happens(hub, run, tmp_path):
    from trl import SFTConfig, SFTTrainer

    from hf_treecot.cli.training import ScriptArguments, load_rows, train

    push(run)
    script = ScriptArguments(dataset="user/trees")
    arguments = SFTConfig(
        output_dir=str(tmp_path / "model"), max_steps=2, report_to="none", bf16=False, use_cpu=True, max_length=None,
        disable_tqdm=True, push_to_hub=True, hub_model_id="user/model", save_steps=1, hub_strategy="end",
    )  # fmt: skip
    trainer = SFTTrainer(save_tiny(tmp_path / "base"), args=arguments, train_dataset=load_rows(script, "sft"))
    hub.faults += [Fault("die", "POST .*/commit/"), Fault("refuse", "PUT /lfs/")]
    train(trainer, script, [])
    assert len(hub.commits("models", "user/model")) == 1
    files = hub.files("models", "user/model")
    assert not any("checkpoint" in path or path.endswith("training_args.bin") for path in files)
    card = ModelCard(files["README.md"].decode())
    assert card.data.datasets == "user/trees"
    assert {"trl", "sft", "tree-cot"} <= set(card.data.tags)


def test_the_card_is_read_by_the_hubs_own_parser(hub, run):
    push(run, languages=["en", "de"], license="cc-by-4.0")
    card = DatasetCard.load("user/trees")
    assert card.data.language == ["en", "de"]
    assert card.data.license == "cc-by-4.0"
    assert card.data.size_categories == "n<1K"
    assert card.data.task_categories == ["text-generation"]
    assert {"tree-cot", "mcts", "trl"} <= set(card.data.tags)
    assert yaml.safe_load(card.data.to_yaml()) == card.data.to_dict()
    report = json.loads((run / "report.json").read_text())
    assert f"| trees with a right chain | {report['with_right']} (" in card.text
    assert f"/ {report['statistics']['generated_tokens']} |" in card.text
    for reason, count in report["rejections"].items():
        assert f"| left out: {reason} | {count} |".replace("_", "\\_") in card.text
    files = hub.files("datasets", "user/trees")
    for name in ("assets/chains.png", "assets/rows.png"):
        assert f"]({name})" in card.text
        assert files[name].startswith(b"\x89PNG")


def test_the_guide_works_as_it_stands(hub, run, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "publishing.md").read_text()
    blocks = re.findall(r"```(bash|python)\n(.*?)```", page, re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "bash"]
    shutil.copytree(run, tmp_path / "runs" / "demo")
    for name in ("sft", "joint_sft_dpo"):
        save_tiny(tmp_path / "runs" / "demo" / name)
    lighteval_results(tmp_path / "runs" / "demo" / "evaluation", **{"treecot:letters|0": {"accuracy": 0.5}})
    (tmp_path / "spaces" / "treecot").mkdir(parents=True)
    (tmp_path / "spaces" / "treecot" / "README.md").write_text("---\nsdk: gradio\n---\n")
    monkeypatch.chdir(tmp_path)
    for language, block in blocks:
        if language == "python":
            names = {}
            exec(block, names)
            assert by_id(names["trees"]) == by_id(load_trees(run))
            assert names["pairs"].features == FEATURES["preference"]
            continue
        for command in block.splitlines():
            treecot, *arguments = shlex.split(command)
            assert treecot == "treecot"
            assert main(arguments) == 0
    assert capsys.readouterr().out.count("Published: ") == 4
    assert {key: bool(hub.commits(*key)) for key in hub.repositories} == {
        ("datasets", "user/treecot-demo"): True, ("models", "user/treecot-demo-joint"): True,
        ("spaces", "user/treecot-demo-space"): True, ("datasets", "user/treecot-demo-all"): True,
    }  # fmt: skip
