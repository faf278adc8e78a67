"""The contract of a transform: a plain synchronous function of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from headrace.core.clock import Clock
from headrace.fields import Field
from headrace.model import Rejection

if TYPE_CHECKING:  # breakers and retries are not worth their start-up time where nothing is called
    from headrace.core.dependency import Dependencies, Dependency, Limits
    from headrace.core.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class TransformContext:
    """What a transform is told: its step's name, the pipeline's index fields, where relative paths start.

    What it calls outside this process it calls through `dependency`.
    """

    step: str
    base: Path
    clock: Clock
    fields: Mapping[str, Field] = field(default_factory=dict)
    dynamic: str = "true"
    pipeline: str = ""
    dependencies: Dependencies | None = None

    def dependency(
        self, noun: str, *, policy: RetryPolicy | None = None, limits: Limits | None = None
    ) -> Dependency:
        """The peer of this step, `lookup:PIPELINE.STEP`, the same one however often the step is made."""
        from headrace.core.dependency import BOUNDED, Dependencies

        known = self.dependencies or Dependencies(self.clock)
        name = ".".join(part for part in (self.pipeline, self.step) if part)
        return known.get(f"{noun}:{name}", policy=policy or BOUNDED, limits=limits, pipeline=self.pipeline)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a frame: kept rows, rejected records, and how many were left out on purpose."""

    frame: pl.DataFrame
    rejections: Sequence[Rejection] = ()
    dropped: int = 0


class Transform(Protocol):
    """Kept rows and rejections; every input row is in exactly one of frame, rejections, dropped.

    Row-wise: the result for a record never depends on its neighbours, so any split of the input gives
    the same output. Keeps the hidden column `headrace.model.RECORD`. No I/O but lookups; one that waits for
    others (an attribute `waits`, true) gets a thread beside those that all pipelines share.
    """

    def bind(self, schema: pl.Schema) -> pl.Schema:
        """Compile against the incoming schema and say what comes out.

        Called once before the first `apply`, with the schema of a sample merged with the declared
        fields; raises ConfigError with the nearest name for a field that is in neither. Frames given to
        `apply` have at least the columns that were in the bound schema (missing ones are filled with
        null), but a column may have another type where records disagree.
        """
        ...

    def apply(self, frame: pl.DataFrame) -> Outcome: ...

    def close(self) -> None: ...
