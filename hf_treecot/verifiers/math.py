r"""Mathematical answers, compared by Hugging Face's math-verify.

It parses and compares. What it would take for equal and is not (`41 = 42` for 42, `4 2` for 6, `52_9` for `52_8`, 5 %
for 5, an anagram for a name) is refused here, before it is asked; what it cannot read (`12 dollars`) is made readable.
"""

import logging
import re
from functools import lru_cache

import math_verify
from sympy import FiniteSet, Integer, Tuple

from ..base import Problem, Verdict
from .extraction import candidate_answers


VERSION = "2"
# It warns once that its own time limits are off: ours are harder.
logging.getLogger("math_verify").setLevel(logging.ERROR)

MAX_LENGTH = 2_000  # characters: longer ones are no answers, and parsers of LaTeX are not linear
MAX_DEPTH = 30  # of braces and brackets
MAX_CANDIDATES = 4

SYMBOLS = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
    "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
    "²": "^2", "³": "^3", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup ", "∈": r"\in ", "％": r"\%", r"\!": "",
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\lbrace": r"\{", r"\rbrace": r"\}",
}  # fmt: skip
SYMBOL = re.compile("|".join(map(re.escape, SYMBOLS)))
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
SPACE = re.compile(r"(?<!\\)\\[,;: ]|\\q?quad\b|(?<!\\)~|[\u00a0\u2000-\u200a\u202f]|\s+")
DELIMITERS = re.compile(r"\$+(.*?)\$+|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
CELL = re.compile(r"(?<!\\)&|\\\\(?![a-zA-Z])")
TIMES_I = re.compile(r"(?<=\d)\s*\\cdot\s*i\b")
THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:\{,\}\d{3}| \d{3})+)(?!\d| \d)")
TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
PERCENT = re.compile(r"\s*(?:\\?%|\bper ?cent\b)", re.IGNORECASE)
PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*\\?%")
ASKS_FOR_PERCENT = re.compile(
    r"\b(?:what|which|how many|how much|find|express)\b[^.?!]*?(?<!\d)(?<!\d )(?<!\d\\)(?:per ?cent|%)", re.IGNORECASE
)
MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
MAGNITUDE = re.compile(rf"(?<=\d) ({'|'.join(MAGNITUDES)})\b", re.IGNORECASE)
UNIT = re.compile(r"(?<=[\d}]) (?:\([A-Za-z ]+\)|[A-Za-z][A-Za-z/.-]+(?: [A-Za-z/.-]+){0,3}(?:\^\{?\d\}?)?)$")
NO_UNIT = re.compile(
    r"\b(?:and|or|nor|no|not|if|than|to|dozens?|scores?|half|halves|times|plus|minus|pi|mod|over|squared|cubed)\b",
    re.IGNORECASE,
)
DENIED = re.compile(r"\\(?:ne|neq|not|neg|lnot)(?![a-z])|≠|!=|\\boxed|\\fbox")
WHOLE = re.compile(r"[-+]?\d{1,400}", re.ASCII)
MIXED = re.compile(r"(?<![\d.])(\d+) (\d+) ?/ ?(\d+)")
TWO_NUMBERS = re.compile(r"\d \d")
NAME = re.compile(r"(?:\\?[A-Za-z]+|\\(?:angle|triangle|text)\b.*)(?:_\{?\w+\}?|')*(?:\([\w, ]*\))?")
NAMES = re.compile(r"\([A-Za-z](?: ?, ?[A-Za-z])+\) ?= ?")
LIST = re.compile(r"[,;]|\b(?:or|and)\b|\\cup|\\pm")
BASE = re.compile(r"\d_\{?(\d+)\}?$")


def verify(completion: str, problem: Problem) -> Verdict:
    r"""
    Compare the stated answer with the gold one as mathematical objects.

    An answer must be earned. If the answer thought holds several boxes, or without a box several statements, each of
    them must be right. Numbers that stand by an answer make it unreadable (`42 43`, `42 \text{ (not 43)}`), and an
    equation must hold in every part. `15\%` is 0.15, and 15 only where the question asks for a percentage.

    Has no time limit of its own: an expression may take for ever, so run it in a [`~verifiers.worker.VerifierPool`].

    Args:
        completion (`str`): The text of an answer thought.
        problem ([`Problem`]): Its `answer` is a number, LaTeX, or a text.

    Returns:
        [`Verdict`]: 1 if they are equal, else 0; its `reason` is `"ambiguous"` for answers that disagree.

    Raises:
        ValueError: The gold answer cannot be parsed.
    """
    gold = normalize(problem.answer)
    word = _as_word(gold)
    if not word and not _parse(gold):
        raise ValueError(f"the gold answer {problem.answer!r} cannot be parsed")
    answers = candidate_answers(completion)
    if not answers:
        return Verdict(0.0, None, "no_answer")
    shown = answers[-1][:MAX_LENGTH]
    if len(answers) > MAX_CANDIDATES:
        return Verdict(0.0, shown, "ambiguous")
    reasons = [_reason(answer, gold, word, problem.prompt) for answer in answers]
    if len(set(reasons)) > 1:
        return Verdict(0.0, shown, "ambiguous" if "right" in reasons else reasons[-1])
    return Verdict(float(reasons[0] == "right"), shown, reasons[0])


