"""One measurement in this process: `python -m benches.measure NAME --work DIR` prints one JSON line.

`DIR` holds what was prepared (see `inputs`), the sizes, and the folders of the measurements themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches import (
    measure_bare,
    measure_beside,
    measure_growth,
    measure_held,
    measure_pipeline,
    measure_push,
    measure_real,
    measure_service,
)
from benches.inputs import Inputs
from benches.instead import KINDS
from benches.measure_real import Missing
from benches.scale import Scale

Taken = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """`take` runs in a process of its own; `seconds`: about how long it takes, input made and all."""

    take: Callable[[Inputs], Taken]
    seconds: Callable[[Scale], float]
    every_round: bool = False
    needs: str = ""
    """The measurement whose folder this one goes on with."""

    quick: bool = True
    """Whether a quick run takes it."""


def bare(inputs: Inputs) -> Taken:
    return measure_bare.measure(inputs.fresh("bare"), inputs.documents, records=inputs.scale.records)


def append(inputs: Inputs) -> Taken:
    return measure_pipeline.measure(inputs.fresh("append"), inputs.source, records=inputs.scale.records)


def upsert(inputs: Inputs) -> Taken:
    return measure_pipeline.measure(
        inputs.fresh("upsert"), inputs.source, records=inputs.scale.records, declared_id=True
    )


def overwrite(inputs: Inputs) -> Taken:
    """Every document that `upsert` has just left is replaced."""
    return measure_pipeline.measure(
        inputs.work / "upsert", inputs.changed, records=inputs.scale.records, declared_id=True
    )


def null(inputs: Inputs) -> Taken:
    return measure_pipeline.measure(
        inputs.fresh("null"), inputs.source, records=inputs.scale.records, null=True
    )


def sustained(inputs: Inputs) -> Taken:
    return measure_push.sustained(inputs.fresh("sustained"), inputs.scale)


def latencies(inputs: Inputs) -> Taken:
    return measure_push.latencies(inputs.fresh("latencies"), inputs.scale)


def held(inputs: Inputs) -> Taken:
    return measure_held.measure(inputs.fresh("held"), records=inputs.scale.held)


def service(inputs: Inputs) -> Taken:
    return measure_service.measure(inputs.fresh("service"), inputs.searched, inputs.scale)


def growth(inputs: Inputs) -> Taken:
    return measure_growth.measure(inputs.fresh("growth"), inputs.whole, inputs.scale)


def flights(inputs: Inputs) -> Taken:
    return measure_real.flights(inputs.fresh("flights"))


def packages(inputs: Inputs) -> Taken:
    return measure_real.packages(inputs.fresh("packages"))


def copies(_: Inputs) -> Taken:
    from benches import measure_copies

    cases = {
        f"{'two steps' if steps else 'no step'}, {form} JSON": measure_copies.count(
            steps=steps, spaced=form == "spaced"
        )
        for steps in (False, True)
        for form in ("compact", "spaced")
    }
    return {"records": measure_copies.COUNT, "expected": measure_copies.COUNT, "cases": cases}


def _beside(kind: str) -> Measurement:
    return Measurement(
        lambda inputs: measure_beside.measure(
            kind, inputs.fresh(f"beside-{kind}"), inputs.beside, inputs.scale
        ),
        lambda scale: 5 + scale.beside / 12_000 + 4 * scale.kind_seconds,
        quick=kind in ("headrace", "tantivy", "sqlite"),
    )


def _reading(rate: float, **options: Any) -> Callable[[Callable[[Inputs], Taken]], Measurement]:
    return lambda take: Measurement(take, lambda scale: 2 + scale.records / rate, every_round=True, **options)


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "bare": _reading(90_000)(bare),
    "append": _reading(80_000)(append),
    "upsert": _reading(70_000)(upsert),
    "overwrite": _reading(60_000, needs="upsert")(overwrite),
    "null": _reading(250_000)(null),
    "sustained": Measurement(
        sustained,
        lambda scale: len(scale.steps).bit_length() * (scale.trial_seconds + 5) + scale.sustained_seconds + 6,
    ),
    "latencies": Measurement(latencies, lambda scale: len(scale.rates) * (scale.rate_seconds + 4)),
    "held": Measurement(held, lambda scale: 5 + scale.held / 30_000),
    "service": Measurement(
        service, lambda scale: 12 + scale.searched / 60_000 + scale.busy_seconds + 5 * scale.kind_seconds
    ),
    "growth": Measurement(
        growth,
        lambda scale: scale.growth[-1] / 60_000 + len(scale.growth) * (scale.rate_seconds / 2 + 8),
        quick=False,
    ),
    "copies": Measurement(copies, lambda _: 3),
    "flights": Measurement(flights, lambda _: 12),
    "packages": Measurement(packages, lambda _: 8, quick=False),
    **{f"beside-{kind}": _beside(kind) for kind in KINDS},
}
"""In the order of a run; those of every round each in the neighbourhood of its baseline."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    try:
        taken = MEASUREMENTS[given.name].take(Inputs(given.work))
    except Missing as error:
        taken = {"skipped": str(error)}
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
