"""Plots as plain SVG, drawn here: bars with their spread, and lines. They read on light and on dark pages.

Coordinates are rounded, and nothing in a file but its data changes from run to run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 720
LEFT: Final = 250
RIGHT: Final = 90
TOP: Final = 46
ROW: Final = 26
HEIGHT: Final = 320
LABEL: Final = 50
"""About what a value takes beside its bar."""

AXIS: Final = 64
"""Left margin of a line plot: room for its numbers."""

LEAST: Final = 1e-6
DECADES: Final = 1e6
"""A logarithmic axis shows no less than the one, and no smaller part of its largest value than the other."""

COLOURS: Final = ("#2f6f9f", "#c8553d", "#5b8c5a", "#8a6bb1", "#b58a2a", "#5f6b73")
"""Told apart without colour too: every line and every bar carries its name."""

STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#333}"
    ".t{font-weight:600;font-size:14px}.s{font-size:11px;fill:#666}"
    ".g{stroke:#8884;stroke-width:1}.m{stroke:#333;stroke-width:1.5}.d{stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#aaa}.m{stroke:#ddd}}"
)


@dataclass(frozen=True)
class Bar:
    """A value, how far it spread, and what it was to reach."""

    name: str
    value: float
    low: float
    high: float
    mark: float | None = None
    colour: int = 0


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]


def bars(title: str, drawn: Sequence[Bar], *, told: Callable[[float], str]) -> str:
    """Horizontal bars from zero; a thin line is the spread, an upright one the bar to reach."""
    longest = max((max(bar.high, bar.mark or 0.0) for bar in drawn), default=1.0) or 1.0
    height = TOP + ROW * len(drawn) + 12

    def across(value: float) -> float:
        return LEFT + value / longest * (WIDTH - LEFT - RIGHT)

    parts = []
    for place, bar in enumerate(drawn):
        middle = TOP + ROW * place + ROW / 2
        parts += [
            _text(LEFT - 8, middle + 4, bar.name, anchor="end"),
            _box(LEFT, middle - 8, across(bar.value) - LEFT, 16, COLOURS[bar.colour % len(COLOURS)]),
        ]
        if bar.high > bar.low:
            parts.append(_stroke(across(bar.low), middle, across(bar.high), middle, "m"))
        if bar.mark is not None:
            parts.append(_stroke(across(bar.mark), middle - 11, across(bar.mark), middle + 11, "m"))
        end = across(max(bar.value, bar.high))
        if bar.mark is not None and end - 4 < across(bar.mark) < end + LABEL:
            end = across(bar.mark)  # the value would lie upon it
        parts.append(_text(end + 6, middle + 4, told(bar.value), kind="s"))
    return _page(title, height, parts)


def lines(
    title: str,
    drawn: Sequence[Line],
    *,
    across: str,
    told: Callable[[float], str],
    told_across: Callable[[float], str],
    limit: float | None = None,
    logarithmic: bool = False,
) -> str:
    """Lines over an axis that is named `across`; `limit` is drawn as a dashed one."""
    points = [point for line in drawn for point in line.points]
    if not points:
        return _page(title, TOP, [])
    lowest_x, highest_x = min(x for x, _ in points), max(x for x, _ in points)
    values = [y for _, y in points] + ([limit] if limit is not None else [])
    scale = Axis.over(values, logarithmic=logarithmic)

    def right(x: float) -> float:
        span = (highest_x - lowest_x) or 1.0
        return AXIS + (x - lowest_x) / span * (WIDTH - AXIS - RIGHT - 30)

    def down(y: float) -> float:
        return HEIGHT - 44 - scale.place(y) * (HEIGHT - 44 - TOP)

    parts = []
    for tick in scale.ticks:
        parts += [
            _stroke(AXIS, down(tick), WIDTH - RIGHT - 30, down(tick), "g"),
            _text(AXIS - 6, down(tick) + 4, told(tick), anchor="end", kind="s"),
        ]
    for x in _few(sorted({x for x, _ in points})):
        parts.append(_text(right(x), HEIGHT - 26, told_across(x), anchor="middle", kind="s"))
    parts.append(_text((AXIS + WIDTH - RIGHT) / 2, HEIGHT - 8, across, anchor="middle", kind="s"))
    if limit is not None:
        parts.append(_stroke(AXIS, down(limit), WIDTH - RIGHT - 30, down(limit), "m d"))
    names = _apart([down(line.points[-1][1]) for line in drawn if line.points])
    for place, line in enumerate(each for each in drawn if each.points):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{_n(right(x))},{_n(down(y))}" for x, y in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(line.points) < 20:
            parts += [
                f'<circle cx="{_n(right(x))}" cy="{_n(down(y))}" r="3" fill="{colour}"/>'
                for x, y in line.points
            ]
        parts.append(_text(right(line.points[-1][0]) + 8, names[place] + 4, line.name, kind="s"))
    return _page(title, HEIGHT, parts)


@dataclass(frozen=True)
class Axis:
    """From its first tick to its last; `place` is 0 at the one and 1 at the other."""

    ticks: Sequence[float]
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], *, logarithmic: bool) -> Axis:
        if logarithmic:
            top = max(*values, LEAST)
            bottom = min(value for value in (*values, top) if value >= top / DECADES)
            low, high = math.floor(math.log10(bottom)), math.ceil(math.log10(top))
            return cls([10.0**power for power in range(low, max(high, low + 1) + 1)], logarithmic=True)
        step = nice(max(values) / 4)
        count = max(1, math.ceil(max(values) / step - 1e-9))
        return cls([step * place for place in range(count + 1)], logarithmic=False)

    def place(self, value: float) -> float:
        first, last = self.ticks[0], self.ticks[-1]
        if not self.logarithmic:
            return (value - first) / (last - first)
        least = max(value, first)
        return (math.log10(least) - math.log10(first)) / (math.log10(last) - math.log10(first))


def nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten: what people count in."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _few(values: Sequence[float], most: int = 6) -> list[float]:
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def _apart(wanted: Sequence[float], least: float = 14.0) -> list[float]:
    """Places near the wanted ones, from top to bottom, so that names do not lie upon each other."""
    found = list(wanted)
    order = sorted(range(len(found)), key=found.__getitem__)
    for above, below in itertools.pairwise(order):
        found[below] = max(found[below], found[above] + least)
    return found


def _page(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return "\n".join([head, _text(8, 22, title, kind="t"), *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{_n(width)}" height="{_n(height)}"'
    return f'<rect x="{_n(x)}" y="{_n(y)}" {size} fill="{colour}"/>'


def _stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{kind}"/>'


def _n(value: float) -> str:
    return format(round(value, 1), "g")
