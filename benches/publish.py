"""The page of a run, `docs/performance.md`, and its plots: `python -m benches.publish RESULTS.json`.

Every sentence of it that is about a number is made from that number. Why a bar is missed, and what was tried,
is told in `bounds.toml` by whoever looked into it, and is shown only while the bar is missed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benches.beside import beside_section
from benches.details import details
from benches.figures import figures
from benches.report import HEADS, Run, cells, circumstances
from benches.table import Row, Table, number

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "performance.md"
PLOTS: Final = ROOT / "docs" / "performance"
BOUNDS: Final = ROOT / "benches" / "bounds.toml"

TEXT: Final = """\
# Performance

Measured with `{command}` on {date}, in {minutes:.0f} minutes; that
command wrote this page, its plots and its sentences. On your machine: `make bench`, about ten minutes, or
`make bench-quick`, about one.

{circumstances}

{verdicts}

{table}

**Ratio** is to the bare engine in the same round for the rates of reading, to the same search at rest for
searches while records arrive, and to the smallest index for growth. **Bare** is the engine alone: ready JSON
lines from memory into an index of exactly the same schema, hidden fields (`_id`, `_seq`, `_source`)
included, with the product's threads, heap and commit interval. Everything a pipeline does beyond that is in
the ratio: reading the file, checking and parsing each line, the steps, rendering the documents, positions,
commits.

## Where it falls short

{short}

{figures}

{details}

{beside}

## How it is measured

- Each measurement is a process of its own. Those of the first rows take turns with the bare engine, round by
  round.
- Pushes come from a client that is a process of its own, over 16 kept connections, 500 records a request,
  each due at its time whatever the answers do (*open loop*). A first second of the same is not timed. Every
  latency counts from when its request was due, so a service that stalls cannot hide it. **Searchable** is
  when a search that asks for at least this write (`after=` with its token) is answered.
- A rate is *held* when none of it was refused, 98 % of it arrived in its time, and search was at most one
  second behind at the end. Records that are pushed pass `validate` and one `set`.
- Searches go over HTTP, one after the other on one kept connection; one that finds nothing fails the run.
- Memory is the proportional set size (PSS) of all processes, what they share counted once, and what they
  keep on a tmpfs, ten times a second. The pushing client is not in it.
- While the index *stands still* the ingester is stopped by a signal (`SIGSTOP`), as if the engine hung.
- Bytes on disk are those of the index's whole folder, as the engine's own merges left it when it closed.
- Bytes *written per byte read* count what each step's own function makes anew, the engine's own work not.
- Starts are with files in the page cache. Every count is checked: a measurement that lost or doubled a
  record is a row that says so.

The records are log lines made from a seed; the flights are those of `make demo`; Debian's packages are the
lists of the machine's own package manager.

## The machine

{machine}
"""


def page(run: Run, bounds: Mapping[str, str]) -> str:
    """For the documentation."""
    rows = Table(run.measured).rows()
    heads = (HEADS[0], HEADS[-1], *HEADS[1:-1])
    table = [_line(heads), _line(["---", "---", *["---:"] * (len(heads) - 3), "---"])]
    table += [_line([told[0], told[-1], *told[1:-1]]) for told in map(cells, rows)]
    machine = [_line(["", ""]), _line(["---", "---"]), *(_line(pair) for pair in run.machine.items())]
    return TEXT.format(
        command=run.command,
        date=run.taken_at[:10],
        minutes=max(1.0, run.seconds / 60),
        circumstances=circumstances(run),
        verdicts=verdicts(rows),
        table="\n".join(table),
        short="\n".join(shortfalls(rows, bounds)),
        figures="\n\n".join(_shown(figures(run))),
        details=details(run),
        beside=beside_section(run),
        machine="\n".join(machine),
    )


def verdicts(rows: Sequence[Row]) -> str:
    """How many bars and goals there are, and how many of them are met."""
    judged = [row for row in rows if row.bar or row.goal or row.ratio_bar or row.ratio_goal]
    measured = [row for row in judged if row.values]
    below = [row for row in measured if any("bar" in text for text in row.short_of)]
    near = [row for row in measured if row.short_of and row not in below]
    parts = [
        f"{len(judged)} rows have a bar or a goal: {len(measured) - len(below) - len(near)} reach all of it"
    ]
    parts.append(f"{len(near)} the bar and not the goal" if near else "")
    parts.append(f"**{len(below)} fall short of the bar**" if below else "")
    parts.append(f"{len(judged) - len(measured)} were not measured" if len(judged) > len(measured) else "")
    return ", ".join(part for part in parts if part) + "."


def shortfalls(rows: Sequence[Row], bounds: Mapping[str, str]) -> Iterator[str]:
    """A line for each miss, and under it what bounds it, where somebody found out."""
    told: set[str] = set()
    for row in rows:
        missed = row.short_of
        if not missed and not (row.wanting and row.number):
            continue
        if row.values:
            bar, goal = row.limits
            wanted = ", ".join(
                part for part in (f"bar {bar}" if bar else "", f"goal {goal}" if goal else "") if part
            )
            value = number(row.median, row.unit)
            yield f"- **{row.number}**, {row.what}: {value} ({wanted}): {'; '.join(missed)}."
        else:
            yield f"- **{row.number}**, {row.what}: {row.wanting}."
        if missed and row.number in bounds and row.number not in told:
            told.add(row.number)
            yield f"\n  {' '.join(bounds[row.number].split())}\n"
    if not any(row.short_of or (row.wanting and row.number) for row in rows):
        yield "Nowhere: each bar and each goal was reached in this run."


def _shown(drawn: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    for name, (caption, _) in drawn.items():
        yield f"![{caption}](performance/{name}.svg)"


def _line(told: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', ' ') for cell in told)} |"


def publish(run: Run, page_path: Path = PAGE, plots: Path = PLOTS) -> None:
    """Write the page and its plots; those of an earlier run go."""
    shutil.rmtree(plots, ignore_errors=True)
    plots.mkdir(parents=True)
    for name, (_, drawing) in figures(run).items():
        (plots / f"{name}.svg").write_text(drawing, "utf-8")
    page_path.write_text(page(run, told_bounds()), "utf-8")
    print(f"published: {page_path}", file=sys.stderr)


def told_bounds(path: Path = BOUNDS) -> dict[str, str]:
    return {key: str(value) for key, value in tomllib.loads(path.read_text("utf-8")).items()}


def main() -> None:
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    publish(Run.from_json(found))


if __name__ == "__main__":
    main()
