"""Answers in OpenAI's format, whole and in chunks."""

from collections.abc import Sequence
from typing import Any

from .answering import Answer
from .parameters import Asked, model_names
from .service import Service


ONLY_SUM = "logprobs hold the whole text as one token: engines give the sum alone"


class Reply:
    """
    The reply to one request, in its parts.

    Args:
        service ([`Service`]): Who replies.
        asked ([`Asked`]): What was asked.
        request_id (`str`): Names the reply.
        created (`int`): When it began, in seconds since 1970.
    """

    def __init__(self, service: Service, asked: Asked, request_id: str, created: int):
        self.asked, self.request_id = asked, request_id
        self._head = {
            "id": request_id, "created": created, "model": asked.model, "system_fingerprint": service.fingerprint,
        }  # fmt: skip

    def whole(self, answers: Sequence[Answer], trees: Sequence[str]) -> dict[str, Any]:
        """A chat completion that is sent at once."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant", "content": answer.content, "refusal": None,
                    "reasoning_content": answer.reasoning or None,
                },
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
            for index, answer in enumerate(answers)
        ]  # fmt: skip
        return {
            **self._head, "object": "chat.completion", "choices": choices, "usage": usage(answers),
            "treecot": self._about(answers, trees),
        }  # fmt: skip

    def text(self, answer: Answer) -> dict[str, Any]:
        """The continuation of a raw prompt."""
        told = None
        if self.asked.log_probabilities and answer.log_probability is not None:
            told = {
                "tokens": [answer.content], "token_logprobs": [answer.log_probability], "top_logprobs": None,
                "text_offset": [0], "note": ONLY_SUM,
            }  # fmt: skip
        reason = {"eos": "stop"}.get(answer.finish_reason, answer.finish_reason)
        stop = {"stop_reason": None} if answer.finish_reason == "eos" else {}  # vLLM's: the turn ended, by no string
        choice = {"index": 0, "text": answer.content, "finish_reason": reason, "logprobs": told, **stop}
        return {**self._head, "object": "text_completion", "choices": [choice], "usage": usage([answer])}

    def first(self, index: int) -> dict[str, Any]:
        """The chunk that opens a choice."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def more(self, index: int, kind: str, text: str) -> dict[str, Any]:
        """A chunk of a choice's thoughts or content."""
        return self._chunk(index, {"reasoning_content" if kind == "reasoning" else "content": text})

    def last(self, index: int, answer: Answer, trees: Sequence[str]) -> dict[str, Any]:
        """The chunk that closes a choice."""
        about = self._about([answer], [name for name in trees if name.endswith(f"-{index}")])
        return {**self._chunk(index, {}, answer.finish_reason), "treecot": about}

    def usage(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The chunk that says what it cost."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(answers)}

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _about(self, answers: Sequence[Answer], trees: Sequence[str]) -> dict[str, Any]:
        """What OpenAI has no field for."""
        return {
            "decoding": self.asked.decoding, "seed": self.asked.sampling.seed, "trees": list(trees),
            "votes": [answer.votes for answer in answers], "answer_vote": answers[0].answer_vote,
        }  # fmt: skip


def usage(answers: Sequence[Answer]) -> dict[str, Any]:
    """
    What a request cost. Completion tokens are all that were generated, also those of dropped branches and samples,
    which `dropped_tokens` counts by themselves; a prompt counts once.
    """
    prompt, generated = max(answer.prompt_tokens for answer in answers), sum(answer.tokens for answer in answers)
    dropped = generated - sum(answer.chain_tokens for answer in answers)
    thought = generated - sum(answer.answer_tokens for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "completion_tokens_details": {"reasoning_tokens": thought, "dropped_tokens": dropped},
    }


def models(name: str, created: int, max_length: int | None) -> list[dict[str, Any]]:
    """The list of models; those that decode otherwise have the plain one as their parent, as vLLM shows adapters."""
    first, *others = model_names(name)
    common = {"object": "model", "created": created, "owned_by": "hf_treecot"}
    if max_length is not None:
        common["max_model_len"] = max_length
    return [{"id": first, **common, "parent": None}, *({"id": other, **common, "parent": first} for other in others)]
