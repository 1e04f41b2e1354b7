"""Chains of thought that exist already: published traces become trees, and trees of any origin are searched on.

It must not know how trees become a dataset, nor where they are published.
"""
