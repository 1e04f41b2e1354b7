"""What this app serves, and to whom: one frozen object that every tab is given."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import gradio as gr

from ..selection.judgements import JudgementLog
from .talk import Limits, Models
from .tree_index import TreeIndex, open_trees


PUBLIC_LIMITS = Limits(question=1000, tokens=512, search_tokens=8000, simulations=16, seconds=60.0)


@dataclass(frozen=True)
class Workspace:
    """
    What an app serves.

    Args:
        source (`str`): The trees that it opens by itself.
        models ([`Models`]): Who may be talked to.
        log ([`JudgementLog`]): Where judgements go.
        results (`Path`, *optional*): Where the results of evaluations are.
        public (`bool`): Visitors are strangers: no directories but the owner's, no private datasets, only the models
            that are offered, and tighter limits.
    """

    source: str
    models: Models
    log: JudgementLog
    results: Path | None
    public: bool

    @property
    def limits(self) -> Limits:
        """What one visitor may ask for."""
        return PUBLIC_LIMITS if self.public else Limits()

    @property
    def shown(self) -> str:
        """What the source is called: visitors need not know where the owner's directories are."""
        is_local = self.public and Path(self.source).is_dir()
        return f"{Path(self.source).resolve().name} (of this Space)" if is_local else self.source

    def open(self, source: str) -> TreeIndex:
        """The trees of a source, kept open; see [`open_trees`]."""
        source = self.source if source.strip() == self.shown else source.strip()
        owners = not self.public or source == self.source
        return _open(source, owners, None if owners else False, _fingerprint(source) if owners else 0.0)


@lru_cache(maxsize=4)
def _open(source: str, directories: bool, token: bool | None, _fingerprint: float) -> TreeIndex:
    return open_trees(source, directories=directories, token=token)


def _fingerprint(source: str) -> float:
    """When a directory's trees were written: another build must not be shown by an older one's index."""
    paths = [*Path(source).glob("trees/*.parquet"), *Path(source).glob("dataset/trees/*.parquet")] if source else []
    return max((path.stat().st_mtime for path in paths), default=0.0)


def gpu(function: Callable) -> Callable:
    """On ZeroGPU, a function that gets a GPU while it runs; elsewhere the function itself."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return function
    import spaces

    return spaces.GPU(duration=int(PUBLIC_LIMITS.seconds))(function)


def tree_view(elem_id: str, value: dict | None = None) -> gr.HTML:
    """A drawn tree. Its value is a [`~rendering.tree_payload`]; `select` says which node was chosen at which step."""
    return gr.HTML(
        value,
        html_template='<div class="tree-view"></div>',
        js_on_load='treecot.mount(element, props, trigger, watch); // triggers "select"',
        apply_default_css=False,
        elem_id=elem_id,
    )


PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}  # arguments of events that are not an API
