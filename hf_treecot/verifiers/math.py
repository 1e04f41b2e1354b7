r"""Mathematical answers, compared by Hugging Face's math-verify.

It parses and compares. What it would take for equal and is not (`41 = 42` for 42, `4 2` for 6, `52_9` for `52_8`, 5 %
for 5, `17 \cdot 23` for 391, an anagram for a name) is refused here, before it is asked; what it cannot read
(`12 dollars`) is made readable by [`~verifiers.math_notation`].
"""

import logging
import re
from importlib.metadata import version

from ..base import Problem, Verdict
from .extraction import candidate_answers
from .math_comparison import LIST, NAME, is_equal, is_huge, is_near, parse, split_list
from .math_notation import (
    ASKS_FOR_PERCENT,
    CLOCK,
    PERCENT,
    PERCENTAGE,
    TEXT,
    as_word,
    normalize,
    plain,
    split_unit,
)
from .units import disagree, is_unit


VERSION = f"4 (math-verify {version('math-verify')})"
# It warns once that its own time limits are off: ours are harder.
logging.getLogger("math_verify").setLevel(logging.ERROR)

MAX_LENGTH = 2_000  # characters: longer ones are not answers, and parsers of LaTeX are not linear
MAX_DEPTH = 30  # of braces and brackets
MAX_CANDIDATES = 4
UNREADABLE = re.compile(r"\\(?:not|neg|lnot|boxed|fbox|equiv|sim|simeq|cong)(?![a-z])|!=|\d \d|\d\s*\?|\\pm\\pm")
ELLIPSIS = re.compile(r"\\(?:ldots|dots|cdots)(?![a-z])|\.\.\.")
UNEQUAL = re.compile(r"\\(?:ne|neq)(?![a-z])")
BASE = re.compile(r"\d_\{?(\d+)\}?$")
# What stands in a question and asks for a value: an answer that still holds it gives none.
OPEN = re.compile(
    r"\\(?:int|iint|oint|lim|sum|prod|d?binom|tbinom|choose|gcd|lcm|max|min|bmod|pmod|mod|lfloor|lceil|det)(?![a-z])|"
    r"(?<=[\d)!}])\s*(?:\\div|\*|\+|(?<![\^_{])-)\s*(?=[\d({\\])|"
    r"(?<=[\d)!])\s*\\(?:cdot|times)\s*(?=[\d({]|\\frac)|\d\s*!"
)
SCIENTIFIC = re.compile(r"\d\s*\\times\s*10\s*\^")
NAMES = re.compile(r"\([A-Za-z](?: ?, ?[A-Za-z])+\) ?= ?")
FACTORS = re.compile(r"\)\s*(?:\^\s*\{?\d+\}?)?\s*(?:\\cdot\s*)?\(|\w\s*\(.*[-+].*\)|\)\s*\^")


