"""Draw the flow chart and the table of capacities from the constants that the pipelines run with.

`python docs/flow.py` writes `docs/flow.txt`; a test fails when it is not what the constants say.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.pipeline import capacities as at

CHART = Path(__file__).parent / "flow.txt"


@dataclass(frozen=True)
class Capacity:
    """A constant (or several that share a reason) as written: names, values, why."""

    names: tuple[str, ...]
    values: tuple[int | float, ...]
    reason: str


def share(between: float) -> str:
    """Of the time, where commits are so many times their length apart."""
    return f"{100 / (1 + between):.0f} %"


def chart() -> str:
    """The way of a batch, with the capacity written on every edge."""
    steps = [
        ("source", "reads, decompresses, counts records"),
        ("  │", f"batches of about {size(at.BATCH_BYTES)}"),
        ("  ▼", ""),
        (
            "[ raw channel ]",
            f"one per pipeline: at most {at.RAW_CHANNEL_RECORDS:,} records and {size(at.RAW_CHANNEL_BYTES)}",
        ),
        ("  ▼", "no room: the source is not read"),
        ("decode, transform, prepare", f"one worker thread; {at.FRAME_FACTOR} bytes in memory per byte read"),
        ("  │   └────▶ dead letters", f"at most {at.DEAD_LETTER_LIMIT:,} per pipeline, then it pauses"),
        ("  ▼", ""),
        (
            "[ index channel ]",
            f"at most {at.INDEX_CHANNEL_RECORDS:,} records and {size(at.INDEX_CHANNEL_BYTES)}",
        ),
        ("  ▼", "no room: nothing is transformed"),
        ("index: write", "rows with their position; only the index's owner does"),
        ("  │", f"at most {at.COMMIT_RECORDS:,} rows until a commit"),
        (
            "  ▼",
            f"at most {share(at.COMMIT_SHARE)} of the time, {share(at.COMMIT_LATE_SHARE)} for late records",
        ),
        ("index: commit", "documents, positions and counts, atomically"),
        ("  └────────▶ source", "acknowledged: durable up to here, resume after it"),
    ]
    return "".join(f"{left:<28}{right}".rstrip() + "\n" for left, right in steps)


def table() -> str:
    """Every capacity with its reason, as a Markdown table."""
    rows = [
        f"| {'<br>'.join(f'`{name}`' for name in row.names)} "
        f"| {'<br>'.join(shown(*pair) for pair in zip(row.names, row.values, strict=True))} | {row.reason} |"
        for row in capacities()
    ]
    return "\n".join(["| Constant | Value | Why |", "|---|---|---|", *rows]) + "\n"


def capacities() -> Iterator[Capacity]:
    """The constants in the order of the module; the text below a group of them is its reason."""
    body = ast.parse(Path(at.__file__).read_text("utf-8")).body
    names: list[str] = []
    for statement in body[1:]:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
        elif names and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            reason = " ".join(str(statement.value.value).split())
            yield Capacity(tuple(names), tuple(getattr(at, name) for name in names), reason)
            names = []
    if names:
        raise ValueError(f"no reason is given for {', '.join(names)}")


def shown(name: str, value: float) -> str:
    return size(int(value)) if name.endswith("_BYTES") else f"{value:,}"


def size(count: int) -> str:
    return f"{count / (1 << 20):g} MiB"


if __name__ == "__main__":
    CHART.write_text(chart(), "utf-8")
