"""Where our checks differ from lm-eval's: letters that are none, and Multi-IF's rules for other languages.

Multi-IF counts words and sentences of Chinese, Japanese, Thai and Hindi otherwise than IFEval, and takes their
quotation marks; the rules are those of its published evaluation code, the checkers around them are lm-eval's.
"""

import re

import emoji
import langdetect
from lm_eval.tasks.ifeval.instructions import (
    LetterFrequencyChecker,
    NumberOfSentences,
    NumberOfWords,
    QuotationChecker,
)


CHINESE, KANA, HANGUL = "\u4e00-\u9fff\u3400-\u4dbf", "\u3040-\u30ff", "\uac00-\ud7af"
ASIAN_CHARACTER = re.compile(f"[{CHINESE}{KANA}{HANGUL}]")
PUNCTUATION = re.compile(r"""[\\.!?．/_,{}<>:;$%^&*(+"'—！，。？、`~@#￥…（）：；《》“”)\[\]»〔〕\-「」]+""")
CHINESE_JAPANESE_SENTENCE = re.compile(r"[^!?。.！？．\n]+[!?。.！？．]?")
HINDI_SENTENCE_END = re.compile(r"(?<=[।!?])\s*")
QUOTATION_MARKS = (('"', '"'), ("“", "”"), ("「", "」"))


def language(text: str) -> str:
    """The language of a text, `"en"` if it cannot be told."""
    try:
        return langdetect.detect(text)
    except langdetect.LangDetectException:
        return "en"


def count_asian_words(text: str) -> int:
    """Words of a Chinese or Japanese text: every character is one, and every emoji, and words of other scripts."""
    text = PUNCTUATION.sub("", text)
    count = emoji.emoji_count(text)
    text = emoji.replace_emoji(text, "")
    return count + len(ASIAN_CHARACTER.findall(text)) + len(ASIAN_CHARACTER.sub(" ", text).split())


def count_sentences(text: str, code: str) -> int:
    """Sentences of a text in Chinese, Japanese, Thai (where a line ends one, too) or Hindi."""
    if code == "th":
        from pythainlp.tokenize import sent_tokenize

        return sum(len(sent_tokenize(line)) for line in text.splitlines())
    if code == "hi":
        return sum(bool(sentence.strip()) for sentence in HINDI_SENTENCE_END.split(text))
    return sum(len(CHINESE_JAPANESE_SENTENCE.findall(line.strip())) for line in text.splitlines())


def is_chinese_or_japanese(code: str) -> bool:
    """Whether a language's characters are its words."""
    return code == "ja" or code.startswith("zh")


def _compare(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


class CharacterFrequency(LetterFrequencyChecker):
    """How often a character occurs; IFEval asks for `#` and `!` too, for which its checker draws a random letter."""

    def build_description(self, *, letter: str, let_frequency: int, let_relation: str) -> str:
        """Take the arguments as they are."""
        super().build_description(letter="a", let_frequency=let_frequency, let_relation=let_relation)
        self._letter = letter.strip().lower()
        return f"In your response, the letter {letter} should appear {let_relation} {let_frequency} times."


class Sentences(NumberOfSentences):
    """The number of sentences, by the rules of the answer's language."""

    def check_following(self, value: str) -> bool:
        """Whether there are as many as asked for."""
        code = language(value)
        if code not in ("th", "hi") and not is_chinese_or_japanese(code):
            return super().check_following(value)
        arguments = self.get_instruction_args()
        return _compare(count_sentences(value, code), arguments["relation"], arguments["num_sentences"])


class Words(NumberOfWords):
    """The number of words, by the rules of the answer's language."""

    def check_following(self, value: str) -> bool:
        """Whether there are as many as asked for."""
        code = language(value)
        if code == "th":
            from pythainlp.tokenize import word_tokenize

            count = len(word_tokenize(value))
        elif is_chinese_or_japanese(code):
            count = count_asian_words(value)
        else:
            return super().check_following(value)
        arguments = self.get_instruction_args()
        return _compare(count, arguments["relation"], arguments["num_words"])


class Quotation(QuotationChecker):
    """Quotation marks around the whole answer, Chinese and Japanese ones too."""

    def check_following(self, value: str) -> bool:
        """Whether they are there."""
        value = value.strip()
        return len(value) > 1 and (value[0], value[-1]) in QUOTATION_MARKS


IFEVAL = {"keywords:letter_frequency": CharacterFrequency}
MULTI_IF = {
    **IFEVAL,
    "length_constraints:number_sentences": Sentences,
    "length_constraints:number_words": Words,
    "startend:quotation": Quotation,
}
