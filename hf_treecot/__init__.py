"""Reasoning data that small models can learn from: Monte Carlo Tree Search over typed thoughts.

Public names are loaded when they are first used, so that `import hf_treecot` is quick and needs no torch. `search` and
`difficulty` are not among them, since the import of their modules would hide them: write
`from hf_treecot.search import search`.
"""

import importlib
from importlib.metadata import version


_NAMES = {
    "BuildConfig": "builder",
    "BuildReport": "builder",
    "build_trees": "builder",
    "select_again": "builder",
    "DatasetWriter": "dataset",
    "load_trees": "dataset",
    "Completion": "engines.engine",
    "Engine": "engines.engine",
    "EngineIdentity": "engines.engine",
    "Request": "engines.engine",
    "LocalEngine": "engines.local",
    "OpenAIEngine": "engines.openai",
    "EnginePool": "engines.pool",
    "PoolConfig": "engines.pool",
    "ServerOptions": "engines.server",
    "TGIEngine": "engines.tgi",
    "EngineError": "errors",
    "HubError": "errors",
    "InvalidInputError": "errors",
    "VerifierError": "errors",
    "push_model": "hub",
    "push_space": "hub",
    "push_trees": "hub",
    "Judgements": "judgements",
    "load_judgements": "judgements",
    "Pattern": "pattern",
    "available_patterns": "pattern",
    "load_pattern": "pattern",
    "Problem": "problems",
    "load_problems": "problems",
    "SearchConfig": "search",
    "SelectionConfig": "selection",
    "Selector": "selection",
    "select_preferences": "selection",
    "select_sft": "selection",
    "starter_model": "starter.training",
    "Node": "tree",
    "Tree": "tree",
    "Verdict": "verifiers",
    "VerifierPool": "verifiers.worker",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name == "__version__":
        return version("hf-treecot")
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
