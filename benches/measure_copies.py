"""Bytes written per byte read, step by step on the way to the engine: `python -m benches.measure_copies`.

Counted, not timed: the sizes of what each step's own function gave for one batch, where that is new memory.
What only looks at its input writes nothing (texts cut out of others, too). What the engine does is its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from benches.records import INDEX, encode, records, write_config
from headrace.fields import cast
from headrace.index.tantivy import store
from headrace.index.tantivy.lines import ENCODED, derived_id, line, sequence
from headrace.index.tantivy.rendered import render
from headrace.index.tantivy.rows import BODY, RowFormat
from headrace.index.tantivy.schema import SOURCE
from headrace.ingest.formats.ndjson import NdjsonDecoder
from headrace.ingest.formats.split import LineSplitter
from headrace.model import Decoded, Position, RawBatch
from headrace.settings import load

COUNT: Final = 10_000


def count(*, steps: bool, spaced: bool) -> dict[str, Any]:
    """Bytes per byte of input; `steps`: dates are cast and a field is added; `spaced`: `", "` and `": "`."""
    lines = (json.dumps(each) if spaced else encode(each) for each in islice(records(COUNT), COUNT))
    read = "".join(f"{text}\n" for text in lines).encode()
    taken = LineSplitter().take(read + b"{", final=False, limit=len(read))
    decoder = NdjsonDecoder({})
    raw = RawBatch("p", 0, Position(COUNT), taken.payload, decoder, len(read), "copies", 0.0)
    decoder.decode(raw)
    decoded = decoder.decode(raw)
    frame = decoded.frames[0]
    form = _format()
    changed = _transformed(frame, form) if steps else frame
    written = {
        "read from the file": len(read),
        "pieces joined": len(read),
        "cut off at the last whole record": len(taken.payload),
        "lines, to be compared": len(read),
        "columns": frame.estimated_size(),
        "written again, to be compared": 0 if spaced else len(read),
        "transforms": sum(changed[name].estimated_size() for name in _new(frame, changed)),
        **_rendered(form, changed, decoded),
    }
    found = {name: round(size / len(read), 2) for name, size in written.items()}
    return {"steps": found, "total": round(sum(written.values()) / len(read), 2)}


def _rendered(form: RowFormat, frame: pl.DataFrame, decoded: Decoded) -> dict[str, int]:
    rows = render(form, (frame,), decoded=decoded).rows.with_columns(sequence(0, numbered=False))
    rows = rows.with_columns(derived_id(("copies", "p")))
    lines = rows.select(line(rows, declared=False)).to_series()
    return {
        "`_source`": _size(rows[SOURCE]),
        "another text for the engine": _size(rows[BODY]),
        "`_source` in base64": _size(rows[ENCODED]),
        "the engine's lines": _size(lines),
        "as Python's strings": _size(lines),
    }


def _size(texts: pl.Series) -> int:
    return int(texts.str.len_bytes().sum())


def _transformed(frame: pl.DataFrame, form: RowFormat) -> pl.DataFrame:
    dated = cast("ts", frame.schema["ts"], form.schema.fields["ts"], coerce=False)
    return frame.with_columns(dated, slow=pl.col("dur") > 250)


def _new(before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    return [name for name in after.columns if name not in before or after[name].dtype != before[name].dtype]


def _format() -> RowFormat:
    with tempfile.TemporaryDirectory() as folder:
        options = load(write_config(Path(folder), Path(folder) / "unused")).indexes[INDEX].options
    declared = options.declared()
    stored = store.describe(INDEX, declared, options.key, options.dynamic_name, options.field_limit)
    return RowFormat(stored.schema, stored.id, stored.dynamic)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = {
        f"{'validate, set' if steps else 'no step'}; {'spaced' if spaced else 'compact'} JSON": count(
            steps=steps, spaced=spaced
        )
        for steps in (False, True)
        for spaced in (False, True)
    }
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
