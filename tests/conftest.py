import os


# Before anything imports huggingface_hub: no test may wait for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden trees anew")
