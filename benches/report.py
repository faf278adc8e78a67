"""What came out: a table for the terminal, a page for the documentation. Ratios come first.

Bars are shown and never asserted: a slow machine is no fault of the program.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

Taken = Mapping[str, Any]

MISSING: Final = "-"


@dataclass(frozen=True)
class Run:
    """Everything one run of the suite found."""

    command: str
    taken_at: str
    machine: dict[str, str]
    records: int
    record_bytes: float
    rounds: int
    measured: dict[str, list[dict[str, Any]]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One line of the table: values of all rounds, ready to be told."""

    what: str
    ratios: Sequence[float]
    values: Sequence[float]
    unit: str
    cpu: Sequence[float] = ()
    bar: str = ""


RATES: Final = {
    "bare": ("bare Tantivy, ready lines", ""),
    "append": ("files → validate → set → tantivy, append", "≥ 90,000/s, ≥ 0.7"),
    "upsert": ("the same with a declared id, all new", ""),
    "overwrite": ("the same, every document replaced", ""),
    "null": ("the same into nothing: parse and transform", ""),
}

SERVICE: Final[tuple[tuple[str, Callable[[Taken], float], str, str], ...]] = (
    ("start → ready, empty data_dir", lambda taken: taken["ready_empty_s"], "s", "< 1 s"),
    ("start → ready, all documents there", lambda taken: taken["ready_full_s"], "s", "< 1 s"),
    ("headrace --help", lambda taken: taken["help_s"], "s", "< 0.25 s"),
    ("peak memory while indexing, all processes", lambda taken: taken["peak_mb"], "MB", "< 1,000 MB"),
)


def rows(run: Run) -> list[Row]:
    found = [_rate(run, name) for name in RATES if name in run.measured]
    appended = [taken["process_seconds"] for taken in run.measured.get("append", [])]
    if appended:
        found.append(Row("append, its whole process from start to exit", (), appended, "s"))
    service = run.measured.get("service", [])
    if service:
        found += [
            Row(what, (), [pick(t) for t in service], unit, (), bar) for what, pick, unit, bar in SERVICE
        ]
        for kind in service[0]["search_ms"]:
            for cut in ("p50", "p99"):
                values = [taken["search_ms"][kind][cut] for taken in service]
                found.append(Row(f"search over HTTP, {kind}, {cut}", (), values, "ms"))
    return found


def _rate(run: Run, name: str) -> Row:
    taken, (what, bar) = run.measured[name], RATES[name]
    bare = run.measured.get("bare", [])
    ratios = [one["rate"] / base["rate"] for one, base in zip(taken, bare, strict=bool(bare))]
    return Row(what, ratios, [one["rate"] for one in taken], "/s", [one["cpu_us"] for one in taken], bar)


def told(row: Row) -> tuple[str, str, str, str, str, str]:
    """Ratio, its spread, value, its spread, CPU, bar."""
    return (
        _median(row.ratios, ".2f"),
        _spread(row.ratios, ".2f"),
        f"{_median(row.values, _digits(row))}{'' if row.unit == '/s' else ' '}{row.unit}",
        _spread(row.values, _digits(row)),
        f"{_median(row.cpu, '.1f')} µs" if row.cpu else "",
        row.bar,
    )


def _digits(row: Row) -> str:
    return {"/s": ",.0f", "MB": ",.0f", "s": ".2f", "ms": ".1f"}[row.unit]


def _median(values: Sequence[float], digits: str) -> str:
    return format(statistics.median(values), digits) if values else MISSING


def _spread(values: Sequence[float], digits: str) -> str:
    return f"{min(values):{digits}} to {max(values):{digits}}" if len(values) > 1 else ""


HEADS: Final = ("ratio to bare", "its spread", "median", "its spread", "CPU per record", "bar", "what")


def _cells(run: Run) -> list[tuple[str, ...]]:
    return [(*told(row), row.what) for row in rows(run)]


def table(run: Run) -> str:
    """For a terminal."""
    lines = [HEADS, *_cells(run)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    text = [
        "  ".join(
            cell.ljust(width) if column == len(HEADS) - 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", _circumstances(run)])


def _circumstances(run: Run) -> str:
    loads = [one["load_before"] for taken in run.measured.values() for one in taken]
    cores = int(run.machine["cores"])
    others = (
        f"Load before a measurement was up to {max(loads):.1f} on {cores} cores"
        + (
            ": others were at work, so a ratio says little and a rate nothing; run it alone."
            if max(loads) > cores + 1
            else "."
        )
        if loads
        else ""
    )
    return (
        f"{run.records:,} records of {run.record_bytes:.0f} bytes, {run.rounds} rounds, median over rounds; "
        f"a ratio compares neighbours in time. {others}"
    )


PAGE: Final = """\
# Performance

Measured with `{command}` on {taken_at}; this page is what that command wrote. Run it on your machine:
`make bench` takes about four minutes, `make bench-quick` one.

{circumstances}

{table}

**Bare** is the engine alone: ready JSON lines from memory into an index of exactly the same schema, hidden
fields (`_id`, `_seq`, `_source`) included, with the product's threads, heap and commit interval. Everything
a pipeline does beyond that is in the ratio: reading the file, checking and parsing each line, the steps,
rendering the documents, positions, and the commits.

**CPU per record** is that of the whole process, all threads. Search is one request after the other on one
kept connection, after indexing. Memory is the proportional set size (PSS) of all processes, ten times a
second from ready to all documents found.

## The machine

{machine}
"""


def page(run: Run) -> str:
    """For the documentation."""
    cells = _cells(run)
    heads = (HEADS[-1], *HEADS[:-1])
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    lines += [_line([cell[-1], *cell[:-1]]) for cell in cells]
    machine = [_line(["", ""]), _line(["---", "---"]), *(_line(pair) for pair in run.machine.items())]
    return PAGE.format(
        command=run.command,
        taken_at=run.taken_at[:10],
        circumstances=_circumstances(run),
        table="\n".join(lines),
        machine="\n".join(machine),
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
