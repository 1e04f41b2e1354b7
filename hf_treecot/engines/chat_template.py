"""What a tokenizer makes of a conversation, and the digests by which it is told from others.

This module must not know whether the model runs here or on a server.
"""

import hashlib
import json

from ..control_tokens import escape_control_tokens
from ..errors import InvalidInputError


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
        return _apply(tokenizer, _in_user_turn(messages))
    if system.strip() in text or "system" in tokenizer.get_chat_template():
        return text
    return _apply(tokenizer, _in_user_turn(messages))


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


def _in_user_turn(messages: list[dict[str, str]]) -> list[dict[str, str]]:
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
