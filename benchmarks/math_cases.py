"""Mathematical answers whose verdict is known, for `verifier_accuracy.py`: rewritings and mutations."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from hf_treecot.base import Problem


@dataclass(frozen=True)
class Case:
    """A completion, its problem, and whether it is right."""

    kind: str
    problem: Problem
    completion: str
    right: bool


Answers = tuple[str, list[str], list[str]]  # gold, equal to it, other than it
ASKED = "What percent of the class is that?"


def around(n: int) -> list[str]:
    """What is wrong for a number, however close it comes."""
    return [
        f"{n + 1}", f"{n - 1}", f"{n}0", f"{n} {n + 1}", f"{n} or {n + 1}", f"{n}, {n + 1}", rf"\{{{n},{n + 1}\}}",
        f"x<{n}", rf"\ne {n}", f"{n + 1}={n}", rf"{n}\text{{ (not {n + 1})}}", rf"{n}\%", f"{n}.5", f"{n} and {n + 2}",
        f"@@ {n}", rf"\foo{{3}} {n}", f"f() or {n}", f"1]] {n}", rf"\text{{I think }}{n}", f"{n} is not it",
        rf"\text{{either }}{n}\text{{ or }}{n + 1}", rf"{n}\pm 1", f"({n},{n})", f"{n}x",
    ]  # fmt: skip


def integer(rng: random.Random) -> Answers:
    """A whole number."""
    n = rng.choice((rng.randint(2, 99), rng.randint(100, 999), rng.randint(1000, 9_999_999)))
    n *= rng.choice((1, 1, 1, -1))
    right = [
        f"{n}.0", f"{n}.00", f"{n:,}", f"{n:,}".replace(",", "{,}"), f"x={n}", f"x = {n}", f"${n}$", rf"\({n}\)",
        f"{n}.",
        f"**{n}**", f"{n} apples", rf"{n}\text{{ cm}}", rf"{n}\ \mathrm{{kg}}", rf"{n}^\circ",
        rf"\frac{{{2 * n}}}{{2}}",
        f"{2 * n}/2", rf"\${n}", f"{n} dollars", f"{n} square meters", rf"{n} \text{{ miles per hour}}", f"  {n}  ",
        rf"n={n - 7}+7={n}", f"f(3)={n}", rf"\mathbf{{{n}}}", rf"\text{{{n}}}", rf"\left({n}\right)", f"{n}\u200b",
    ]  # fmt: skip
    if abs(n) > 9999:
        right += [f"{n:,}".replace(",", sep) for sep in (r"\,", " ", r"\ ", "\u202f", r",\!")]
    return f"{n}", right, around(n) + ([f"{-n}"] if n else [])


def competition(rng: random.Random) -> Answers:
    """AIME: 0 to 999."""
    n = rng.randint(0, 999)
    return f"{n}", [f"{n:03d}", f"{n}", rf"\text{{{n:03d}}}", f"N = {n}"], around(n)


def decimal(rng: random.Random) -> Answers:
    """A number with one to three places."""
    places = rng.randint(1, 3)
    value = Fraction(rng.randint(1, 9) + 10 * rng.randint(0, 20), 10**places)
    text = f"{float(value):.{places}f}"
    right = [
        f"{text}0", rf"\frac{{{value.numerator}}}{{{value.denominator}}}", f"{value.numerator}/{value.denominator}",
        rf"{float(value * 100):g}\%", rf"\${text}", f"x={text}", f"{text} liters", f"{text}\\text{{ km}}",
    ]  # fmt: skip
    if value < 1:
        right.append(text.lstrip("0"))
    wrong = [f"{float(value) + 10**-places:.{places}f}", f"{text}1", f"-{text}", f"{float(value) * 10:.{places}f}"]
    return text, right, [*wrong, f"{text} or 7", f"{text}5", f"{text}, {text}1"]


def fraction(rng: random.Random) -> Answers:
    """A fraction in lowest terms."""
    value = Fraction(rng.randint(1, 60), rng.choice((3, 6, 7, 9, 11, 12, 13)))
    a, b = value.numerator, value.denominator
    sign = rng.choice(("", "", "-"))
    k = rng.randint(2, 9)
    right = [
        f"{sign}{a}/{b}", rf"{sign}\dfrac{{{a}}}{{{b}}}", rf"{sign}\tfrac{{{a}}}{{{b}}}",
        rf"{sign}\frac{{{k * a}}}{{{k * b}}}",
        rf"{sign}\frac {{{a}}} {{{b}}}", f"{sign}{a} / {b}", rf"x = {sign}\frac{{{a}}}{{{b}}}",
        rf"$\frac{{{sign}{a}}}{{{b}}}$",
        rf"{sign}\frac{{{a}}}{{{b}}}\text{{ cups}}",
    ]  # fmt: skip
    if a > b > 1:
        right += [rf"{sign}{a // b}\frac{{{a % b}}}{{{b}}}", f"{sign}{a // b} {a % b}/{b}"]
    if max(a, b) < 10:
        right.append(rf"{sign}\frac{a}{b}")
    wrong = [
        rf"{sign}\frac{{{a + 1}}}{{{b}}}",
        rf"{sign}\frac{{{a}}}{{{b + 1}}}",
        f"{sign}{a / b:.2f}1",
        f"{sign}{a}{b}",
    ]
    wrong += [
        rf"{'' if sign else '-'}\frac{{{a}}}{{{b}}}",
        rf"{sign}\frac{{{a}}}{{{b}}}, 2",
        rf"\frac{{{a}}}{{{b}}} \frac{{1}}{{2}}",
    ]
    if a != b:
        wrong.append(rf"{sign}\frac{{{b}}}{{{a}}}")
    return rf"{sign}\frac{{{a}}}{{{b}}}", right, wrong


def percent(rng: random.Random) -> Answers:
    """A percentage."""
    p = rng.randint(2, 99)
    return (
        rf"{p}\%",
        [
            f"{p}%",
            rf"{p} \%",
            f"{p} percent",
            f"{p}",
            rf"{p}\text{{ percent}}",
            rf"\frac{{{p}}}{{100}}",
            f"x={p}\\%",
            f"{p / 100:g}",
            f"{p} per cent",
        ],
        [rf"{p + 1}\%", f"{p / 1000:g}", rf"{p}0\%", rf"-{p}\%", f"{p + 1}", rf"{p}\% or {p + 1}\%"],
    )


def interval(rng: random.Random) -> Answers:
    """An interval, bounded or not."""
    a = rng.randint(-9, 9)
    b = a + rng.randint(1, 9)
    left, right = rng.choice("[("), rng.choice("])")
    le, re = (r"\le" if left == "[" else "<"), (r"\le" if right == "]" else "<")
    other = {"[": "(", "(": "[", "]": ")", ")": "]"}
    gold = f"{left}{a},{b}{right}"
    if (left, right) == ("(", ")"):  # might be a point
        gold, unbounded = rf"(-\infty,{b}]", rf"\left(-\infty, {b}\right]"
        return (
            gold,
            [unbounded, rf"x \le {b}", rf"x \in (-\infty, {b}]"],
            [rf"(-\infty,{b})", rf"(-\infty,{b + 1}]", f"x<{b}"],
        )
    return (
        gold,
        [rf"\left{left}{a},{b}\right{right}", f"{left}{a}, {b}{right}", rf"{a} {le} x {re} {b}", rf"x \in {gold}"],
        [
            f"{other[left]}{a},{b}{right}",
            f"{left}{a},{b}{other[right]}",
            f"{left}{a - 1},{b}{right}",
            f"{left}{a},{b + 1}{right}",
        ],
    )


def union(rng: random.Random) -> Answers:
    """Two intervals."""
    a = rng.randint(-9, 9)
    b = a + rng.randint(1, 9)
    return (
        rf"(-\infty,{a})\cup({b},\infty)",
        [rf"({b},\infty)\cup(-\infty,{a})", rf"\left(-\infty, {a}\right) \cup \left({b}, \infty\right)"],
        [
            rf"(-\infty,{a}]\cup({b},\infty)",
            rf"(-\infty,{a})\cup({b + 1},\infty)",
            rf"({b},\infty)",
            rf"(-\infty,{a})",
        ],
    )


def number_set(rng: random.Random) -> Answers:
    """A set of numbers, or several solutions."""
    items = rng.sample(range(-20, 40), rng.randint(2, 4))
    mixed = rng.sample(items, len(items))

    def join(xs) -> str:
        return ", ".join(map(str, xs))

    right = [rf"\{{{join(mixed)}\}}", join(mixed), join(mixed).replace(" ", ""), rf"\left\{{{join(items)}\right\}}"]
    right += [
        f"{join(mixed[:-1])} and {mixed[-1]}",
        ", ".join(f"x={i}" for i in mixed),
        " or ".join(f"x = {i}" for i in mixed),
    ]
    wrong = [rf"\{{{join(items[:-1])}\}}", join([*items, 77]), join([items[0] + 100, *items[1:]]), str(items[0])]
    gold = rf"\{{{join(items)}\}}" if rng.random() < 0.5 else join(items)
    return gold, right, wrong


def point(rng: random.Random) -> Answers:
    """A tuple: its order counts."""
    items = rng.sample(range(-20, 40), rng.randint(2, 3))
    text = ", ".join(map(str, items))
    right = [
        rf"\left({text}\right)",
        f"({text})".replace(" ", ""),
        rf"( {text} )",
        rf"$({text})$",
        rf"(x,{'y' if len(items) == 2 else 'y,z'})=({text})",
    ]
    turned = ", ".join(map(str, items[1:] + items[:1]))
    wrong = [f"({turned})", f"({', '.join(map(str, [items[0] + 1, *items[1:]]))})", f"({text}, 0)", str(items[0])]
    return f"({text})", right, [*wrong, rf"\left({turned}\right)"]


def matrix(rng: random.Random) -> Answers:
    """A matrix or a vector."""
    rows = [[rng.randint(-9, 9) for _ in range(rng.randint(1, 1) if rng.random() < 0.5 else 2)]]
    rows += [[rng.randint(-9, 9) for _ in rows[0]] for _ in range(rng.randint(1, 2))]

    def write(values, kind="pmatrix", amp=" & ", line=r" \\ ") -> str:
        return rf"\begin{{{kind}}} {line.join(amp.join(map(str, row)) for row in values)} \end{{{kind}}}"

    changed = [[*rows[0][:-1], rows[0][-1] + 1], *rows[1:]]
    wrong = [write(changed), write(rows[:-1]) if len(rows) > 2 else write([*rows, rows[0]]), write(changed, "bmatrix")]
    if rows[::-1] != rows:
        wrong.append(write(rows[::-1]))
    return write(rows), [write(rows, "bmatrix"), write(rows, amp="&", line=r"\\"), rf"A = {write(rows)}"], wrong


def expression(rng: random.Random) -> Answers:
    """A polynomial."""
    a, b, c = rng.randint(2, 9), rng.randint(1, 9), rng.randint(1, 9)
    return (
        f"{a}x^2+{b}x-{c}",
        [
            f"{b}x-{c}+{a}x^2",
            f"{a}x^{{2}} + {b}x - {c}",
            f"-{c}+{b}x+{a}x^2",
            f"x({a}x+{b})-{c}",
            rf"{a}\cdot x^2+{b}x-{c}",
        ],
        [f"{a}x^2-{b}x-{c}", f"{a}x^2+{b}x+{c}", f"{a + 1}x^2+{b}x-{c}", f"{a}x^3+{b}x-{c}", f"{a}y^2+{b}y-{c}"],
    )


def radical(rng: random.Random) -> Answers:
    """A root, perhaps with a factor."""
    a, b = rng.randint(2, 9), rng.choice((2, 3, 5, 6, 7, 10, 11, 13))
    right = [
        rf"\sqrt{{{a * a * b}}}",
        rf"{a} \sqrt{{{b}}}",
        rf"{a}\cdot\sqrt{{{b}}}",
        rf"\sqrt{{{b}}}\cdot {a}",
        rf"x={a}\sqrt{{{b}}}",
    ]
    if b < 10:
        right.append(rf"{a}\sqrt{b}")
    return (
        rf"{a}\sqrt{{{b}}}",
        right,
        [
            rf"{a + 1}\sqrt{{{b}}}",
            rf"{a}\sqrt{{{b + 1}}}",
            rf"-{a}\sqrt{{{b}}}",
            f"{a * b}",
            rf"\sqrt{{{a * b}}}",
            f"{a * b**0.5:.2f}",
        ],
    )


def complex_number(rng: random.Random) -> Answers:
    """A complex number."""
    a, b = rng.randint(1, 20), rng.randint(2, 20)
    return (
        f"{a}+{b}i",
        [f"{b}i+{a}", f"{a} + {b}i", rf"{a}+{b}\cdot i", f"z={a}+{b}i"],
        [f"{a}-{b}i", f"{b}+{a}i" if a != b else "0", f"-{a}+{b}i", f"{a}+{b}"],
    )


def equation(rng: random.Random) -> Answers:
    """A line, or what a variable is."""
    m, b = rng.randint(2, 9), rng.randint(1, 9)
    if rng.random() < 0.5:
        return (
            f"x={m * b}",
            [f"x = {m * b}", f"{m * b}", f"{m * b}=x", rf"x=\frac{{{2 * m * b}}}{{2}}"],
            [f"y={m * b}", f"x={m * b + 1}", f"{m * b + 1}={m * b}", f"x>{m * b}"],
        )
    return (
        f"y={m}x+{b}",
        [f"y = {m}x + {b}", f"y={b}+{m}x", f"{m}x+{b}"],
        [f"y={m}x-{b}", f"y={m + 1}x+{b}", f"y={b}x+{m}" if m != b else "y=x", f"x={m}y+{b}"],
    )


def angle(rng: random.Random) -> Answers:
    """Multiples of pi."""
    a, b = rng.choice(((1, 3), (2, 3), (1, 4), (3, 4), (5, 6), (1, 6), (7, 4), (5, 3)))
    top = r"\pi" if a == 1 else rf"{a}\pi"
    return (
        rf"\frac{{{top}}}{{{b}}}",
        [rf"{top}/{b}", rf"\frac{{{a}}}{{{b}}}\pi", rf"\dfrac{{{top}}}{{{b}}}", f"{'' if a == 1 else a}π/{b}"],
        [rf"\frac{{{top}}}{{{b + 1}}}", f"{180 * a // b}", f"{3.14159265 * a / b:.2f}", rf"-\frac{{{top}}}{{{b}}}"],
    )


def word(rng: random.Random) -> Answers:
    """A name or another text."""
    gold, other = rng.sample(
        ("Evelyn", "east", "Tuesday", "parallel", "Angela", "odd", "hyperbola", "decreasing", "Sam Lee"), 2
    )
    shuffled = "".join(rng.sample(gold, len(gold)))
    wrong = [other, rf"\text{{{other}}}", f"{gold} or {other}", f"not {gold}", rf"\text{{not }}\text{{{gold}}}", "7"]
    wrong += [shuffled] if shuffled.lower() != gold.lower() else []
    right = [
        gold,
        gold.lower(),
        gold.upper(),
        rf"\text{{{gold}}}",
        rf"\textbf{{{gold}}}",
        rf"\mathrm{{{gold}}}",
        f'"{gold}"',
        f"{gold}.",
        rf"\text{{ {gold} }}",
    ]
    return rng.choice((gold, rf"\text{{{gold}}}")), right, wrong


def choice(rng: random.Random) -> Answers:
    """A letter of a multiple choice."""
    gold, other = rng.sample("ABCDE", 2)
    return (
        rf"\text{{({gold})}}",
        [gold, f"({gold})", rf"\text{{{gold}}}", rf"\textbf{{({gold})}}", rf"\mathrm{{{gold}}}"],
        [other, f"({other})", rf"\text{{({other})}}", f"{gold}, {other}", f"{gold} or {other}"],
    )


def base(rng: random.Random) -> Answers:
    """A number in another base."""
    n, b = rng.randint(100, 555), rng.choice((6, 7, 8, 9))
    return (
        f"{n}_{b}",
        [f"{n}_{{{b}}}", f"{n}", f"${n}_{b}$"],
        [f"{n}_{b - 1}", f"{n}_{{{b + 1}}}", f"{n + 1}_{b}", f"{n + 1}"],
    )


KINDS: tuple[Callable[[random.Random], Answers], ...] = (
    integer, competition, decimal, fraction, percent, interval, union, number_set, point, matrix, expression, radical,
    complex_number, equation, angle, word, choice, base,
)  # fmt: skip


def math_cases(count: int, seed: int = 0) -> Iterator[Case]:
    """`count` gold answers of every kind, each with all its rewritings and mutations."""
    for make in KINDS:
        rng = random.Random(f"{make.__name__} {seed}")
        for i in range(count):
            gold, rights, wrongs = make(rng)
            for right, answers in ((True, [gold, *rights]), (False, wrongs)):
                for j, answer in enumerate(answers):
                    problem = Problem(f"{make.__name__}-{i}-{right}-{j}", "What is it?", gold, "math")
                    yield Case(make.__name__.replace("_", " "), problem, rf"The answer is: \boxed{{{answer}}}", right)


def asked_percent_cases(count: int) -> Iterator[Case]:
    """A number that is a percentage because the question asks for one."""
    for p in range(2, 2 + count):
        for answer, right in ((rf"{p}\%", True), (f"{p}", True), (rf"{p + 1}\%", False)):
            yield Case(
                "percent asked for", Problem(f"asked-{p}", ASKED, str(p), "math"), rf"\boxed{{{answer}}}", right
            )


def stated_cases(gold: str, problem: Problem) -> Iterator[Case]:
    """The ways to state an answer, and ways not to earn it."""
    for text in (
        rf"The answer is: \boxed{{{gold}}}", rf"\boxed{{ {gold} }}", rf"So \fbox{{{gold}}}.", f"#### {gold}",
        f"The answer is {gold}.", f"**Final answer:** {gold}", f"The answer is: **{gold}**",
        rf"\boxed{{\boxed{{{gold}}}}}",
        rf"\boxed{{{gold}}} as said: \boxed{{{gold}}}",
    ):  # fmt: skip
        yield Case("stated", problem, text, True)
    for text in (
        rf"\boxed{{7777}} or \boxed{{{gold}}}", rf"\boxed{{{gold}}}, no, \boxed{{7777}}",
        f"{gold}", f"{problem.prompt} {gold}",
        f"The answer is 7777. The answer is {gold}.", f"#### 7777\n#### {gold}",
        rf"\boxed{{{gold}", rf"\boxed{{7777, {gold}}}",
        rf"boxed{{{gold}}}", "I do not know.",
    ):  # fmt: skip
        yield Case("not earned", problem, text, False)


def mutated(gold: str) -> list[str]:
    """A gold answer with one digit changed, once for every digit, and with another sign."""
    digits = [i for i, character in enumerate(gold) if character.isdigit()]
    changed = [f"{gold[:i]}{(int(gold[i]) + 1) % 10}{gold[i + 1 :]}" for i in digits]
    return changed + ([f"-{gold}"] if gold.strip("0").isdigit() else [])
