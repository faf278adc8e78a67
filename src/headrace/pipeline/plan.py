"""A pipeline's steps, compiled: created, bound to the schema of a sample, and run one after the other.

Errors name file and line of the step. The schema that steps are bound to is that of the sample and the
fields the index declares together; a frame that lacks one of its columns has it as null while the steps run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from headrace.core.clock import Clock
from headrace.core.dependency import Dependencies
from headrace.core.errors import ConfigError, Fatal
from headrace.core.flags import Flags
from headrace.core.registry import kind
from headrace.fields import Field
from headrace.model import RECORD, RawBatch, Rejection
from headrace.pipeline.rollout import Gate, make_gate, together
from headrace.settings import PipelineConfig, Settings, StepConfig
from headrace.transform.base import Outcome, Transform, TransformContext

if TYPE_CHECKING:
    from headrace.core.flagd import Rule


@dataclass(frozen=True, slots=True)
class Step:
    """A bound transform, what becomes of the records it rejects, and which records it is for.

    after: the schema that comes out of it
    """

    config: StepConfig
    transform: Transform
    after: pl.Schema
    gate: Gate | None = None

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

    def run_where(self, rule: Rule, frame: pl.DataFrame) -> Passed:
        """Run on the records that the flag is on for; the others skip the step."""
        if self.gate is None:
            outcome = self.run(frame)
            return Passed((outcome.frame,), tuple(outcome.rejections), outcome.dropped)
        on, off = self.gate.split(rule, frame, self.after)
        if on is None:
            return Passed(tuple(together(on, off)), (), 0)
        outcome = self.run(on)
        return Passed(tuple(together(outcome.frame, off)), tuple(outcome.rejections), outcome.dropped)


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a batch's frames: kept rows, rejected records, and how many were left out on purpose."""

    frames: tuple[pl.DataFrame, ...]
    rejections: tuple[Rejection, ...]
    dropped: int


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

    @property
    def waits(self) -> bool:
        """Whether a step asks somebody else, and so may take long without any work of its own."""
        return any(getattr(step.transform, "waits", False) for step in self.steps)

    def run(self, frames: Sequence[pl.DataFrame]) -> Passed:
        """All steps over a batch; every row is in exactly one of frames, rejections, dropped.

        Flags are looked at once: the whole batch is decided by one state of them.
        """
        rules = self._rules()
        kept: list[pl.DataFrame] = []
        rejections: list[Rejection] = []
        dropped = 0
        for frame in frames:
            missing = [name for name in self.bound if name not in frame.columns]
            whole = frame.with_columns(pl.lit(None, self.bound[name]).alias(name) for name in missing)
            parts = [whole]
            for step in self.steps:
                outcomes = [step.run_where(rules.get(step.config.name, True), part) for part in parts]
                parts = [part for each in outcomes for part in each.frames]
                rejections.extend(rejection for each in outcomes for rejection in each.rejections)
                dropped += sum(each.dropped for each in outcomes)
            unset = [*missing, *(name for name in self._added if name not in frame.columns)]
            kept.extend(_without_unset(part, unset) for part in parts)
        return Passed(tuple(kept), tuple(rejections), dropped)

    def _rules(self) -> Mapping[str, Rule]:
        gates = [step.gate for step in self.steps if step.gate is not None]
        if not gates:
            return {}
        flagset = gates[0].flags.look()
        return {gate.use.step or "": gate.rule(flagset) for gate in gates}

    @property
    def _added(self) -> Iterator[str]:
        """Fields that a record has as null because it skipped the step that would have set them."""
        return (name for step in self.steps if step.gate is not None for name in step.after)

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
    flags: Flags | None = None,
    known: Sequence[pl.Schema] = (),
) -> Plan:
    """Create and bind a pipeline's steps. Raises ConfigError with file, line and path.

    known: schemas that count beside the sample's, and before it
    """
    bound = merged_schema([*known, *sample_schemas(sample)], fields)
    schema = bound
    steps: list[Step] = []
    for position, step in enumerate(config.steps):
        context = TransformContext(
            step.name, settings.base, clock, fields, dynamic, config.name, dependencies
        )
        with _blamed(settings, ("pipelines", config.name, "transform", position, step.kind)):
            transform: Transform = kind("transform", step.kind).create(step.options, context)
            before, schema = schema, transform.bind(schema)
        with _blamed(settings, ("pipelines", config.name, "transform", position, "when")):
            gate = make_gate(step, config, settings, flags, fields, before)
        steps.append(Step(step, transform, schema, gate))
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
