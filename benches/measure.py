"""One measurement in this process: `python -m benches.measure NAME --records N --work DIR` prints one
JSON line.

`--work` holds what `records` prepared, and the folders of the measurements themselves.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches import measure_bare, measure_pipeline, measure_service, records

SEARCHES: Final = ((400, 500_000), (100, 100_000), (20, 0))
"""Requests per kind of search, and the records from which on so many are made."""


@dataclass(frozen=True)
class Inputs:
    """Everything prepared before a clock starts."""

    work: Path
    records: int

    @property
    def source(self) -> Path:
        return self.work / f"records-{self.records}.ndjson"

    @property
    def changed(self) -> Path:
        """The same ids with other values."""
        return self.work / f"changed-{self.records}.ndjson"

    @property
    def documents(self) -> Path:
        return self.work / f"documents-{self.records}.jsonl"

    def prepare(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        records.write_input(self.source, self.records)
        records.write_input(self.changed, self.records, version=1)
        records.write_documents(self.documents, self.records)

    def fresh(self, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def bare(inputs: Inputs) -> dict[str, Any]:
    return measure_bare.measure(inputs.fresh("bare"), inputs.documents, records=inputs.records)


def append(inputs: Inputs) -> dict[str, Any]:
    return measure_pipeline.measure(inputs.fresh("append"), inputs.source, records=inputs.records)


def upsert(inputs: Inputs) -> dict[str, Any]:
    return measure_pipeline.measure(
        inputs.fresh("upsert"), inputs.source, records=inputs.records, declared_id=True
    )


def overwrite(inputs: Inputs) -> dict[str, Any]:
    """Every document that `upsert` has just left is replaced."""
    return measure_pipeline.measure(
        inputs.work / "upsert", inputs.changed, records=inputs.records, declared_id=True
    )


def null(inputs: Inputs) -> dict[str, Any]:
    return measure_pipeline.measure(inputs.fresh("null"), inputs.source, records=inputs.records, null=True)


def service(inputs: Inputs) -> dict[str, Any]:
    searches = next(count for count, least in SEARCHES if inputs.records >= least)
    return measure_service.measure(
        inputs.fresh("service"), inputs.source, records=inputs.records, searches=searches
    )


MEASUREMENTS: Final[dict[str, Callable[[Inputs], dict[str, Any]]]] = {
    found.__name__: found for found in (bare, append, upsert, overwrite, null, service)
}
"""In the order of a round: each in the neighbourhood of its baseline, `overwrite` after `upsert`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    print(json.dumps(MEASUREMENTS[given.name](Inputs(given.work, given.records))))


if __name__ == "__main__":
    main()
