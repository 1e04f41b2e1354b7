"""Counting letters in words: 500 made-up problems of the kind that the starter model knows, unseen in its training.

They come with the package, so that this task runs without a network. `generate_problems("letters", 500, 99)`.
"""

from .benchmark import PACKAGED, Benchmark


BENCHMARK = Benchmark("letters", str(PACKAGED / "letters"), ("treecot",), generation_size=512)
