"""What lighteval 0.13 needs so that it runs beside today's libraries, and without a network, in one place.

- It asks for exactly latex2sympy2_extended 1.0.6, where math-verify asks for exactly 1.11, and refuses to be imported
  with any other, although it works with 1.11.
- `tiny_benchmarks`, one of its own tasks, downloads a file while it is imported, so that without a network no task at
  all can be loaded. An empty file in the place of the download keeps it from that; the task itself then has no data.
- `ifeval`, another, downloads data of nltk while it is imported, and waits for the network. Empty directories keep it
  from that; the task itself then has no data.
- It turns gradients off when it is imported, so that nothing could be trained afterwards in the same process.
- Averages over tasks with different metrics write zeros into the tasks that do not have them.

    pip install "hf-treecot[lighteval]" && python -m hf_treecot.evaluation.lighteval_compat

installs what it asks for, then itself, without asking for that one library, and does what its own command needs.
Nothing is done where it is not needed; recipes do the same for their own process.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection, MutableMapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from huggingface_hub import constants
from packaging.requirements import Requirement

from ..errors import InvalidInputError


TINY_BENCHMARKS = "lighteval.tasks.tasks.tiny_benchmarks"
PINNED, UNPINNED = "latex2sympy2_extended==1.0.6", "latex2sympy2_extended>=1.0.6"
RELEASE = "lighteval==0.13.0"
INSTALL = 'pip install "hf-treecot[lighteval]" && python -m hf_treecot.evaluation.lighteval_compat'


def require_lighteval() -> None:
    """
    Raises:
        InvalidInputError: lighteval is not installed; the message says how to.
    """
    if importlib.util.find_spec("lighteval") is None:
        raise InvalidInputError(f"lighteval is not installed: {INSTALL}")


def prepare() -> None:
    """
    Let this process import lighteval, and load its tasks without a network if it is told to (`HF_HUB_OFFLINE`).

    Raises:
        InvalidInputError: lighteval is not installed.
    """
    require_lighteval()
    from lighteval.utils.imports import required_dependencies

    requirements, _ = required_dependencies()  # cached, so that this is what it will look at
    if str(requirements["latex2sympy2_extended"]) == PINNED:
        requirements["latex2sympy2_extended"] = Requirement(UNPINNED)
    if constants.HF_HUB_OFFLINE and not download_path().exists():
        sys.modules.setdefault(TINY_BENCHMARKS, ModuleType(TINY_BENCHMARKS))
    if constants.HF_HUB_OFFLINE:
        _keep_from_downloading_punkt()
    gradients = torch.is_grad_enabled()
    importlib.import_module("lighteval.models.transformers.transformers_model")
    torch.set_grad_enabled(gradients)


def _keep_from_downloading_punkt() -> None:
    from ..domains.nltk_data import data_directory

    for name in ("punkt", "punkt_tab"):
        (data_directory() / "tokenizers" / name).mkdir(parents=True, exist_ok=True)


def download_path() -> Path:
    """Where lighteval keeps what `tiny_benchmarks` downloads."""
    require_lighteval()
    (package,) = importlib.util.find_spec("lighteval").submodule_search_locations
    return Path(package, "tasks", "tasks", "tinyBenchmarks.pkl")


def drop_foreign_metrics(
    aggregated: MutableMapping[str, dict[str, float]], metrics: MutableMapping[str, Collection[str]]
) -> None:
    """
    Take out what averaging wrote into tasks that do not have a metric, and averages over such tasks.

    Args:
        aggregated (`MutableMapping`): The figures of every task and of every average; changed in place.
        metrics (`MutableMapping`): The names of the metrics of every task.
    """
    shared = set.intersection(*map(set, metrics.values()))
    for task, figures in aggregated.items():
        known = metrics.get(task, shared)
        for name in list(figures):
            if not any(name == metric or name.startswith(f"{metric}_") for metric in known):
                del figures[name]


def metadata_path() -> Path:
    """Where the installed lighteval says what it needs."""
    require_lighteval()
    files = importlib.metadata.files("lighteval") or []
    return Path(next(file for file in files if file.name == "METADATA").locate())


def do_without_cache(model) -> None:
    """Give a model of ours what lighteval 0.13 expects of its cache, which knows neither prompts nor data."""
    model._cache = SimpleNamespace(_init_registry=lambda registry: None)


def install() -> None:
    """Install lighteval without what it asks for, which the extra `[lighteval]` has installed."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", RELEASE]
    if subprocess.run(command).returncode:  # noqa: S603 - nothing of it is from outside
        raise SystemExit(f"pip could not install {RELEASE}: install it without its dependencies by hand")
    importlib.invalidate_caches()


def main() -> None:
    """Install lighteval if it is missing; loosen the requirement and put the empty file in its place, and say so."""
    if importlib.util.find_spec("lighteval") is None:
        install()
    metadata, download = metadata_path(), download_path()
    text = metadata.read_text(encoding="utf-8")
    if PINNED in text:
        loosened = metadata.with_name("METADATA.unfinished")
        loosened.write_text(text.replace(PINNED, UNPINNED), encoding="utf-8")
        os.replace(loosened, metadata)  # a new file: pip may have linked the old one
        print(f"lighteval now takes any later latex2sympy2_extended ({metadata}).")
    if not download.exists():
        download.touch()
        print(f"lighteval now loads its tasks without a network ({download} is empty; remove it to undo this).")


if __name__ == "__main__":
    main()
