"""Monte Carlo Tree Search over typed thoughts: the tree, the patterns of transitions, and the search that grows it.

It must not know where completions come from, nor what becomes of a tree.
"""
