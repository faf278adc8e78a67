"""The section on what one would pick instead: the same records and questions, in the same run."""

from __future__ import annotations

from benches.instead import KINDS
from benches.report import Run
from benches.table import Table

HEADS = (
    "",
    "records/s",
    "fresh p50",
    "fresh p99",
    "term p99",
    "phrase p99",
    "filter, sort p99",
    "aggregation p99",
    "bytes per byte",
    "the same answers",
)
QUESTIONS = ("term", "phrase", "filter", "terms")

TEXT = """\
## What one would pick instead

{count:,} of the same records, the same questions, in the same run. The others run inside the asking process,
as their manuals have it; Headrace is asked over HTTP and its service makes every write durable first, so
its latencies hold what a service costs. **Fresh** is from adding 500 records to finding the last of them,
durable; **bytes per byte** is the folder, as each leaves it, by what was read.

{table}
{missing}"""


def beside_section(run: Run) -> str:
    """Empty where none of them was measured."""
    table = Table(run.measured)
    found = [one for kind in KINDS for one in table.good(f"beside-{kind}")]
    if not found:
        return ""
    first = found[0]["answers"]
    lines = ["| " + " | ".join(HEADS) + " |", "| --- |" + " ---: |" * (len(HEADS) - 1)]
    for one in found:
        cells = [
            one["told"],
            f"{one['rate']:,.0f}",
            *(f"{one['fresh_ms'][cut]:.1f} ms" for cut in ("p50", "p99")),
            *(f"{one['search_ms'][kind]['p99']:.2f} ms" for kind in QUESTIONS),
            f"{one['disk_bytes'] / one['input_bytes']:.2f}",
            "yes" if one["answers"] == first else f"**no**: {_differing(one['answers'], first)}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return TEXT.format(count=found[0]["records"], table="\n".join(lines), missing=_missing(run))


def _differing(answers: dict[str, int], first: dict[str, int]) -> str:
    return ", ".join(
        f"{kind} {answers[kind]} for {first[kind]}" for kind in first if answers[kind] != first[kind]
    )


def _missing(run: Run) -> str:
    lines = [
        f"\nNot measured: {kind}, {one.get('skipped') or one.get('failed')}."
        for kind in KINDS
        for one in run.measured.get(f"beside-{kind}", [])
        if "skipped" in one or "failed" in one
    ]
    return "\n".join(lines)
