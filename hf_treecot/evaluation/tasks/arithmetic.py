"""Word problems of a few steps: 500 made-up problems of the kind that the starter model knows, unseen in its training.

They come with the package, so that this task runs without a network. `generate_problems("arithmetic", 500, 99)`.
"""

from .benchmark import PACKAGED, Benchmark


BENCHMARK = Benchmark("arithmetic", str(PACKAGED / "arithmetic"), ("treecot",), generation_size=512)
