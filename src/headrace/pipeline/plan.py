"""A pipeline's steps, compiled: created, bound to the schema of a sample, and run one after the other.

Errors name file and line of the step. The schema that steps are bound to is that of the sample and the
fields the index declares together; a frame that lacks one of its columns has it as null while the steps run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from headrace.core.clock import Clock
from headrace.core.dependency import Dependencies
from headrace.core.errors import ConfigError, Fatal
from headrace.core.registry import kind
from headrace.fields import Field
from headrace.model import RECORD, RawBatch, Rejection
from headrace.settings import PipelineConfig, Settings, StepConfig
from headrace.transform.base import Outcome, Transform, TransformContext


@dataclass(frozen=True, slots=True)
class Step:
    """A bound transform and what becomes of the records it rejects."""

    config: StepConfig
    transform: Transform

    def run(self, frame: pl.DataFrame) -> Outcome:
        """Raises Fatal for a rejection where the step says `on_reject: fail`."""
        outcome = self.transform.apply(frame)
        if not outcome.rejections or self.config.on_reject == "dead_letter":
            return outcome
        if self.config.on_reject == "drop":
            return Outcome(outcome.frame, (), outcome.dropped + len(outcome.rejections))
        first = outcome.rejections[0]
        raise Fatal(
            f"step {self.config.name!r} rejected record {first.record} ({first.reason}: {first.detail}) "
            "and says on_reject: fail; correct the record or the step, then start again"
        )


class Plan:
    """The bound steps of one pipeline; `schema` is what comes out of the last."""

    def __init__(self, steps: Sequence[Step], bound: pl.Schema, schema: pl.Schema) -> None:
        self.steps = tuple(steps)
        self.bound = bound
        self.schema = schema

    @property
    def worst_case_bytes(self) -> int:
        """What the steps keep in memory beside the batches: lookup tables."""
        return sum(int(getattr(step.transform, "worst_case_bytes", 0)) for step in self.steps)

    def run(self, frame: pl.DataFrame) -> Outcome:
        """All steps over one frame; every row is in exactly one of frame, rejections, dropped."""
        missing = [name for name in self.bound if name not in frame.columns]
        frame = frame.with_columns(pl.lit(None, self.bound[name]).alias(name) for name in missing)
        rejections: list[Rejection] = []
        dropped = 0
        for step in self.steps:
            outcome = step.run(frame)
            frame = outcome.frame
            rejections.extend(outcome.rejections)
            dropped += outcome.dropped
        return Outcome(_without_unset(frame, missing), rejections, dropped)

    def close(self) -> None:
        for step in self.steps:
            step.transform.close()


def _without_unset(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The frame without the columns that only the steps were to see: a document keeps the fields it had."""
    unset = [name for name in names if name in frame.columns and frame[name].null_count() == frame.height]
    return frame.drop(unset)


def compile_steps(
    config: PipelineConfig,
    settings: Settings,
    sample: RawBatch | None,
    *,
    fields: Mapping[str, Field],
    clock: Clock,
    dynamic: str = "true",
    dependencies: Dependencies | None = None,
) -> Plan:
    """Create and bind a pipeline's steps. Raises ConfigError with file, line and path."""
    bound = merged_schema(sample_schemas(sample), fields)
    schema = bound
    steps: list[Step] = []
    for position, step in enumerate(config.steps):
        context = TransformContext(
            step.name, settings.base, clock, fields, dynamic, config.name, dependencies
        )
        with _blamed(settings, ("pipelines", config.name, "transform", position, step.kind)):
            transform: Transform = kind("transform", step.kind).create(step.options, context)
            steps.append(Step(step, transform))
            schema = transform.bind(schema)
    return Plan(steps, bound, schema)


def sample_schemas(sample: RawBatch | None) -> list[pl.Schema]:
    """The schemas of the sample's frames: more than one where records disagree."""
    if sample is None:
        return []
    return [frame.schema for frame in sample.decoder.decode(sample).frames]


def merged_schema(schemas: Sequence[pl.Schema], fields: Mapping[str, Field]) -> pl.Schema:
    """The columns a step may name: the sample's, then the declared ones that it lacks.

    Where frames disagree on a type the declared one wins if a frame has it, else the first that is no null.
    """
    merged: dict[str, pl.DataType] = {RECORD: pl.Int64()}
    for name in dict.fromkeys(name for schema in schemas for name in schema):
        found = [schema[name] for schema in schemas if name in schema]
        typed = [dtype for dtype in found if dtype != pl.Null]
        declared = fields[name].dtype if name in fields else None
        merged[name] = (
            declared if declared is not None and (declared in typed or not typed) else (typed or found)[0]
        )
    for name, field in fields.items():
        if "." not in name:
            merged.setdefault(name, field.dtype or pl.Null())
    return pl.Schema(merged)


@contextmanager
def _blamed(settings: Settings, path: tuple[str | int, ...]) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise settings.origin.blame(error.inside(*path)) from None
