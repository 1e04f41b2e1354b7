"""The built-in models by the names that users call them."""

from .hasty import hasty_model
from .training import starter_model


STARTER, HASTY = "starter", "hasty"
BUILT_IN = {STARTER: "hf_treecot/starter", HASTY: "hf_treecot/hasty"}  # what records and cards call them


def model_path(name: str) -> str:
    """Where the model that a user names is loaded from: `starter` and `hasty` are built in."""
    if name == HASTY:
        return str(hasty_model())
    return str(starter_model()) if name == STARTER else name
