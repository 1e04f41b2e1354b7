r"""Mathematical answers brought into the notation that math-verify reads, and what their words say beside the formula.

`12 dollars`, `1,000`, `0.\overline{3}`, `\frac12`, `5 \text{ million}` are made readable. What would change a number
and cannot be read (`5 and a half`, `42 (not 43)`) is found, so that it can be refused.
"""

import re

from .units import CHANGES, is_unit


SYMBOLS = {
    "−": "-", "–": "-", "‒": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ",
    "∞": r"\infty ", "°": r"^\circ ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "²": "^2", "³": "^3", "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ",
    r"\ne": r"\neq ", "<=": r"\le ", ">=": r"\ge ", "∪": r"\cup ",
    "∈": r"\in ", "％": r"\%", "≡": r"\equiv ", "…": r"\ldots ", r"\!": "", r"\dfrac": r"\frac",
    r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lt": "<", r"\gt": ">",
    r"\varnothing": r"\emptyset ", "∅": r"\emptyset ", "、": ", ", "，": ", ", "：": ":",
}  # fmt: skip
SYMBOL = re.compile(
    "|".join(re.escape(s) + (r"(?![a-zA-Z])" if s[0] == "\\" and s[-1].isalpha() else "") for s in SYMBOLS)
)
INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
LAYOUT = re.compile(r"\\(?:h?phantom|vphantom|hspace\*?|vspace\*?|label|tag)\s*\{[^{}]*\}")
STYLE = re.compile(
    r"\\(?:boldsymbol|bm|mathbf|mathit|mathsf|mathnormal|displaystyle|textcolor\s*\{\w+\}|color\s*\{\w+\})\s*"
)
LETTER = re.compile(r"\\(?:mathrm|operatorname|text)\s*\{\s*([eid])\s*\}(?=\s*(?:[}^+*/)\]-]|$))")
SPACE = re.compile(r"(?<!\\)\\[,;: ]|\\q?quad\b|(?<!\\)~|[\u00a0\u2000-\u200a\u202f]|\s+")
DELIMITERS = re.compile(r"\$+(.*?)\$+|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
# `$7$ m/s`: a formula, and its unit outside of it.
FORMULA_AND_WORDS = re.compile(r"\$+([^$]*\d[^$]*)\$+(?= ?[A-Za-z(\\])")
ROOT = re.compile(r"√ ?(\d+(?:\.\d+)?|[a-z]|\([^()]*\)|\{[^{}]*\})")
CELL = re.compile(r"(?<!\\)&|\\\\(?![a-zA-Z])")
TIMES_I = re.compile(r"(?<=\d)\s*\\cdot\s*i\b")
THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:(?:\{,\}|, ?)\d{3}(?!\d)| \d{3}(?!\d))+)(?!\d| \d)")
REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{(\d+)\})")
SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d*)?|\.\d+)[eE]([-+]?\d{1,4})(?![\w.])")
TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mbox)\s*\{([^{}]*)\}")
PERCENT = re.compile(r"\s*(?:\\text\{ ?(?:per ?cent(?:age)?|%) ?\}|\\?%|\bper ?cent(?:age)?\b|\bpct\b)", re.IGNORECASE)
PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*\\?%")
ASKS_FOR_PERCENT = re.compile(
    r"\b(?:what|which|how many|how much|find|express|determine|calculate|compute|by|give)\b[^.?!]*?"
    r"(?<!\d)(?<!\d )(?<!\d\\)(?:per ?cent|%)|\bpercentages?\b[^.]*\?",
    re.IGNORECASE,
)
MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
MAGNITUDE = re.compile(rf"(?<=\d) ?(?:\\text\{{ ?)?({'|'.join(MAGNITUDES)})\b(?: ?([A-Za-z]*)\}})?", re.IGNORECASE)
CURRENCY = re.compile(r"\\?\$ ?(?=[\d.])|[€£¥₹] ?(?=[\d.])|(?<=\d) ?[€£¥₹]|\\(?:euro|pounds)(?![a-z])")
POWER = r"(?: ?\^ ?\{?(\d)\}?)?"
UNIT = re.compile(
    rf"(?<=[\d}})]) ?(?:\\(?:text|mathrm|textrm|mbox)\{{ ?([A-Za-z][A-Za-z/. -]*?){POWER} ?\}}{POWER}"
    rf"| (\(?[A-Za-z][A-Za-z/.-]*(?: [A-Za-z/.-]+){{0,3}}\)?){POWER})$"
)
DEGREES = re.compile(r" ?\^ ?\{? ?\\circ ?\}?$")
MEMBER = re.compile(r"^[A-Za-z](?:_\{?\w+\}?)? ?\\in(?![a-z]) ?")
WHOLE = re.compile(r"[-+]?\d{1,400}", re.ASCII)
MIXED = re.compile(r"(?<![\d.])(\d+) (\d+) ?/ ?(\d+)")
CLOCK = re.compile(
    r"(\d{1,4}) ?: ?(\d{1,4}(?: ?: ?\d{1,4})*)(?: ?(?:\\text\{)? ?([ap])\.? ?m\.?)? ?\}?", re.IGNORECASE
)


