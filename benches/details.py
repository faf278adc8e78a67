"""The sections with all quantiles: pushes by rate, searches by kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benches.report import Run
from benches.table import Table

CUTS = ("p50", "p99", "p99.9", "max")

PUSHED = """\
## Pushes by rate

From when a request was due to its answer (durable), and to being found by a search, in milliseconds. The last
columns are CPU microseconds a record.

{table}
"""
SEARCHED = """\
## Searches by kind

Over HTTP, {count:,} documents, in milliseconds: at rest, and while 25,000 records a second arrive. Of the
records that arrived in that same run, answers took {ack:.1f} ms and being found {found:.1f} ms (p99).

{table}
"""


def details(run: Run) -> str:
    table = Table(run.measured)
    return "\n".join([*_pushed(table), *_searched(table)])


def _pushed(table: Table) -> Iterator[str]:
    for one in table.good("latencies"):
        heads = ["offered", *(f"answer {cut}" for cut in CUTS), *(f"found {cut}" for cut in CUTS)]
        lines = [
            [
                f"{int(rate):,}/s",
                *(f"{taken['ack_ms'][cut]:.1f}" for cut in CUTS),
                *(f"{taken['searchable_ms'][cut]:.1f}" for cut in CUTS),
                *(f"{taken['cpu_us'][who]:.1f}" for who in ("server", "ingester")),
            ]
            for rate, taken in one["rates"].items()
        ]
        yield PUSHED.format(table=_table([*heads, "server", "ingester"], lines))


def _searched(table: Table) -> Iterator[str]:
    for one in table.good("service"):
        heads = ["", *(f"rest {cut}" for cut in CUTS), *(f"busy {cut}" for cut in CUTS), "searches"]
        lines = [
            [
                kind,
                *(f"{one[where][kind][cut]:.1f}" for where in ("search_ms", "busy_ms") for cut in CUTS),
                f"{seen['searches']} + {one['busy_ms'][kind]['searches']}",
            ]
            for kind, seen in one["search_ms"].items()
        ]
        pushed = one["pushed"]
        yield SEARCHED.format(
            count=one["expected"],
            ack=pushed["ack_ms"]["p99"],
            found=pushed["searchable_ms"]["p99"],
            table=_table(heads, lines),
        )


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))
