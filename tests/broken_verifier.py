"""A module of a user's own that cannot be imported."""

raise RuntimeError("I need\na licence")
