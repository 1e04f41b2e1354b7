r"""Which words after a number are its unit, and which change the number: `7 m`, `7 apples left`, but not `7 tenths`.

A unit is a word that the gold answer or the question uses, a unit of measurement, or what is counted: one unknown
noun in the plural. Words that change a number (a fraction, a scale, an operation) or take it back (`not`, `fails`)
are never units, wherever they are found.
"""

import re


# Numbers, scales and fractions; operations; comparisons; what takes a number back.
CHANGES = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|"
    r"eigh|nine)ty|dozens?|scores?|gross|couple|hundreds?|thousands?|k|[mbtr]?illions?|millions?|billions?|trillions?|"
    r"mn|bn|lakhs?|crores?|infinit\w*|half|halves|quarters?|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|"
    r"tenths?|elevenths?|twelfths?|\w+teenths?|\w+tieths?|hundredths?|thousandths?|\w+illionths?|percent\w*|"
    r"times|twice|thrice|doubled?|tripled?|halved|plus|minus|negative|pi|mod(?:ulo)?|over|squared|cubed|power|root|"
    r"sqrt|factorial|log|ln|sin|cos|tan|exp|divided|multiplied|remainder|equals?|"
    r"and|or|nor|if|than|to|about|approx\w*|roughly|almost|nearly|around|more|less|fewer|least|most|below|above|under|"
    r"no|not|isn|never|neither|none|cannot|can|may|might|could|is|are|was|were|wrong|incorrect|false|invalid|untrue|"
    r"impossible|unlikely|undefined|unknown|maybe|perhaps|nope|fails?|failed|lacks?|misses|exceeds?|varies|"
    r"exclud\w+|except|unless|without|but|rather|instead|because|since)\b",
    re.IGNORECASE,
)
UNITS = (
    {"m", "meter", "metre"}, {"cm", "centimeter", "centimetre"}, {"mm", "millimeter", "millimetre"},
    {"km", "kilometer", "kilometre"}, {"nm", "nanometer", "nanometre"}, {"in", "inch", "inches"},
    {"ft", "foot", "feet"}, {"yd", "yard"}, {"mi", "mile"}, {"g", "gram"}, {"mg", "milligram"},
    {"kg", "kilogram", "kilo"}, {"lb", "pound"}, {"oz", "ounce"}, {"ton"}, {"tonne"},
    {"s", "sec", "second"}, {"ms", "millisecond"},
    {"min", "minute"}, {"h", "hr", "hour"}, {"day"}, {"week"}, {"month"}, {"yr", "year"}, {"decade"},
    {"century", "centuries"}, {"L", "l", "liter", "litre"}, {"mL", "ml", "milliliter", "millilitre"},
    {"gallon", "gal"}, {"quart"}, {"pint"}, {"cup"}, {"acre"}, {"ha", "hectare"}, {"dollar", "usd", "USD"}, {"cent"},
    {"euro", "eur", "EUR"}, {"yuan", "rmb", "RMB"}, {"yen"}, {"peso"}, {"rupee", "rs", "Rs"},
    {"rad", "radian"}, {"C", "Celsius", "celsius"}, {"F", "Fahrenheit", "fahrenheit"}, {"K", "Kelvin", "kelvin"},
    {"N", "Newton", "newton"}, {"J", "Joule", "joule"}, {"kJ", "kilojoule"}, {"W", "Watt", "watt"}, {"kW", "kilowatt"},
    {"V", "Volt", "volt"}, {"A", "amp", "ampere"}, {"Pa", "Pascal", "pascal"}, {"kPa"}, {"Hz", "Hertz", "hertz"},
    {"ohm", "Ohm"}, {"mol", "mole"}, {"mph"}, {"mpg"}, {"kph", "kmh"}, {"bit"}, {"byte"}, {"calorie", "kcal", "cal"},
)  # fmt: skip
# Counted too, and no plural in -s; or a unit whose kind is said elsewhere.
NOUNS = frozenset("people person men man women woman children child sheep fish degree deg unit".split())
SPELLINGS = {spelling: min(unit, key=len) for unit in UNITS for spelling in unit}
# What stands around a unit, `square`, `per`, and what may end it, `7 apples left`.
AROUND = frozenset("a an at by cu cubic each every for in of on only per sq square the with".split())
ENDING = frozenset("all altogether away deep each high in left long old overall remaining tall total wide".split())
PLURAL = re.compile(r"(?!.*(?:ss|is|us)$)[a-z]{2,}s")
HOW_MANY = re.compile(r"\bhow many (?:square |cubic )?([A-Za-z]+)", re.IGNORECASE)


def is_unit(words: str, context: str) -> bool:
    """
    Whether words after a number only say what it counts.

    Args:
        words (`str`): `cm`, `m/s`, `apples left`.
        context (`str`): The question and the gold answer: their words are units too.
    """
    parts = re.findall(r"[A-Za-z]+", words)
    if not parts or CHANGES.search(words):
        return False
    known = {_singular(word) for word in re.findall(r"[A-Za-z]{3,}", context)}
    is_known = [_singular(part) in known or part.lower() in NOUNS or canonical(part) is not None for part in parts]
    unknown = [
        part
        for part, known_ in zip(parts, is_known, strict=True)
        if not known_ and part.lower() not in (ENDING if part is parts[-1] else AROUND | ENDING)
    ]
    return not unknown or (len(unknown) == 1 and PLURAL.fullmatch(unknown[0]) is not None)


def canonical(word: str) -> str | None:
    """A unit of measurement by its shortest name, however it is spelt; None for other words."""
    singular = word.removesuffix("s") if len(word) > 2 else word
    candidates = (word, singular, word.lower(), singular.lower()) if len(word) > 1 else (word,)
    return next((SPELLINGS[candidate] for candidate in candidates if candidate in SPELLINGS), None)


def disagree(unit: str, gold_unit: str, question: str) -> bool:
    """Whether an answer is measured in another unit than the gold one, or than the question asks for: km for m."""
    unit, gold_unit = unit.partition("^")[0], gold_unit.partition("^")[0]
    asked = [match.group(1) for match in HOW_MANY.finditer(question)]
    expected = {canonical(word) for word in ([gold_unit] if gold_unit else asked)} - {None}
    measured = canonical(unit)
    return bool(expected and measured and measured not in expected)


def _singular(word: str) -> str:
    return word.lower().removesuffix("s")
