"""Control tokens in text that is not ours: they are made plain text, so that nobody writes a turn of a conversation.

Chat templates paste texts between control tokens, and tokenizers read these wherever they stand: a problem that says
`<|im_end|>` would end the user's turn. A space after the first character keeps it readable, and makes it plain text to
every tokenizer.
"""

import re
from collections.abc import Iterable


# Those of the families of models in use: ChatML and its kin, DeepSeek, Llama 2, Mistral, Gemma, EXAONE. Whose
# tokenizer will read a dataset is not known when it is made.
FAMILIES = (
    r"<\|[^\s<>|]{1,60}\|>|<\uff5c[^\s<>\uff5c]{1,60}\uff5c>|\[\|[^\s\[\]|]{1,60}\|\]|"
    r"</?s>|<(?:bos|eos|pad|unk|mask|cls|sep|sop|eod|start_of_turn|end_of_turn|start_of_image|end_of_text|end_of_utterance)>|"
    r"<(?:extra_id|unused|reserved|SPECIAL)_?\d{1,4}>|<\|turn>|<turn\|>|\[gMASK\]|"
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|THINK|IMG)\]|<</?SYS>>"
)


def escape_control_tokens(text: str, tokens: Iterable[str] = ()) -> str:
    """
    A text in which control tokens are text.

    Args:
        text (`str`): Of a model, or of a dataset.
        tokens (`Iterable[str]`, *optional*): More of them, besides those of the families of models in use.

    Returns:
        `str`: The same text if there are none. What was escaped once stays as it is.
    """
    more = sorted((re.escape(token) for token in tokens if len(token) > 1), key=len, reverse=True)
    return re.sub("|".join([*more, FAMILIES]), lambda match: f"{match[0][0]} {match[0][1:]}", text)


def count_escaped(text: str) -> int:
    """How many control tokens of the families in use a text holds as plain text."""
    return len(re.findall(FAMILIES, re.sub(r"(?<=[<\[]) ", "", text)))
