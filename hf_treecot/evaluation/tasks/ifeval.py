"""IFEval: 541 prompts with instructions that a program can check (Zhou et al. 2023, arXiv 2311.07911; Apache-2.0).

Accuracy is the strict one of whole prompts; the four figures of its authors are given besides.
"""

from .benchmark import INSTRUCTIONS, Benchmark


BENCHMARK = Benchmark("ifeval", "google/IFEval", ("ifeval",), split="train", generation_size=2048, kind=INSTRUCTIONS)
