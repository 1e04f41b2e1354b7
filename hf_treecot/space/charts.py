"""Charts as HTML and SVG, in the page's own colours and type: for light and dark, for phones, for screen readers.

All shares are in [0, 1]. Names may come from anybody: they are escaped. It knows figures, not where they come from.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple


class Share(NamedTuple):
    """A share with its interval, of a model."""

    label: str
    value: float
    low: float
    high: float


class Segment(NamedTuple):
    """A part of a stacked bar; `key` says what is behind it, empty if nothing can be shown."""

    name: str
    share: float
    key: str = ""


class Point(NamedTuple):
    """A model: how often it gives no answer, how often it is right."""

    label: str
    no_answer: Share
    right: Share


MARKS = ("●", "■", "▲", "◆", "▼", "★")  # by which points are told apart, whatever their colours
SEGMENTS = {"right": "seg-right", "wrong": "seg-wrong"}  # other kinds have the colours 0 to 4


def percent(value: float) -> str:
    """A share in percent, with one decimal only if it is not 0."""
    return f"{100 * value:.1f}".removesuffix(".0")


def with_interval(value: float, low: float, high: float) -> str:
    """`42 (28–56)`."""
    return f"{percent(value)} ({percent(low)}–{percent(high)})"


def rounded(value: float, low: float, high: float) -> str:
    """The same in whole percent, where there is little room."""
    return f"{100 * value:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def bars_html(groups: Mapping[str, Sequence[Share]], figure: Callable[[float, float, float], str] = rounded) -> str:
    """
    Bars from 0 to 100 %, in groups, each with its interval as a whisker and its figure in words.

    Args:
        groups (`Mapping[str, Sequence[Share]]`): By the title of the group.
        figure (`Callable`): How a share and the ends of its interval are written.
    """
    pieces = []
    for title, shares in groups.items():
        rows = "".join(
            f'<div class="bar-row series-{number % len(MARKS)}"><span class="bar-label">{escape(share.label)}</span>'
            f'<span class="bar-track" aria-hidden="true"><i class="bar" style="width:{100 * share.value:.1f}%"></i>'
            f'<i class="whisker" style="left:{100 * share.low:.1f}%;width:{100 * (share.high - share.low):.1f}%"></i>'
            f'</span><span class="bar-value">{figure(share.value, share.low, share.high)}</span></div>'
            for number, share in enumerate(shares)
        )
        pieces.append(f'<section class="bars"><h3>{escape(title)}</h3>{rows}</section>')
    return f'<div class="bar-groups">{"".join(pieces)}</div>'


def stacked_html(groups: Mapping[str, Mapping[str, Sequence[Segment]]]) -> str:
    """
    Bars whose parts add up to all outputs; those with something behind them are buttons.

    Args:
        groups (`Mapping`): Title -> label of a bar -> its parts.
    """
    names = list(dict.fromkeys(s.name for bars in groups.values() for parts in bars.values() for s in parts))
    colours = dict(zip((n for n in names if n not in SEGMENTS), (f"seg-{i}" for i in range(9)), strict=False))
    colours |= SEGMENTS
    pieces = []
    for title, bars in groups.items():
        rows = "".join(
            f'<div class="bar-row"><span class="bar-label">{escape(label)}</span>'
            f'<span class="stack">{"".join(_segment(label, title, part, colours) for part in parts)}</span></div>'
            for label, parts in bars.items()
        )
        pieces.append(f'<section class="bars"><h3>{escape(title)}</h3>{rows}</section>')
    legend = "".join(f'<span><i class="key {colours[name]}"></i>{escape(name)}</span>' for name in names)
    return f'<div class="legend">{legend}</div><div class="bar-groups">{"".join(pieces)}</div>'


def _segment(label: str, title: str, part: Segment, colours: Mapping[str, str]) -> str:
    if part.share <= 0:
        return ""
    words = escape(f"{label}, {title}: {part.name} {percent(part.share)} %")
    inside = percent(part.share) if part.share >= 0.08 else ""
    style = f'class="{colours[part.name]}" style="width:{100 * part.share:.2f}%" title="{words}"'
    if part.key:
        return f'<button type="button" {style} data-key="{escape(part.key)}" aria-label="{words}">{inside}</button>'
    return f'<span {style} role="img" aria-label="{words}">{inside}</span>'


def ladder_html(panels: Mapping[str, Sequence[Point]], parents: Mapping[str, str]) -> str:
    """
    Accuracy against no-answer rate, a panel for every kind of problems: the upper left corner is best.

    Args:
        panels (`Mapping[str, Sequence[Point]]`): By their titles.
        parents (`Mapping[str, str]`): Of a model that was trained, the one it was trained from: arrows lead there.
    """
    labels = list(dict.fromkeys(point.label for points in panels.values() for point in points))
    figures = "".join(_panel(title, points, labels, parents) for title, points in panels.items())
    legend = "".join(
        f'<span class="series-{i % len(MARKS)}"><b>{MARKS[i % len(MARKS)]}</b>{escape(label)}</span>'
        for i, label in enumerate(labels)
    )
    return f'<div class="legend">{legend}</div><div class="panels">{figures}</div>'


SIDE, EDGE = 240, 34  # of a panel's square, and of the room for its axes, in pixels


def _panel(title: str, points: Sequence[Point], labels: Sequence[str], parents: Mapping[str, str]) -> str:
    def x(share: float) -> float:
        return round(EDGE + SIDE * share, 1)

    def y(share: float) -> float:
        return round(10 + SIDE * (1 - share), 1)

    pieces = [_axes(x, y)]
    places = {point.label: (x(point.no_answer.value), y(point.right.value)) for point in points}
    for label, place in places.items():
        if (start := places.get(parents.get(label, ""))) and start != place:
            pieces.append(_arrow(start, place))
    for point in points:
        series = labels.index(point.label) % len(MARKS)
        (left, top), across, right = places[point.label], point.no_answer, point.right
        pieces.append(
            f'<g class="series-{series}"><path class="error" d="M{x(across.low)} {top}H{x(across.high)}M{left} '
            f'{y(right.low)}V{y(right.high)}"/><text class="point" x="{left}" y="{top}">{MARKS[series]}</text></g>'
        )
    words = "; ".join(
        f"{p.label}: {percent(p.right.value)} % right, {percent(p.no_answer.value)} % without an answer"
        for p in points
    )
    return (
        f'<figure class="panel"><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {SIDE + EDGE + 14} '
        f'{SIDE + 48}" role="img" aria-label="{escape(f"{title}. {words}")}">{"".join(pieces)}</svg></figure>'
    )


def _axes(x, y) -> str:
    ticks = "".join(
        f'<path class="grid" d="M{x(0)} {y(t)}H{x(1)}M{x(t)} {y(0)}V{y(1)}"/>'
        f'<text class="tick" x="{x(0) - 5}" y="{y(t) + 4}" text-anchor="end">{t * 100:.0f}</text>'
        f'<text class="tick" x="{x(t)}" y="{y(0) + 16}" text-anchor="middle">{t * 100:.0f}</text>'
        for t in (0, 0.5, 1)
    )
    return (
        f'{ticks}<text class="tick" x="{x(0.5)}" y="{y(0) + 33}" text-anchor="middle">no answer, %</text>'
        f'<text class="tick" transform="translate(10 {y(0.5)}) rotate(-90)" text-anchor="middle">right, %</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A bent line that ends before the point, so that the way back does not lie on the way there."""
    (x0, y0), (x1, y1) = start, end
    length = max(1.0, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
    along = ((x1 - x0) / length, (y1 - y0) / length)
    bend = min(24.0, 0.15 * length)
    middle = ((x0 + x1) / 2 - along[1] * bend, (y0 + y1) / 2 + along[0] * bend)
    tip = (x1 - 9 * along[0], y1 - 9 * along[1])
    wings = [
        (tip[0] - 7 * along[0] + side * 4 * along[1], tip[1] - 7 * along[1] - side * 4 * along[0]) for side in (1, -1)
    ]
    head = " ".join(f"{a:.1f},{b:.1f}" for a, b in (tip, *wings))
    curve = f"M{x0:.1f} {y0:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {tip[0]:.1f} {tip[1]:.1f}"
    return f'<path class="arrow" d="{curve}"/><polygon class="arrow-head" points="{head}"/>'


def curves_html(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """
    Lines over the steps of a training.

    Args:
        title (`str`): What they are.
        lines (`Mapping[str, Sequence]`): Name -> points of step and value; at least one line with a point.
    """
    points = [point for line in lines.values() for point in line]
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*points, strict=True))
    wide, high = 300, 130

    def place(point: tuple[float, float]) -> str:
        x = 56 + wide * (point[0] - x0) / ((x1 - x0) or 1)
        return f"{x:.1f},{10 + high * (1 - (point[1] - y0) / ((y1 - y0) or 1)):.1f}"

    drawn = "".join(
        f'<polyline class="series-{i % len(MARKS)}" points="{" ".join(map(place, line))}"/>'
        for i, line in enumerate(lines.values())
    )
    ticks = (
        f'<text class="tick" x="52" y="14" text-anchor="end">{y1:.3g}</text>'
        f'<text class="tick" x="52" y="{high + 12}" text-anchor="end">{y0:.3g}</text>'
        f'<text class="tick" x="56" y="{high + 28}">step {x0:g}</text>'
        f'<text class="tick" x="{wide + 56}" y="{high + 28}" text-anchor="end">{x1:g}</text>'
    )
    words = "; ".join(f"{name} from {line[0][1]:.3g} to {line[-1][1]:.3g}" for name, line in lines.items())
    legend = "".join(f'<span class="series-{i % len(MARKS)}"><b>—</b>{escape(n)}</span>' for i, n in enumerate(lines))
    return (
        f'<figure class="panel curve"><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 366 {high + 34}" '
        f'role="img" aria-label="{escape(f"{title}. {words}")}">{ticks}{drawn}</svg>'
        f'<div class="legend">{legend}</div></figure>'
    )
