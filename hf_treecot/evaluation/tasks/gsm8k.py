"""GSM8K: grade school mathematics (Cobbe et al. 2021, arXiv 2110.14168; MIT), the 1,319 problems of its test split."""

from .benchmark import MATH_INSTRUCTION, Benchmark


BENCHMARK = Benchmark("gsm8k", "openai/gsm8k", ("gsm8k",), subset="main", instruction=MATH_INSTRUCTION)
