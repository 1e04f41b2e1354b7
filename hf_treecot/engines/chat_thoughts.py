"""One thought as a turn of a conversation: how a chat server is asked for it, and how its reply is read.

Pure functions on messages and texts. This module must not know servers, nor how requests are sent.
"""

import json
import re
from dataclasses import dataclass, replace

from ..control_tokens import escape_control_tokens
from ..errors import EngineError
from .engine import Completion


Messages = list[dict[str, str]]
FIRST_TAG = re.compile(r"<([A-Za-z][\w-]*)>")
CLOSING = re.compile(r"</([A-Za-z][\w-]*)>")
THINKING = re.compile(r"\s*<think>(.*?)(?:</think>\s*|\Z)", re.DOTALL)
THINKING_OPENED_BY_TEMPLATE = re.compile(r"(.*?)</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """
    What a chat server answered.

    Args:
        text (`str`): The answer, without the reasoning before it.
        reasoning (`str`): What a reasoning model thought before it answered; empty if it told nothing.
        finish_reason (`str`): `"stop"`, `"eos"` (where the server tells it from a stop string), `"length"` or
            `"refused"` (a content filter).
        prompt_tokens, tokens (`int`): As the server reports them, those of the reasoning included.
    """

    text: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    tokens: int

    def completion(self) -> Completion:
        """The reply as it is."""
        return Completion(
            self.text, self.finish_reason, self.prompt_tokens, self.tokens, reasoning=self.reasoning.strip()
        )


def write_prompt(messages: Messages) -> str:
    """A conversation as text, to which the assistant's turn so far is appended. Control tokens are made plain text."""
    turns = [{"role": m["role"], "content": escape_control_tokens(m["content"])} for m in messages]
    return json.dumps(turns, ensure_ascii=False)


def read_prompt(prompt: str) -> tuple[Messages, str]:
    """The conversation of such a text, and the assistant's turn so far."""
    messages, end = json.JSONDecoder().raw_decode(prompt)
    return messages, prompt[end:]


@dataclass(frozen=True)
class Question:
    """
    A thought that is asked for in words, of a server that begins a new turn for every answer.

    Args:
        messages (`list[dict]`): The conversation: the chain so far as the assistant's turn, then the question.
        tags (`tuple[str]`): What the thought is to stand in; several, if its kind is the model's to choose.
        prefill (`str`): How it is to begin; it is no part of what is read.
    """

    messages: Messages
    tags: tuple[str, ...]
    prefill: str = ""

    @classmethod
    def about(cls, messages: Messages, so_far: str, stop: tuple[str, ...]) -> "Question":
        """
        The question for the thought that has been opened last, or for the next one of any kind if none is open.

        Args:
            messages (`list[dict]`): The conversation up to the assistant's turn.
            so_far (`str`): That turn: the chain, the opening tag, and how the thought begins.
            stop (`tuple[str]`): The closing tags of what may be written.

        Raises:
            EngineError: It is no thought that is asked for.
        """
        tags = tuple(match[1] for match in map(CLOSING.fullmatch, stop) if match)
        if not tags:
            raise EngineError("the server does not continue an answer, so only a thought in a tag can be asked for")
        chain, prefill = so_far, ""
        for tag in tags:
            before, opening, after = so_far.rpartition(f"<{tag}>")
            if opening and f"</{tag}>" not in after:
                chain, prefill, tags = before, after, (tag,)
        question = _words(tags, prefill.strip(), messages)
        if chain.strip():
            turns = [{"role": "assistant", "content": chain.rstrip()}, {"role": "user", "content": question}]
            return cls([*messages, *turns], tags, prefill)
        *before, last = messages  # some templates refuse two turns of a user
        return cls([*before, {**last, "content": f"{last['content']}\n\n{question}"}], tags, prefill)

    def read(self, reply: Reply, has_stop: bool) -> Completion | None:
        """
        The thought of a reply; None if it is malformed: in no tag, or in another one.

        Args:
            reply ([`Reply`]): The answer to the question.
            has_stop (`bool`): Whether the closing tag was a stop string: most servers then leave it out.

        Returns:
            [`Completion`]: Without its tags; where any kind was asked for, with the opening one.
        """
        completion = reply.completion()
        if reply.finish_reason == "refused" or (reply.finish_reason == "length" and not reply.text.strip()):
            return completion  # the budget went into reasoning
        first = FIRST_TAG.search(reply.text)
        if first is None or first[1] not in self.tags:
            return None
        thought, closing, _ = reply.text[first.end() :].partition(f"</{first[1]}>")
        finish_reason = "stop" if closing else reply.finish_reason
        if not closing and reply.finish_reason != "length" and not (has_stop and reply.finish_reason == "stop"):
            return None
        text = self._without_prefill(thought) if len(self.tags) == 1 else f"{first[0]}{thought}"
        return replace(completion, text=text, finish_reason=finish_reason)

    def _without_prefill(self, thought: str) -> str:
        prefill, thought = self.prefill.strip(), thought.strip()
        if not prefill:
            return thought
        repeated = thought.lower().startswith(prefill.lower())
        return f" {thought[len(prefill) :].strip()}" if repeated else f" {thought}"


def _words(tags: tuple[str, ...], prefill: str, messages: Messages) -> str:
    """The question itself, with what the pattern's prompt says of this kind of thought."""
    if len(tags) > 1:
        kinds = ", ".join(f"<{tag}>" for tag in tags)
        return (
            "Write the next thought of the reasoning, and only this one.\n"
            f"Put it in a tag of its kind ({kinds}), and write nothing before or after it."
        )
    (tag,) = tags
    described = re.search(rf"^- <{re.escape(tag)}>: (.+)$", messages[0]["content"], re.MULTILINE)
    purpose = f": {described[1].rstrip('.')}" if described else ""
    begin = f' Begin it with "{prefill}"' if prefill else ""
    return (
        f"Write the next thought of the reasoning, and only this one{purpose}.{begin}\n"
        f"Put it between <{tag}> and </{tag}>, and write nothing before or after them."
    )


def split_reasoning(text: str) -> tuple[str, str]:
    """
    What a reasoning model wrote, as (reasoning, answer). The opening `<think>` may stand in the template, and the
    closing one may be missing if the budget ended before it.
    """
    if match := THINKING.match(text) or THINKING_OPENED_BY_TEMPLATE.match(text):
        return match[1], text[match.end() :]
    return "", text
