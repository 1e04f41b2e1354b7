"""A model's text as what a browser shows: LaTeX and code typeset, everything else as it was written.

All text goes through `escape`, nothing else. It must not know what the text is part of.
"""

import re
from html import escape
from xml.etree import ElementTree

from latex2mathml.converter import convert


# Lengths are bounded, since hostile text makes an unbounded search quadratic.
FORMULA = re.compile(
    r"\$\$(.{1,400}?)\$\$|\\\[(.{1,400}?)\\\]|\\\((.{1,400}?)\\\)|\$(?=\S)([^$\n]{1,400}?)(?<=\S)\$(?!\d)|"
    r"(\\boxed\{(?:[^{}]|\{[^{}]{0,200}\}){0,200}\})",
    re.DOTALL,
)
BOXED_WORDS = re.compile(r"\\boxed\{([^\\{}$^_]*[A-Za-z]{2}[^\\{}$^_]*)\}")  # no mathematics: a plan, a name
CODE = re.compile(r"```[\w+-]{0,30}\n(.{0,20000}?)\n?```|`([^`\n]{1,400})`", re.DOTALL)
# What LaTeX says in words, for where there is room for a line of plain text alone.
PLAIN = (
    (re.compile(r"\\(?:boxed|text|mathrm|mathbf|textbf|operatorname)\s?\{([^{}]{0,200})\}"), r"\1"),
    (re.compile(r"\\[dt]?frac\s?\{([^{}]{1,60})\}\s?\{([^{}]{1,60})\}"), r"\1/\2"),
    (re.compile(r"\\sqrt\s?\{([^{}]{1,60})\}"), r"√(\1)"),
    (re.compile(r"\\(?:left|right|displaystyle|[,;!])"), ""),
    (re.compile(r"\\times|\\cdot"), "×"),
    (re.compile(r"\\div(?![a-z])"), "÷"),
    (re.compile(r"\\leq?(?![a-z])"), "≤"),
    (re.compile(r"\\geq?(?![a-z])"), "≥"),
    (re.compile(r"\\pi(?![a-z])"), "π"),
    (re.compile(r"\$\$?(?=\S)([^$]{1,200}?)(?<=\S)\$\$?(?!\d)"), r"\1"),
    (re.compile(r"\\[()\[\]]|```\w*|`"), ""),
)
# A longer text, and what comes after so many formulas, is shown as it was written.
LONGEST_TYPESET = 20_000  # characters
MOST_FORMULAS = 100
MATHML = "{http://www.w3.org/1998/Math/MathML}"
ELEMENTS = set(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle merror mpadded mphantom msub msup msubsup munder "
    "mover munderover mmultiscripts mprescripts none mtable mtr mtd menclose".split()
)
ATTRIBUTES = set(
    "display displaystyle scriptlevel mathvariant stretchy fence form separator largeop movablelimits lspace rspace "
    "minsize maxsize linethickness columnalign rowspacing columnspacing columnlines rowlines accent accentunder "
    "notation width height depth".split()
)


def plain_text(text: str) -> str:
    """A short text in one line, as far as can be without its LaTeX."""
    text = " ".join(text.split())
    for expression, words in PLAIN:
        text = expression.sub(words, text)
    return text


def text_html(text: str) -> str:
    """A text with its LaTeX and code typeset, and everything else as it is written."""
    if len(text) > LONGEST_TYPESET:
        return escape(text)
    pieces, end = [], 0
    for number, match in enumerate(CODE.finditer(text)):
        if number == MOST_FORMULAS:
            break
        block, inline = match.groups()
        pieces.append(_formulas_html(text[end : match.start()]))
        pieces.append(f"<code>{escape(inline)}</code>" if inline else f"<pre>{escape(block or '')}</pre>")
        end = match.end()
    return "".join(pieces) + _formulas_html(text[end:])


def _formulas_html(text: str) -> str:
    pieces, end = [], 0
    for number, match in enumerate(FORMULA.finditer(text)):
        if number == MOST_FORMULAS:
            break
        formula = next(group for group in match.groups() if group is not None)
        words = BOXED_WORDS.fullmatch(formula)
        html = f'<span class="boxed">{escape(words.group(1))}</span>' if words else _formula_html(formula)
        pieces += [escape(text[end : match.start()]), html or escape(match.group())]
        end = match.end()
    return "".join(pieces) + escape(text[end:])


def _formula_html(formula: str) -> str:
    """MathML of a formula; empty if it is malformed, or anything but mathematics comes out."""
    try:
        # What the converter wrote: it has no document type, so no entities that could expand.
        root = ElementTree.fromstring(convert(formula))  # noqa: S314
    except Exception:  # the converter raises whatever it runs into: the formula is then shown as it was written
        return ""
    for element in root.iter():
        if element.tag.removeprefix(MATHML) not in ELEMENTS:
            return ""
        element.tag = element.tag.removeprefix(MATHML)
        for name in element.attrib.keys() - ATTRIBUTES:
            del element.attrib[name]
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
