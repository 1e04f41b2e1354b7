"""Where things are kept that can be made again. A room without imports of ours."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """`$HF_TREECOT_CACHE`, or `hf_treecot` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if path := os.environ.get("HF_TREECOT_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf_treecot"
