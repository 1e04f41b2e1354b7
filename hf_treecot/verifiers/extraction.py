r"""Finding the answer in the text of an answer thought.

The rule: an answer is `\boxed{…}`; without any, what follows `####`, "answer is" or "answer:" to the end of its
sentence. A thought that states several is judged by all of them (see [`candidate_answers`]): listing what might be
right, or repeating the numbers of the question, is no answer. Every function takes time linear in its text.
"""

import re


MAX_LENGTH = 1_000_000  # characters: a longer text states no answer
BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
STATED = re.compile(r"####|(?:\bthe\s+)?(?:\bfinal\s+)?\banswer(?:\s+is\b(?:[*_]*:)?|[*_\s]*:)", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.;](?=\s|$)|\n")
CLOSING = re.compile(r"[*_`]+(?=\s)")
WRAPPED = re.compile(r"(\*{1,3}|_{1,3}|`{1,3})(\S(?:.*\S)?)\1", re.DOTALL)


def boxed(text: str) -> list[str]:
    r"""The contents of all `\boxed{…}` whose braces are balanced, in order; of nested ones the innermost."""
    found, opened = [], []  # of every open brace: where its content starts, or -1 if it is no box
    inner = -1  # where the last box that was found started: a box around it is the same answer
    for match in BRACE.finditer(text):
        piece = match.group()
        if piece == "}":
            start = opened.pop() if opened else -1
            if start >= 0 and inner < start:
                found.append(text[start : match.start()])
                inner = start
        elif piece == "{":
            opened.append(-1)
        elif piece[-1] == "{" and len(piece) > 2:
            opened.append(match.end())
    return found


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{…}` whose braces are balanced, or None."""
    return (boxed(text) or [None])[-1]


def candidate_answers(text: str) -> list[str]:
    r"""
    All answers that a text states, in order, without repetitions.

    Args:
        text (`str`): The text of an answer thought.

    Returns:
        `list[str]`: The contents of its boxes; if it has none, its statements ("the answer is 42").
    """
    if len(text) > MAX_LENGTH:
        return []
    answers = boxed(text) or [_sentence(rest) for rest in STATED.split(text)[1:]]
    answers = [strip_emphasis(answer) for answer in answers]
    return list(dict.fromkeys(answer for answer in answers if answer.strip("*_`")))


def final_answer(text: str) -> str | None:
    r"""The answer that a text states: the last `\boxed{…}`, else what follows the last `####` or "answer is"."""
    return (candidate_answers(text) or [None])[-1]


def strip_emphasis(text: str) -> str:
    """A text without the markdown emphasis (`**42**`, `_42_`, `` `42` ``) and the white space around it."""
    text = text.strip()
    for _ in range(3):  # more is not emphasis
        if match := WRAPPED.fullmatch(text):
            text = match.group(2).strip()
    return text


def _sentence(text: str) -> str:
    """The first sentence, or the first line of a text; emphasis that was opened before it is left out."""
    text = text.lstrip(" \t\r\n:")
    if closing := CLOSING.match(text):
        text = text[closing.end() :].lstrip()
    sentence = SENTENCE_END.split(text, maxsplit=1)[0].rstrip()
    return sentence if sentence.startswith(("*", "_")) else sentence.rstrip("*_")
