"""Sampling settings with which a server's own do nothing: the same request means the same to all of them.

Temperature and nucleus are a request's; this module holds all else, in the names of each server.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ..errors import EngineError


logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
# TGI takes no value of top_k and typical_p that does nothing; left out, they do nothing.
TGI_SETTINGS = {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "watermark": False}
# Settings that do nothing, by the kind of server. vLLM and SGLang would take the first three from the
# model's generation_config.json; llama.cpp has defaults of its own, and would take the nucleus before the temperature.
STANDARD = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
VLLM = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
LLAMA_CPP = {
    "top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "dry_multiplier": 0.0, "xtc_probability": 0.0,
    "top_n_sigma": -1.0, "dynatemp_range": 0.0, "mirostat": 0, "samplers": ["temperature", "top_p"],
}  # fmt: skip
OLLAMA = {
    "top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "mirostat": 0,
}  # fmt: skip
# Those of its `generation_config`, in which all is stated; see `openai`.
TRANSFORMERS = {"top_k": 0, "typical_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
OPENAI_SETTINGS = {
    "vllm": {**STANDARD, **VLLM},
    "sglang": {**STANDARD, **VLLM},
    "llamacpp": {**STANDARD, **LLAMA_CPP},
    "ollama": {**STANDARD, **OLLAMA},
    "transformers": TRANSFORMERS,
    "hf_treecot": STANDARD,
}
OPENAI_ANYWHERE = {**STANDARD, **LLAMA_CPP, **VLLM}
# What the servers' messages say of a field that they do not know: OpenAI, pydantic and others.
UNKNOWN_FIELD = re.compile(
    r"unknown|unrecogni[sz]ed|unexpected|unsupported|extra (inputs|fields)|extra_forbidden|additional propert"
    r"|not (permitted|allowed|supported|recogni[sz]ed)",
    re.IGNORECASE,
)


class NeutralSettings:
    """
    Sampling settings that are stated in every request, since a server has values of its own where nothing is said.

    A server that refuses some of them gets the others.

    Args:
        url (`str`): The server.
        fields (`Mapping[str, Any]`): Its names of the settings, and the values with which they do nothing.
    """

    def __init__(self, url: str, fields: Mapping[str, Any]):
        self.url, self.fields = url, dict(fields)

    async def ask(self, send: Callable[[Mapping[str, Any]], Awaitable[Answer]]) -> Answer:
        """
        Send a request with them.

        Args:
            send (`Callable`): `await send(fields)` gives the answer.

        Raises:
            EngineError: Whatever `send` raised, unless it was of these fields.
        """
        before = self.fields
        while True:
            fields = self.fields
            try:
                answer = await send(fields)
            except EngineError as error:
                refused = _refused_fields(error, fields)
                if not refused:
                    self.fields = before  # it was not of them
                    raise
                self.fields = {name: value for name, value in self.fields.items() if name not in refused}
            else:
                if dropped := sorted(before.keys() - fields.keys()):
                    logger.warning(
                        "server %s refuses %s: they are left out, and the server's own values hold",
                        self.url,
                        ", ".join(dropped),
                    )
                return answer


def _refused_fields(error: EngineError, fields: Mapping[str, Any]) -> set[str]:
    """Those of the fields that a server refuses, by its message; all if it does not name the one that it refuses."""
    if type(error) is not EngineError or error.status not in (400, 422):
        return set()
    named = {name for name in fields if re.search(rf"\b{name}\b", str(error))}
    return named or (set(fields) if UNKNOWN_FIELD.search(str(error)) else set())
