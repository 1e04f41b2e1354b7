import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass

import pytest


# Before anything imports huggingface_hub: no test may wait for a network, or see the user's token and caches. The
# endpoint is that of the loopback Hub, which listens only for the tests that ask for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads would only wait for each other
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf_treecot_tests_")
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
    os.environ.pop(name, None)
LISTENER = socket.socket()
LISTENER.bind(("127.0.0.1", 0))
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{LISTENER.getsockname()[1]}"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden trees anew")


# Files by what makes them slow, for `make test-fast`.
MARKS = {
    "browser": ("test_space_browser", "test_space_browser_tabs", "test_space_hub"),
    "servers": (
        "test_builder", "test_cli_engines", "test_docs", "test_hub", "test_pool", "test_server_engines",
        "test_server_kinds", "test_server_process", "test_serving", "test_sharding", "test_which_engine",
    ),
    "training": (
        "test_ablation", "test_callbacks", "test_cdpo_trainer", "test_cli_training", "test_cli_evaluate",
        "test_evolve", "test_masked_thought", "test_quickstart", "test_redi", "test_starter", "test_training_runs",
        "test_lighteval_compat", "test_accelerate_configs", "test_precision", "test_tree_advantage", "test_tree_sft",
        "test_value_trainer", "test_value_model",
    ),
}  # fmt: skip


def marks_of(path):
    """The marks that all tests of a file have."""
    return [mark for mark, files in MARKS.items() if path.stem in files]


def pytest_ignore_collect(collection_path, config):
    """A file that `-m "not …"` leaves out as a whole is not imported either: some take seconds to import."""
    return any(f"not {mark}" in config.option.markexpr for mark in marks_of(collection_path)) or None


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in marks_of(item.path):
            item.add_marker(getattr(pytest.mark, mark))
    items.sort(key=lambda item: not marks_of(item.path))  # long files first, so that no process waits for the last


def pytest_unconfigure(config):
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def loopback_hub():
    from hf_treecot.testing.hub import LoopbackHub

    with LoopbackHub(LISTENER) as hub:
        yield hub


@pytest.fixture
def hub(loopback_hub, monkeypatch):
    """An empty Hub at `HF_ENDPOINT`, clients that may use it, and a token of its user `user` who may write."""
    from huggingface_hub import HfFileSystem, constants

    loopback_hub.reset()
    HfFileSystem.clear_instance_cache()
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)  # what another test's Hub had under the same names
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # of processes that the test starts
    monkeypatch.setenv("HF_TOKEN", "hf_loopback_write")
    return loopback_hub


@pytest.fixture
def transformers_log(monkeypatch, caplog):
    """What was logged so far: transformers' loggers do not pass their messages on."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("hf_treecot"), "propagate", True)
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@dataclass
class Result:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `treecot NAME …` in an empty directory, in this process: importing torch anew for each takes seconds."""
    from hf_treecot.cli.main import main

    def run(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["treecot"])
        capsys.readouterr()
        try:
            code = main([name, *map(str, args)])
        except SystemExit as end:
            code = end.code or 0
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny_model_directory(tmp_path_factory):
    """A model that is too small to be right, trained for a moment."""
    from hf_treecot.starter.training import StarterRecipe, train_starter

    path = tmp_path_factory.mktemp("models") / "tiny"
    train_starter(
        StarterRecipe(num_steps=2, num_drill_steps=1, batch_size=2, hidden_size=16, num_heads=2, intermediate_size=16),
        path,
    )
    return str(path)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A dataset of trees that a scripted engine wrote."""
    from .test_builder import small_build

    path = tmp_path_factory.mktemp("trees") / "run"
    asyncio.run(small_build(path))
    return str(path / "dataset")


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """Tiny models of every family that trainers are tested with, by the family's name."""
    from .tiny_models import CONFIGS, save_tiny

    return {family: save_tiny(tmp_path_factory.mktemp(family), family) for family in CONFIGS}