def normalize(answer: str) -> str:
    """An answer in the notation that math-verify reads: one kind of spaces, no delimiters, separators or styles."""
    answer = re.sub(r",\s*\\!\s*", "{,}", INVISIBLE.sub("", answer))
    answer = ROOT.sub(lambda match: rf"\sqrt{{{match.group(1).strip('(){}')}}}", answer)
    answer = SYMBOL.sub(lambda match: SYMBOLS[match.group()], answer)
    answer = SPACE.sub(" ", STYLE.sub("", LAYOUT.sub("", answer))).strip()
    if whole := DELIMITERS.fullmatch(answer):
        answer = next(group for group in whole.groups() if group is not None)
    elif first := FORMULA_AND_WORDS.match(answer):
        answer = first.group(1) + " " + answer[first.end() :].lstrip()
    if whole := re.fullmatch(r"\{((?:[^{}]|\{[^{}]*\})*)\}", answer.strip()):  # of a style that was taken away
        answer = whole.group(1)
    if (whole := TEXT.fullmatch(answer.strip())) and re.fullmatch(r"[-+]?[\d.,]+", whole.group(1).strip()):
        answer = whole.group(1).strip()
    answer = re.sub(r"\\(?:left|right|bigl?|bigr?)(?![a-z])\s*", "", answer.strip().rstrip(".,;")).strip()
    answer = LETTER.sub(r"\1", answer)
    answer = CELL.sub(r" \g<0> ", TIMES_I.sub("i", answer))
    answer = MEMBER.sub("", answer, count=1)
    answer = CURRENCY.sub("", answer)
    answer = THOUSANDS.sub(_joined, answer)
    answer = REPEATING.sub(_repeating, answer)
    answer = SCIENTIFIC.sub(r"\1 \\times 10^{\2}", answer)
    answer = MIXED.sub(r"\1\\frac{\2}{\3}", answer)
    answer = PERCENT.sub(r"\%", answer)
    return MAGNITUDE.sub(_magnitude, answer).strip()


def _joined(match: re.Match) -> str:
    """Digits without separators, unless what separates them is that of a list (`1, 234` could be two numbers)."""
    return match.group() if re.search(r"\d, \d", match.group()) else re.sub(r"\D", "", match.group())


def _repeating(match: re.Match) -> str:
    whole, before, repeated = match.groups()
    nines = int("9" * len(repeated) + "0" * len(before))
    return rf"\frac{{{int(whole + before + repeated) - int((whole + before) or 0)}}}{{{nines}}}"


def _magnitude(match: re.Match) -> str:
    rest = rf" \text{{{match.group(2)}}}" if match.group(2) else ""
    return rf" \times 10^{{{MAGNITUDES[match.group(1).lower()]}}}{rest}"


def split_unit(answer: str, context: str | None = None) -> tuple[str, str]:
    """
    A normalized answer without the unit at its end, and the unit: `("5", "cm^2")`.

    Args:
        answer (`str`): A normalized answer.
        context (`str`, *optional*): The question and the gold answer, whose words are units as well. None for a gold
            answer itself, of which every word is believed that does not change the number.
    """
    answer = DEGREES.sub("", answer)
    match = UNIT.search(answer) if "\\int" not in answer else None  # `x dx` is not a unit
    if match is None:
        return answer, ""
    name, inner, outer, bare, power = match.groups()
    words = (name or bare).strip(" ()")
    if CHANGES.search(words) if context is None else not is_unit(words, context):
        return answer, ""
    exponent = inner or outer or power
    return answer[: match.start()], f"{words}^{exponent}" if exponent else words


def plain(text: str) -> str:
    """A text without case, markup, quotes, and the parentheses of a choice."""
    text = TEXT.sub(r"\1", SPACE.sub(" ", INVISIBLE.sub("", text)))
    text = re.sub(r"[$\"“”]|\\[()\[\]]", "", text)
    return re.sub(r"\s+", " ", re.sub(r"^\((\w+)\)$", r"\1", text.strip())).strip(" .").casefold()


def as_word(gold: str) -> str:
    """A gold answer that is a text and no formula, as it is compared; empty if it is a formula."""
    whole = TEXT.fullmatch(gold)
    if whole and not re.fullmatch(r"[\d.,\s]*", whole.group(1)) and not CLOCK.fullmatch(whole.group(1).strip()):
        return plain(gold)
    is_text = re.fullmatch(r"[A-Za-z]{3,}(?:[ .,'’-]+[A-Za-z]+)*", gold) or re.search(r" (?:at|when|where|if) ", gold)
    return plain(gold) if is_text else ""
