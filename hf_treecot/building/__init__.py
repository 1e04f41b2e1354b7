"""Many problems become many trees: concurrently, resumably, on one machine or a cluster; and what that will take.

It must not know which engines, nor how their arguments are read.
"""
