"""The starter model's tokenizer: whole tokens for the words of its templates and the tags, single letters else.

An unseen word falls apart into its letters, so that a small model can count them. It is an ordinary fast tokenizer:
byte-level BPE without merges, in which a word that is in the vocabulary is taken as it is (as Llama 3 does).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


END, PADDING, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{# system prompts are skipped: the model knows its tags from training and understands no instruction #}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    + ASSISTANT
    + "{% generation %}{{ message['content'] }}"
    + END
    + "{% endgeneration %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
MINIMUM_WORD_COUNT = 60  # per 10,000 texts: far above any made-up word, far below any template word


def build_tokenizer(texts: Sequence[str], tags: Iterable[str], model_max_length: int) -> "PreTrainedTokenizerFast":
    """
    Build the tokenizer from a sample of the training texts.

    Args:
        texts (`Sequence[str]`): Sample texts; words that are frequent in them become tokens.
        tags (`Iterable[str]`): Opening and closing tags, one token each.
        model_max_length (`int`): The longest sequence that the model takes, in tokens.

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tags = list(tags)
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts: Counter[str] = Counter()
    between_tags = re.compile("|".join(map(re.escape, tags)))
    for text in texts:
        for piece in between_tags.split(text):
            counts.update(word for word, _ in splitter.pre_tokenize_str(piece))
    threshold = max(2, MINIMUM_WORD_COUNT * len(texts) / 10_000)
    words = [
        w for w, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if _is_word(w) and n >= threshold
    ]
    vocabulary = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()) + words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in (PADDING, END, USER, ASSISTANT)])
    # Tags are not special tokens: decoding for a reader must keep them.
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PADDING,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=model_max_length,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _is_word(word: str) -> bool:
    letters = word.removeprefix("Ġ")
    return len(letters) > 1 and letters.isascii() and letters.isalpha()
