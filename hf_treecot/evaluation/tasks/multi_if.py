"""Multi-IF: instructions that add up over three turns, in eight languages (He et al. 2024, arXiv 2410.15553).

CC-BY-NC-2.0: for evaluation only. The model's own replies are the history. A turn's figures are its authors' four
accuracies, of prompts and of instructions, strict and loose, and `turn_N_mean_acc`, their mean, which they report. One
task for all, and one for each language.
"""

from dataclasses import replace
from functools import partial

from .benchmark import CONVERSATION, Benchmark


LANGUAGES = ("Chinese", "English", "French", "Hindi", "Italian", "Portuguese", "Russian", "Spanish")


def _is_in(language: str, row: dict) -> bool:
    return row["language"] == language


BENCHMARK = Benchmark(
    "multi_if", "facebook/Multi-IF", ("multi_if",), split="train", generation_size=2048, kind=CONVERSATION
)
BY_LANGUAGE = tuple(
    replace(BENCHMARK, name=f"multi_if_{name.lower()}", keep=partial(_is_in, name), directory=BENCHMARK.name)
    for name in LANGUAGES
)
