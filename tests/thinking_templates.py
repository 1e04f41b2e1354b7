"""Tokenizers whose chat templates know think blocks."""

from pathlib import Path

import trl
from tokenizers import AddedToken

from hf_treecot.testing.chat_templates import QWEN3, R1

from .tiny_models import tiny_tokenizer


PUBLISHED = Path(trl.__file__).parent / "chat_templates"  # TRL's copies of the templates of models


def templates() -> dict[str, str]:
    """The templates by name; those of published models as far as TRL has copies of them."""
    names = {"qwen3": "Qwen 3", "qwen3_5_think": "Qwen 3.5", "deepseek_r1_distill": "DeepSeek R1 distils"}
    paths = {title: PUBLISHED / f"{name}.jinja" for name, title in names.items()}
    found = {title: path.read_text(encoding="utf-8") for title, path in paths.items() if path.is_file()}
    return {"like Qwen 3": QWEN3, "like R1": R1, **found}


def thinking_tokenizer(template: str):
    """A tokenizer with a template of [`templates`], and `<think>` and `</think>` as tokens, as those models have."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in ("<think>", "</think>")])
    tokenizer.add_special_tokens(
        {"extra_special_tokens": ["<|im_start|>", "<|im_end|>", "<｜Assistant｜>", "<｜User｜>"]}
    )
    tokenizer.chat_template = template
    return tokenizer