def _reason(answer: str, gold: str, word: str, question: str) -> str:
    """What is to be said of one answer: right, wrong or unparseable."""
    if len(answer) > MAX_LENGTH or not _is_balanced(answer):
        return "unparseable"
    if word:
        return "right" if _plain(answer) == word else "wrong"
    answer = normalize(answer)
    if DENIED.search(answer) or TWO_NUMBERS.search(answer):
        return "unparseable"
    if any(re.search(r"\d", text) for text in TEXT.findall(answer)) and not TEXT.fullmatch(answer):
        return "unparseable"
    if not (PERCENT.search(gold) or ASKS_FOR_PERCENT.search(question)):
        answer = PERCENTAGE.sub(r"\\frac{\1}{100}", answer)
    bases = BASE.search(gold), BASE.search(answer)
    if all(bases) and bases[0].group(1) != bases[1].group(1):
        return "wrong"
    parts = _sides(answer, gold)
    if parts is None or not all(map(_parse, parts)):
        return "unparseable"
    return "right" if all(_equal(gold, part) for part in parts) else "wrong"


def _sides(answer: str, gold: str) -> list[str] | None:
    """What has to equal the gold answer: of an equation all sides but names; None if it makes no sense."""
    answer = NAMES.sub("", answer, count=1)
    sides = [side.strip() for side in re.split(r"(?<![<>!:])=(?!=)", answer)]
    if len(sides) == 1 or LIST.search(answer):
        # in a list, `x = 1, x = 2`: what stands before each equals sign must be a name
        names = [re.split(r"[,;({]|\b(?:or|and)\b", side)[-1].strip() for side in sides[:-1]]
        return [answer] if all(NAME.fullmatch(name) for name in names) else None
    if "=" in gold:
        name, _, value = (side.strip() for side in gold.partition("="))
        solved = NAME.fullmatch(name) and not re.search("[A-Za-z]", value)
        return [answer] if not solved or any(map(NAME.fullmatch, sides)) else None
    values = [side for side in sides if not NAME.fullmatch(side) or side == gold]
    return values or None


def _equal(gold: str, answer: str) -> bool:
    if WHOLE.fullmatch(gold) and WHOLE.fullmatch(answer):
        return int(gold) == int(answer)  # most answers: no need to ask
    left, right = _parse(gold), _parse(answer)
    if isinstance(left[0], Tuple) and isinstance(right[0], FiniteSet):  # without parentheses, order still counts
        right = _parse(f"({answer})")
    return math_verify.verify(left, right, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)


@lru_cache(maxsize=4096)
def _parse(text: str) -> list:
    # math-verify's own limits use signal.alarm, which works in main threads only and cannot stop C code.
    if WHOLE.fullmatch(text):
        return [Integer(text), text]
    # Its other extraction would take the last number of what is no LaTeX, right by accident.
    return math_verify.parse(f"\\boxed{{{text}}}", [math_verify.LatexExtractionConfig()], parsing_timeout=None)


def normalize(answer: str) -> str:
    """An answer in the notation that math-verify reads: one kind of spaces, no delimiters, separators or units."""
    answer = SYMBOL.sub(lambda match: SYMBOLS[match.group()], INVISIBLE.sub("", answer))
    answer = SPACE.sub(" ", answer).strip()
    if whole := DELIMITERS.fullmatch(answer):
        answer = next(group for group in whole.groups() if group is not None)
    if (whole := TEXT.fullmatch(answer)) and re.fullmatch(r"[-+]?[\d.,]+", whole.group(1).strip()):
        answer = whole.group(1).strip()
    answer = re.sub(r"\\(?:left|right)(?![a-z])\s*", "", answer.strip().rstrip(".,")).strip()
    answer = CELL.sub(r" \g<0> ", TIMES_I.sub("i", answer))
    answer = THOUSANDS.sub(lambda match: re.sub(r"\D", "", match.group()), answer)
    answer = MIXED.sub(r"\1\\frac{\2}{\3}", answer)
    answer = PERCENT.sub(r"\%", answer)
    answer = MAGNITUDE.sub(lambda match: rf" \times 10^{{{MAGNITUDES[match.group(1).lower()]}}}", answer)
    unit = UNIT.search(answer)
    return answer[: unit.start()] if unit and not NO_UNIT.search(unit.group()) else answer


def _as_word(gold: str) -> str:
    """A gold answer that is a text and no formula, as it is compared; empty if it is a formula."""
    whole = TEXT.fullmatch(gold)
    if whole and not re.fullmatch(r"[\d.,\s]*", whole.group(1)):
        return _plain(gold)
    return _plain(gold) if re.fullmatch(r"[A-Za-z]{3,}(?:[ .,'’-]+[A-Za-z]+)*", gold) else ""


def _plain(text: str) -> str:
    """A text without case, markup, quotes, and the parentheses of a choice."""
    text = re.sub(r"[$\"“”]", "", TEXT.sub(r"\1", SPACE.sub(" ", INVISIBLE.sub("", text))))
    return re.sub(r"\s+", " ", re.sub(r"^\((\w+)\)$", r"\1", text.strip())).strip(" .").casefold()


def _is_balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\\\|\\[{}]|[{}]", text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if not 0 <= depth <= MAX_DEPTH:
            return False
    brackets = [text.count(c) for c in "(["]
    return depth == 0 and max(brackets) <= 10 * MAX_DEPTH
