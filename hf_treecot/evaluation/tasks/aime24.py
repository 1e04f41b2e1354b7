"""AIME 2024: the 30 problems of the American Invitational Mathematics Examination; whole numbers from 0 to 999."""

from .benchmark import MATH_INSTRUCTION, Benchmark


BENCHMARK = Benchmark(
    "aime24", "HuggingFaceH4/aime_2024", ("aime_hub", "aime"), split="train", instruction=MATH_INSTRUCTION,
    generation_size=16_384,
)  # fmt: skip
