"""Proof: how often a model is right, and how it fails when it is not."""
