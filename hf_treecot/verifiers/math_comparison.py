r"""Whether two answers in math-verify's notation are equal: numbers exactly, lists with their repeats, equations.

math-verify parses and compares expressions, sets, intervals and matrices. What it takes for equal and is not is
compared here: numbers that differ by less than it looks at (`\frac{1}{2^{98}}`, `\frac{1}{2^{99}}`), lists that repeat
(`6,6,5`), equations that are both false (`1=2`).
"""

import random
import re
from functools import lru_cache

import math_verify
import sympy
from sympy import Integer


WHOLE = re.compile(r"[-+]?\d{1,400}", re.ASCII)
NAME = re.compile(r"(?:\\?[A-Za-z]+|\\(?:angle|triangle|text)\b.*)(?:_\{?\w+\}?|')*(?:\([\w, ]*\))?")
LIST = re.compile(
    r"(?:,|;|\\(?:text|mathrm|textrm|mbox)\{[ ,]*(?:or|and)[ ,]*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z]))"
)
SAME = 1e-6  # relative: how near a decimal number must be to a value that it cannot show
DIGITS = 40  # that values without an exact form are computed to
PROBES = 4  # random points at which equations are compared
MAX_DIGITS = 20_000  # of a number, written out
MAX_FACTORIAL = 5_000
UNDONE = (sympy.Integral, sympy.Limit, sympy.Sum, sympy.Product)
TOWER = re.compile(r"(\d+)\}?\)? ?\^ ?\{? ?(\d+) ?\^ ?\{? ?(\d+)( ?\^)?")
POWER = re.compile(r"(\d+)(?:\.\d+)?\}?\)? ?\^ ?(?:\{ ?-?(\d+)[^{}]*\}|-?(\d+))")
FACTORIAL = re.compile(r"(\d+)\}?\)? ?!")


def is_huge(text: str) -> bool:
    """Whether a text holds a number that would take too long to write out: refused before anything computes it."""
    if re.search(r"! ?\)? ?!", text):
        return True
    for base, exponent, above, more in TOWER.findall(text):
        if (
            more
            or len(above) > 2
            or len(base) * len(exponent) > 8
            or int(exponent) ** int(above) * len(base) > MAX_DIGITS
        ):
            return True
    for base, braced, bare in POWER.findall(text):
        exponent = braced or bare
        if len(base) > 400 or len(exponent) > 7 or len(base) * int(exponent) > MAX_DIGITS:
            return True
    return any(len(number) > 5 or int(number) > MAX_FACTORIAL for number in FACTORIAL.findall(text))


@lru_cache(maxsize=4096)
def parse(text: str) -> list:
    """What math-verify makes of a text: an expression and the text itself; empty if it can make nothing of it."""
    if is_huge(text):
        return []
    # math-verify's own limits use signal.alarm, which works in main threads only and cannot stop C code.
    if WHOLE.fullmatch(text):
        return [Integer(text), text]
    # Its other extraction would take the last number of what is not LaTeX, right by accident.
    parsed = math_verify.parse(f"\\boxed{{{text}}}", [math_verify.LatexExtractionConfig()], parsing_timeout=None)
    return [] if not parsed or isinstance(parsed[0], str) or parsed[0] is sympy.zoo else parsed


def is_equal(gold: str, answer: str) -> bool:
    """
    Whether two answers are equal.

    Args:
        gold, answer (`str`): Normalized, without units.
    """
    if gold.replace(" ", "") == answer.replace(" ", ""):
        return True
    if WHOLE.fullmatch(gold) and WHOLE.fullmatch(answer):
        return int(gold) == int(answer)  # most answers: no need to ask
    (kind, items), (other_kind, others) = split_list(gold), split_list(answer)
    if (len(items) > 1 or len(others) > 1 or "{" in (kind, other_kind)) and not ("=" in gold and len(items) == 1):
        return _same_lists(kind, items, other_kind, others, gold, answer)
    if "=" in gold and "=" in answer:
        return _same_equations(gold, answer)
    return _same_expressions(gold, answer)


def is_near(exact: str, decimal: str) -> bool:
    """Whether a number is the other one, rounded: within one hundredth of it."""
    values = [parsed[0] for text in (exact, decimal) if (parsed := parse(text))]
    if len(values) < 2 or not all(isinstance(value, sympy.Expr) and value.is_number for value in values):
        return False
    left, right = (sympy.N(value, DIGITS) for value in values)
    return bool(left.is_finite and right.is_finite and abs(left - right) <= abs(left) / 100)


