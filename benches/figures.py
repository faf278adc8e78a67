"""The plots of a run, each from the rows it belongs to; where nothing was measured there is no plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benches.plot import Bar, Line, bars, lines
from benches.report import Run
from benches.table import Table

RATES = {
    "bare": ("bare engine", None),
    "append": ("append (P1)", 100_000.0),
    "upsert": ("declared id, new (P2)", 90_000.0),
    "overwrite": ("declared id, overwritten (P2)", 60_000.0),
    "null": ("parse and steps only (P10)", 300_000.0),
}
CUTS = ("p50", "p99", "p99.9")

Drawn = tuple[str, tuple[str, str]]


def figures(run: Run) -> dict[str, tuple[str, str]]:
    """Name → caption and SVG."""
    table = Table(run.measured)
    return dict(
        [*_rates(table), *_latency(table), *_held(table), *_search(table), *_growth(table), *_beside(table)]
    )


def _rates(table: Table) -> Iterator[Drawn]:
    drawn = []
    for place, (name, (told, mark)) in enumerate(RATES.items()):
        values = [one["rate"] for one in table.good(name)]
        if values:
            colour = 5 if name == "bare" else 0
            drawn.append(
                Bar(told, statistics.median(values), min(values), max(values), mark, colour if place else 5)
            )
    if drawn:
        caption = "Records a second: median of the rounds, their spread, and the bar"
        yield "rates", (caption, bars(caption, drawn, told=_thousands))


def _latency(table: Table) -> Iterator[Drawn]:
    for one in table.good("latencies"):
        rates = one["rates"]
        seen = [
            Line(cut, [(float(rate), taken["searchable_ms"][cut]) for rate, taken in rates.items()])
            for cut in CUTS
        ]
        caption = "From due to durable and searchable, in milliseconds; dashed: 100 ms"
        yield (
            "latency",
            (
                caption,
                lines(
                    caption,
                    seen,
                    across="records a second, open loop",
                    told=lambda value: f"{value:g}",
                    told_across=_thousands,
                    limit=100.0,
                    logarithmic=True,
                ),
            ),
        )


def _held(table: Table) -> Iterator[Drawn]:
    for one in table.good("held"):
        caption = (
            f"Memory while {one['expected']:,} records wait for an index that stands still, then drain (MB)"
        )
        yield (
            "memory",
            (
                caption,
                lines(
                    caption,
                    [Line("all processes", [(x, y) for x, y in one["samples"]])],
                    across="seconds since the start",
                    told=lambda value: f"{value:,.0f}",
                    told_across=lambda value: f"{value:.0f}",
                    limit=1000.0,
                ),
            ),
        )


def _search(table: Table) -> Iterator[Drawn]:
    for one in table.good("service"):
        drawn = [
            Bar(f"{kind}, {told}", seen[kind]["p99"], seen[kind]["p50"], seen[kind]["p99"], None, colour)
            for kind in one["search_ms"]
            for told, seen, colour in (("at rest", one["search_ms"], 0), ("busy", one["busy_ms"], 1))
        ]
        caption = "Search over HTTP, p99 in ms (the line begins at p50): at rest, and while 25,000/s arrive"
        yield "search", (caption, bars(caption, drawn, told=lambda value: f"{value:.1f}"))


def _growth(table: Table) -> Iterator[Drawn]:
    for one in table.good("growth"):
        rates = Line("appended", [(step["size"], step["rate"]) for step in one["steps"]])
        caption = "Records a second appended, as the index grows"
        yield (
            "growth",
            (
                caption,
                lines(
                    caption, [rates], across="documents in the index", told=_thousands, told_across=_thousands
                ),
            ),
        )


def _beside(table: Table) -> Iterator[Drawn]:
    from benches.instead import KINDS

    found = [one for kind in KINDS for one in table.good(f"beside-{kind}")]
    if found:
        caption = "Records a second from a file, durable and searchable"
        drawn = [
            Bar(one["told"].split(",")[0], one["rate"], one["rate"], one["rate"], None, 0 if not place else 5)
            for place, one in enumerate(found)
        ]
        yield "beside", (caption, bars(caption, drawn, told=_thousands))


def _thousands(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value / 1000:.3g} k" if value >= 1000 else f"{value:.3g}"
