"""What a tokenizer makes of a conversation, and the digests by which it is told from others.

This module must not know whether the model runs here or on a server.
"""

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..control_tokens import escape_control_tokens
from ..errors import InvalidInputError
from ..think_blocks import CLOSING, OPENING, opened_by


PROBE = "An answer without a thought."
EMPTY_BLOCK = re.compile(rf"{OPENING}\s*{CLOSING}\s*")


def render_messages(tokenizer, messages: list[dict[str, str]]) -> str:
    """
    The rendered prompt of a conversation, ready for the assistant's turn.

    A template without a system role gets the system text at the beginning of the first user turn. It has none if it
    refuses one, or if it drops it without ever speaking of the role. Control tokens in the texts are made plain text.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): With a chat template.
        messages (`list[dict]`): `role` and `content` of every turn.

    Raises:
        InvalidInputError: The template fails.
    """
    tokens = _control_tokens(tokenizer)
    messages = [{**message, "content": escape_control_tokens(message["content"], tokens)} for message in messages]
    system = messages[0]["content"] if messages[0]["role"] == "system" and len(messages) > 1 else ""
    try:
        text = _apply(tokenizer, messages)
    except InvalidInputError:
        if not system:
            raise
        return _apply(tokenizer, in_user_turn(messages))
    if system.strip() in text or "system" in tokenizer.get_chat_template():
        return text
    return _apply(tokenizer, in_user_turn(messages))


def rewrites_thoughts(tokenizer) -> bool:
    """Whether a chat template knows think blocks: it may drop those of an assistant's turn, or add an empty one."""
    return CLOSING in (tokenizer.get_chat_template() if tokenizer.chat_template else "")


def render_target(tokenizer, messages: list[dict[str, str]], completion: str, **options) -> tuple[str, str]:
    """
    What a model sees, and what it is to write then, as texts whose sum is trained on.

    The prompt is the one of inference. What is to be written is the completion as it stands, whatever the template
    makes of finished turns (that of DeepSeek's distils drops all thinking, that of Qwen 3 adds an empty block to an
    answer without), and the end of the turn as the template writes it. If the prompt has opened a think block already,
    a completion that begins with one goes on within it, and any other one closes it at once.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): With a chat template.
        messages (`list[dict]`): `role` and `content` of the turns before.
        completion (`str`): The assistant's turn.
        options: Of the template, such as `enable_thinking`.

    Raises:
        InvalidInputError: The template does not go on from the prompt of its own conversations.
    """
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    probe = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": PROBE}], tokenize=False, **options
    )
    before, _, end = probe.rpartition(PROBE)
    opened = opened_by(prompt)
    begun = EMPTY_BLOCK.sub("", prompt.removesuffix(opened)), EMPTY_BLOCK.sub("", before)
    if not begun[1].startswith(begun[0]):
        raise InvalidInputError(
            f"the chat template of tokenizer {tokenizer.name_or_path!r} writes a finished turn otherwise than it "
            "prompts for one, so that what would be trained on is not known: mend its chat_template"
        )
    header = begun[1].removeprefix(begun[0])
    if not opened:
        return prompt, f"{header}{completion}{end}"
    if completion.startswith(OPENING):
        return prompt, f"{completion.removeprefix(OPENING).lstrip()}{end}"
    return prompt, f"{CLOSING}\n\n{header}{completion}{end}"


def render_row(tokenizer, prompt: list[dict], completion: list[dict], **options) -> tuple[str, str]:
    """
    What a model sees of a row, and what it learns to write then.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): With a chat template.
        prompt, completion (`list[dict]`): Messages.
        options: Of the template.
    """
    if rewrites_thoughts(tokenizer) and len(completion) == 1:
        return render_target(tokenizer, prompt, completion[0]["content"], **options)
    before = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **options)
    text = tokenizer.apply_chat_template(prompt + completion, tokenize=False, **options)
    shared = common_length(before, text)
    return text[:shared], text[shared:]


def common_length(one: Sequence, other: Sequence) -> int:
    """How much two texts, or two lists of tokens, have in common at their beginning."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@dataclass(frozen=True)
class ThoughtTokens:
    """
    A chain as a model reads it, and where its thoughts are.

    Args:
        ids (`list[int]`): Tokens of the prompt, of the chain, and of the end of the turn.
        starts (`list[int]`): For every token, the first of its characters.
        prompt_end (`int`): Characters of the prompt.
        ends (`list[int]`): For every thought, one past the last of its characters.
        last_tokens (`list[int]`): For every thought, the token that it ends in. What follows it, white space and the
            end of a think block, depends on what comes next, and does not count.
    """

    ids: list[int]
    starts: list[int]
    prompt_end: int
    ends: list[int]
    last_tokens: list[int]

    @property
    def prompt_length(self) -> int:
        """Tokens of the prompt; as in TRL, one that spans its end is not among them."""
        return bisect_left(self.starts, self.prompt_end)


def encode_thoughts(tokenizer, prompt: list[dict], thoughts: Sequence[str]) -> ThoughtTokens:
    """
    The tokens of a chain of thoughts under a chat template.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): A fast one, with a chat template.
        prompt (`list[dict]`): Messages.
        thoughts (`Sequence[str]`): Joined, they are the assistant's turn.

    Raises:
        InvalidInputError: A slow tokenizer, which does not say where tokens are.
    """
    if not tokenizer.is_fast:
        raise InvalidInputError(
            f"tokenizer {tokenizer.name_or_path!r} is a slow one, which does not say where tokens are"
        )
    before, after = render_row(tokenizer, prompt, [{"role": "assistant", "content": "".join(thoughts)}])
    text = before + after
    # Counted from the end: a prompt may have written the beginning already.
    start = text.rindex(thoughts[-1]) - sum(map(len, thoughts[:-1]))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    starts = [first for first, _ in encoded["offset_mapping"]]
    ends = [start + end for end in accumulate(map(len, thoughts))]
    own = [len(thought.rstrip().removesuffix(CLOSING).rstrip()) for thought in thoughts]
    last = [
        bisect_left(starts, end - len(thought) + length) - 1
        for end, thought, length in zip(ends, thoughts, own, strict=True)
    ]
    return ThoughtTokens(encoded["input_ids"], starts, len(before), ends, last)


def _control_tokens(tokenizer) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}


def _apply(tokenizer, messages: list[dict[str, str]]) -> str:
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of its own
        reason = " ".join(str(error).split())[:200]
        raise InvalidInputError(
            f"the chat template of tokenizer {tokenizer.name_or_path!r} fails ({type(error).__name__}: {reason}): "
            "use an instruction-tuned model, or mend its chat_template"
        ) from error


def in_user_turn(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The conversation with its system text at the beginning of the first user turn."""
    system, first, *rest = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def tokenizer_digests(tokenizer) -> dict[str, str]:
    """
    What an [`EngineIdentity`] says of a tokenizer: equal for equal ones, wherever they lie.

    Args:
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Fast or slow.

    Returns:
        `dict[str, str]`: `tokenizer` and `chat_template`; the latter is empty if there is none.
    """
    if getattr(tokenizer, "is_fast", False):
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        del content["truncation"], content["padding"]  # settings of the last call
    else:
        content = [type(tokenizer).__name__, tokenizer.get_vocab(), repr(tokenizer.special_tokens_map)]
    template = tokenizer.chat_template
    return {"tokenizer": digest(content), "chat_template": digest(template) if template else ""}


def digest(content) -> str:
    """A short digest of plain values."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
