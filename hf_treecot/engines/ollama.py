"""Ollama's `/api/generate` in the words of OpenAI's completions. Its own `/v1/completions` cannot take raw text."""

from collections.abc import Mapping
from typing import Any


OPTIONS = {
    "max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": "stop",
}  # fmt: skip


def to_ollama(body: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    """
    A request of Ollama's.

    Args:
        body (`Mapping[str, Any]`): A request of `/v1/completions`.
        neutral (`Mapping[str, Any]`): Settings by which the server's own do nothing, in Ollama's names.
    """
    options = {OPTIONS[name]: value for name, value in body.items() if name in OPTIONS}
    return {
        "model": body["model"],
        "prompt": body["prompt"],
        "raw": True,  # without the model's chat template
        "stream": False,
        "logprobs": True,
        "truncate": False,  # a prompt that is too long is refused, instead of losing its beginning
        "shift": False,
        "options": {**neutral, **options},
    }


def from_ollama(answer: Any) -> dict[str, Any]:
    """An answer of Ollama's as `/v1/completions` has it. What it lacks is missing there too."""
    choice = {
        "text": answer["response"],
        "finish_reason": answer["done_reason"],
        "logprobs": {"content": answer.get("logprobs") or []},
    }
    usage = {"prompt_tokens": answer.get("prompt_eval_count"), "completion_tokens": answer["eval_count"]}
    return {"choices": [choice], "usage": usage}
