r"""Finding the answer in the text of an answer thought.

The rule: an answer is `\boxed{…}`; without any, what follows `####`, else "final answer", else "answer is", "answer:"
and the like, to the end of its sentence. What a text says to be wrong is not its answer. A thought that states several
is judged by all of them (see [`candidate_answers`]): listing what might be right, or repeating the numbers of the
question, is not an answer. Every function takes time linear in its text.
"""

import re


MAX_LENGTH = 1_000_000  # characters: a longer text states no answer
BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
MARKED = re.compile(r"####")
FINAL = re.compile(
    r"\bfinal\s+(?:answer|result)\b[*_]*+\s*+"
    r"(?:(?:is|=|should be|must be)\b[*_]*:?|[*_]*+[:：]|(?=[*_]*+\s*+[-$\\\d]))|"
    r"最终答案(?:是|为)?\s*[:：]?",
    re.IGNORECASE,
)
STATED = re.compile(
    r"(?:\b(?:the|so|thus|therefore)\s+)?(?:\b(?:correct|right|final)\s+)?\banswer(?:s)?"
    r"(?:\s+(?:is|are|should be|must be|would be|will be|equals|comes out to)\b"
    r"(?:\s+(?:exactly|simply|just)\b)?(?:[*_]*:)?|[*_]*\s*[:：=]|"
    r"(?=\s*(?:\$|\\\(|\\\[)))|"
    r"\*\*\s*(?:final\s+)?answer\s*\*\*|答案(?:是|为|：|:)|(?:\A|(?<=\n))A\s*:",
    re.IGNORECASE,
)
# What stands before a statement, or before a box, and takes it back.
DENIES = re.compile(
    r"(?:\b(?:wrong|incorrect|false|previous|old|first|earlier|bad|tempting|not the|isn't the|no)|[\"“‘'])\s*$",
    re.IGNORECASE,
)
DENIES_BOX = re.compile(
    r"(?:\b(?:not|isn't|is\s*n't|never|cannot be|can't be|anything but|rather than|instead of|other than|≠)|\\neq?)"
    r"\s*(?:equal to\s*)?(?:\$|\\\(|:)?\s*$",
    re.IGNORECASE,
)
EMPTY = re.compile(r"(?:\s|~|\?|\\?_|\.|\\[,;:! ]|\\(?:q?quad|ldots|dots|square|Box)\b|\\[hv]?phantom\s*\{[^{}]*\})*")
SENTENCE_END = re.compile(r"[.;](?=\s|$)|\n|。|；|(?<=[\d})$]),? \(?(?:because|since)\b")
CLOSING = re.compile(r"[*_`]+(?=\s)")
WRAPPED = re.compile(r"(\*{1,3}|_{1,3}|`{1,3})(\S(?:.*\S)?)\1", re.DOTALL)
LOOK_BACK = 40  # characters
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{.*\}", re.DOTALL)


def boxed(text: str) -> list[str]:
    r"""
    The contents of all `\boxed{…}` whose braces are balanced, in order; of nested ones the outermost, unless it holds
    nothing but the inner one. Empty ones (`\boxed{?}`), and those that are said not to be the answer, are left out.
    """
    found: list[tuple[int, int]] = []  # where contents start and end
    opened: list[int] = []  # of every open brace: where its content starts, or -1 if it is not a box
    for match in BRACE.finditer(text):
        piece = match.group()
        if piece == "}":
            start = opened.pop() if opened else -1
            if start >= 0:
                while found and found[-1][0] > start:
                    inner = found.pop()
                    if BOX.fullmatch(text[start : match.start()].strip()):
                        start, end = inner
                        break
                else:
                    end = match.start()
                found.append((start, end))
        elif piece == "{":
            opened.append(-1)
        elif piece[-1] == "{" and len(piece) > 2:
            opened.append(match.end())
    return [
        text[start:end]
        for start, end in found
        if not _is_denied(text, start) and not EMPTY.fullmatch(text, start, end)
    ]


def _is_denied(text: str, start: int) -> bool:
    before = text[max(0, start - LOOK_BACK) : start]
    return DENIES_BOX.search(before[: before.rfind("\\")]) is not None


def candidate_answers(text: str) -> list[str]:
    r"""
    All answers that a text states, in order, without repetitions.

    Args:
        text (`str`): The text of an answer thought.

    Returns:
        `list[str]`: The contents of its boxes; if it has none, its statements ("the answer is 42"), of which those
        that are marked by `####`, else those that are called final, stand for all.
    """
    if len(text) > MAX_LENGTH:
        return []
    answers = boxed(text)
    for statement in (MARKED, FINAL, STATED):
        answers = answers or [
            _sentence(text[match.end() : following])
            for match, following in _with_ends(statement, text)
            if not DENIES.search(text, max(0, match.start() - LOOK_BACK), match.start())
        ]
        answers = [answer for answer in map(strip_emphasis, answers) if answer.strip("*_`")]
    return list(dict.fromkeys(answers))


def _with_ends(statement: re.Pattern, text: str):
    matches = list(statement.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    return zip(matches, ends, strict=False)


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
    text = text.lstrip(" \t\r\n:：")
    if closing := CLOSING.match(text):
        text = text[closing.end() :].lstrip()
    sentence = SENTENCE_END.split(text, maxsplit=1)[0].rstrip()
    return sentence if sentence.startswith(("*", "_")) else sentence.rstrip("*_")
