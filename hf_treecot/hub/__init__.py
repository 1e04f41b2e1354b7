"""Datasets of trees on a disk and on the Hub, with their cards; models with their results; Spaces.

It must not know how trees are grown or rows are chosen.
"""