def verify(completion: str, problem: Problem) -> Verdict:
    r"""
    Compare the stated answer with the gold one as mathematical objects.

    An answer must be earned. If the answer thought holds several boxes, or without a box several statements, each of
    them must be right. Words and numbers that stand by an answer make it unreadable (`42 43`, `42 \text{ (not 43)}`,
    `5 \text{ and a half}`), an equation must hold in every part, and what only restates the question (`17 \cdot 23`,
    an integral, the polynomial that was to be factored) is no answer. `15\%` is 0.15, and 15 only where the question
    asks for a percentage.

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
    word = as_word(gold)
    if not word and not (CLOCK.fullmatch(gold) or UNEQUAL.search(gold) or _is_readable(split_unit(gold)[0])):
        raise ValueError(f"the gold answer {problem.answer[:200]!r} cannot be parsed")
    answers = candidate_answers(completion)
    if not answers:
        return Verdict(0.0, None, "no_answer")
    shown = answers[-1][:MAX_LENGTH]
    if len(answers) > MAX_CANDIDATES:
        return Verdict(0.0, shown, "ambiguous")
    if 1 < len(answers) == len(split_list(gold)[1]):
        answers = [", ".join(answers)]  # a box for each
    reasons = [_reason(answer, gold, word, problem.prompt) for answer in answers]
    if len(set(reasons)) > 1:
        return Verdict(0.0, shown, "ambiguous" if "right" in reasons else reasons[-1])
    return Verdict(float(reasons[0] == "right"), shown, reasons[0])


def _is_readable(text: str) -> bool:
    return all(map(parse, split_list(text)[1])) or bool(parse(text))


def _reason(answer: str, gold: str, word: str, question: str) -> str:
    """What is to be said of one answer: right, wrong or unparseable."""
    if len(answer) > MAX_LENGTH or not _is_balanced(answer):
        return "unparseable"
    if word:
        return "right" if plain(answer) == word else "wrong"
    answer = normalize(answer)
    if clock := CLOCK.fullmatch(gold):
        return _compare_clocks(clock, answer)
    if UNEQUAL.search(gold):
        return "right" if _compact(gold) == _compact(answer) else "wrong"
    if len(parts := re.split(r"\\approx(?![a-z])|≈", answer)) == 2:
        reasons = [_reason(part, gold, word, question) for part in parts]
        return "right" if "right" in reasons and is_near(*map(str.strip, parts)) else "unparseable"
    gold = NAMES.sub("", gold, count=1)
    gold, gold_unit = split_unit(gold)
    answer, unit = split_unit(answer, f"{question} {gold} {gold_unit}")
    if (
        UNREADABLE.search(answer)
        or UNEQUAL.search(answer)
        or is_huge(answer)
        or _has_words(answer, f"{question} {gold} {gold_unit}")
    ):
        return "unparseable"
    if bool(ELLIPSIS.search(answer)) or bool(ELLIPSIS.search(gold)):
        return "right" if _compact(gold) == _compact(answer) else "unparseable"
    if (gold_unit and unit and _power(gold_unit) != _power(unit)) or disagree(unit, gold_unit, question):
        return "wrong"
    if PERCENT.search(gold) and not PERCENT.search(answer) and re.fullmatch(r"[-+]?\d+(?:\.\d+)?", answer):
        answer += r"\%" if is_equal(PERCENT.sub("", gold), answer) else ""
    if not PERCENT.search(gold) and ASKS_FOR_PERCENT.search(question):
        answer = PERCENT.sub("", answer)
    else:
        answer, gold = (PERCENTAGE.sub(r"\\frac{\1}{100}", text) for text in (answer, gold))
    if _names_another_base(gold, answer, question):
        return "wrong"
    if _restates(answer, gold, question):
        return "unparseable"
    parts = _sides(answer, gold)
    if parts is None or not all(map(_is_readable, parts)):
        return "unparseable"
    return "right" if all(is_equal(_value_of(gold), part) for part in parts) else "wrong"


def _compare_clocks(gold: re.Match, answer: str) -> str:
    """Times and ratios, `4:30`, number by number; a.m. and p.m. count where both say so."""
    match = CLOCK.fullmatch(answer)
    if match is None:
        return "unparseable"
    numbers = [[int(part) for part in re.split(r" ?: ?", f"{m.group(1)}:{m.group(2)}")] for m in (gold, match)]
    halves = [(m.group(3) or "").lower() for m in (gold, match)]
    return "right" if numbers[0] == numbers[1] and (halves[0] == halves[1] or "" in halves) else "wrong"


def _has_words(answer: str, context: str) -> bool:
    """Whether words stand in a formula that could change what it says."""
    outside = LIST.sub(" ", answer)
    texts = [text.strip() for text in TEXT.findall(outside) if re.search(r"\w", text)]
    if TEXT.fullmatch(answer):
        return False
    return any(
        re.search(r"\d", text) or not is_unit(text, context) for text in texts if re.search(r"\w", text)
    ) or bool(re.search(r"(?<![\\A-Za-z])[A-Za-z]{2,} [A-Za-z]{2,}", TEXT.sub(" ", answer)))


def _power(unit: str) -> str:
    return unit.partition("^")[2]


def _names_another_base(gold: str, answer: str, question: str) -> bool:
    bases = [match.group(1) if (match := BASE.search(text)) else "" for text in (gold, answer)]
    if not bases[1]:
        return False
    return (
        bases[0] != bases[1]
        if bases[0]
        else not re.search(rf"\bbase[ -]\$?{bases[1]}\b|_\{{?{bases[1]}\}}?", question)
    )


def _restates(answer: str, gold: str, question: str) -> bool:
    """Whether an answer leaves to be done what was asked for."""
    last = answer.rpartition("=")[2] if "=" in answer and "=" not in gold else answer
    if "factor" in question.lower() and FACTORS.search(gold) and not FACTORS.search(last):
        return True
    stated = _compact(last)
    if OPEN.search(SCIENTIFIC.sub("", last)) and not OPEN.search(SCIENTIFIC.sub("", gold)):
        return not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", last)) or stated in _compact(question)
    return bool(OPEN.search(last)) and stated != _compact(gold) and stated in _compact(question)


def _compact(text: str) -> str:
    return re.sub(r"\s+|\\(?:left|right|displaystyle)(?![a-z])|[${}]|\\[,;! ]", "", normalize(text))


def _value_of(gold: str) -> str:
    """A gold equation between numbers says its last side; other gold answers are what they are."""
    *names, value = (side.strip() for side in gold.split("="))
    is_number = names and not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", "".join(names) + value))
    return value if is_number else gold


def _sides(answer: str, gold: str) -> list[str] | None:
    """What has to equal the gold answer: of an equation all sides but names; None if it makes no sense."""
    answer = NAMES.sub("", answer, count=1)
    sides = [side.strip() for side in re.split(r"(?<![<>!:])=(?!=)", answer)]
    if len(sides) == 1:
        return [answer]
    if len(split_list(answer)[1]) > 1:
        # in a list, `x = 1, x = 2`: what stands before each equals sign must be a name
        names = [item.partition("=")[0].strip() for item in split_list(answer)[1] if "=" in item]
        return [answer] if all(NAME.fullmatch(name) for name in names) else None
    if "=" in gold and _value_of(gold) == gold:
        name, _, value = (side.strip() for side in gold.partition("="))
        solved = NAME.fullmatch(name) and not re.search("[A-Za-z]", re.sub(r"\\[a-zA-Z]+", "", value))
        if not solved:
            return [answer] if len(sides) == 2 else None
        if not any(map(NAME.fullmatch, sides)):
            return None
        if any(NAME.fullmatch(side) and side != name for side in sides):
            return [answer]
        return [f"{name}={side}" for side in sides if not NAME.fullmatch(side)] or None
    values = [side for side in sides if not NAME.fullmatch(side) or side == gold]
    return values or None


def _is_balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\\\|\\[{}]|[{}]", text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if not 0 <= depth <= MAX_DEPTH:
            return False
    brackets = [text.count(c) for c in "(["]
    return depth == 0 and max(brackets) <= 10 * MAX_DEPTH
