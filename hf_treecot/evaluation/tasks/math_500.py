"""MATH-500: 500 competition problems of MATH (Lightman et al. 2023, arXiv 2305.20050; MIT)."""

from .benchmark import MATH_INSTRUCTION, Benchmark


BENCHMARK = Benchmark("math_500", "HuggingFaceH4/MATH-500", ("math_500",), instruction=MATH_INSTRUCTION)
