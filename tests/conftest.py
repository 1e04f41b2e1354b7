import logging
import os
import shutil
import tempfile

import pytest


# Before anything imports huggingface_hub: no test may wait for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Before anything imports datasets: no test may read what an earlier run has cached.
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="hf_treecot_tests_")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden trees anew")


def pytest_unconfigure(config):
    shutil.rmtree(os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


@pytest.fixture
def transformers_log(monkeypatch, caplog):
    """What was logged so far: transformers' loggers do not pass their messages on."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("hf_treecot"), "propagate", True)
    return lambda: "\n".join(record.getMessage() for record in caplog.records)