def split_list(text: str) -> tuple[str, list[str]]:
    """The bracket that a list begins with, empty if there is none, and its items; one item if it is not a list."""
    text = text.strip()
    kind, inner = "", text
    for opening, closing in ((r"\{", r"\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")")):
        if text.startswith(opening) and text.endswith(closing) and _closes_at_the_end(text, opening):
            kind = opening[-1] if opening[-1] == "{" or (opening, closing) == ("(", ")") else opening + closing
            inner = text[len(opening) : -len(closing)]
            break
    items, depth, start = [], 0, 0
    for match in re.finditer(rf"\\[{{}}]|[\[\](){{}}]|{LIST.pattern}", inner):
        piece = match.group()
        if piece[-1] in "([{" and len(piece) <= 2 and piece not in ("or",):
            depth += 1
        elif piece[-1] in ")]}" and len(piece) <= 2:
            depth -= 1
        elif depth == 0 or piece.startswith(("\\text", "\\math", "\\mbox")):
            items.append(inner[start : match.start()])
            start = match.end()
    items.append(inner[start:])
    items = [item.strip() for item in items if item.strip()]
    return (kind, items) if len(items) > 1 or kind == "{" else ("", [text])


def _closes_at_the_end(text: str, opening: str) -> bool:
    depth = 0
    for match in re.finditer(r"\\[{}]|[\[\](){}]", text):
        depth += 1 if match.group()[-1] in "([{" else -1
        if depth == 0:
            return match.end() == len(text)
    return False


def _same_lists(kind: str, items: list[str], other_kind: str, others: list[str], gold: str, answer: str) -> bool:
    """Pairs in order, sets and bare lists in any, repeats count; intervals as math-verify has them."""
    if 1 in (len(items), len(others)) or "]" in kind + other_kind or "[" in kind + other_kind:
        return _same_intervals(kind, items, other_kind, others) or _same_expressions(gold, answer)
    if (kind and other_kind and kind != other_kind) or len(items) != len(others):
        return False
    items, others = ([_value(item) for item in part] for part in (items, others))
    if "(" in (kind, other_kind):
        return all(map(is_equal, items, others))
    for item in items:
        found = next((other for other in others if is_equal(item, other)), None)
        if found is None:
            return False
        others.remove(found)
    return True


def _same_intervals(kind: str, items: list[str], other_kind: str, others: list[str]) -> bool:
    return kind == other_kind and len(items) == len(others) and all(map(is_equal, items, others))


def _value(item: str) -> str:
    """An item of a list without the name that it is given: `x_{1} = 2` is `2`."""
    name, equals, value = item.partition("=")
    return value.strip() if equals and NAME.fullmatch(name.strip()) else item


def _same_expressions(gold: str, answer: str) -> bool:
    left, right = parse(gold), parse(answer)
    if not left or not right:
        return False
    if (numbers := _as_numbers(left[0], right[0])) is not None:
        return numbers
    return math_verify.verify(left, right, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)


def _as_numbers(left, right) -> bool | None:
    """Whether two numbers are equal, exactly unless one of them is decimal; None if one is not a number."""
    if not all(isinstance(value, sympy.Expr) and not value.free_symbols for value in (left, right)):
        return None
    is_decimal = left.has(sympy.Float) or right.has(sympy.Float)
    exact = [value.xreplace({f: sympy.Rational(str(f)) for f in value.atoms(sympy.Float)}) for value in (left, right)]
    exact = [value.doit() for value in exact]
    if any(not value.is_number or value.has(*UNDONE) for value in exact):
        return None
    if all(value.is_Rational for value in exact):
        is_near = is_decimal and not exact[0].is_Integer  # a whole number is not shown by a rounded one
        return bool(abs(exact[0] - exact[1]) <= (SAME * min(1, *map(abs, exact)) if is_near else 0))
    values = [sympy.N(value, DIGITS) for value in exact]
    if not all(value.is_finite for value in values):
        return None
    tolerance = SAME if is_decimal else sympy.Float(10) ** (10 - DIGITS)
    return bool(abs(values[0] - values[1]) <= tolerance * max(map(abs, values)))


def _same_equations(gold: str, answer: str) -> bool:
    """Whether two equations say the same: one is the other, but for a constant factor."""
    sides = [_difference(text) for text in (gold, answer)]
    if None in sides:
        return False
    left, right = sides
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    if left.free_symbols != right.free_symbols or not symbols:
        return False
    rng, ratios = random.Random(0), []
    for _ in range(8 * PROBES):
        point = {symbol: sympy.Rational(rng.randint(10, 300), rng.choice((7, 11, 13))) for symbol in symbols}
        values = [sympy.N(side.subs(point), DIGITS) for side in sides]
        if all(value.is_number and value.is_finite for value in values) and values[0] != 0:
            ratios.append(values[1] / values[0])
        if len(ratios) == PROBES:
            break
    if len(ratios) < PROBES or abs(ratios[0]) < SAME:
        return False
    return all(abs(ratio - ratios[0]) <= SAME * abs(ratios[0]) for ratio in ratios)


def _difference(equation: str):
    """The left side less the right one, with every letter a variable; None if it cannot be read."""
    sides = equation.split("=")
    if len(sides) != 2:
        return None
    # In an equation I and E are names, e is the number.
    parsed = [parse(re.sub(r"(?<![A-Za-z\\])([IE])(?![A-Za-z])", r"\1_{1}", side.strip())) for side in sides]
    if not all(part and isinstance(part[0], sympy.Expr) for part in parsed):
        return None
    return parsed[0][0] - parsed[1][0]
