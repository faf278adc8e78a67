"""Which records a step sees under its flag: decided once per batch, split by the records' keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from headrace.core.clock import Clock
from headrace.core.errors import ConfigError
from headrace.core.flags import LOOK_SECONDS, Flags, Use, problem_of
from headrace.core.log import event
from headrace.core.registry import suggest
from headrace.fields import Field, cast, located
from headrace.model import RECORD
from headrace.settings import PipelineConfig, Settings, StepConfig
from headrace.settings.flagfile import read_flag_file

if TYPE_CHECKING:
    from headrace.core.flagd import Flagset, Rule

log = logging.getLogger(__name__)

SEPARATOR: Final = "|"
"""Between the values of a key of several fields, as in a document's `_id`."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The flag of one step, and the fields whose value it splits by."""

    flags: Flags
    use: Use
    key: tuple[str, ...]
    fields: Mapping[str, Field]

    def rule(self, flagset: Flagset) -> Rule:
        return self.flags.rule(self.use, flagset)

    def keys(self, frame: pl.DataFrame) -> pl.Series:
        """The key of each record as text, as it is in the document's `_id`; null where there is none."""
        parts = [_key_part(frame, name, self.fields) for name in self.key]
        if len(parts) == 1:
            return parts[0].alias("key")
        # Escaped, so that ("a|b", "c") and ("a", "b|c") stay two keys.
        columns = [
            part.str.replace_all("\\", "\\\\", literal=True)
            .str.replace_all(SEPARATOR, f"\\{SEPARATOR}", literal=True)
            .alias(str(at))
            for at, part in enumerate(parts)
        ]
        return pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator=SEPARATOR).alias("key"))["key"]

    def split(
        self, rule: Rule, frame: pl.DataFrame, after: pl.Schema
    ) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        """(records that the step sees, records that skip it); None for a half that has none.

        `after` is what the step gives: who skips it has its fields too, as null.
        """
        if rule is True:
            return frame, None
        if rule is False:
            return None, padded(frame, after)
        on = rule.on(self.keys(frame)) if self.key else None
        if on is None or on.all():
            return (frame, None) if on is not None or rule.otherwise() else (None, padded(frame, after))
        if not on.any():
            return None, padded(frame, after)
        return frame.filter(on), padded(frame.filter(~on), after)


@dataclass(frozen=True, slots=True)
class Switch:
    """The flag of a pipeline as a whole; `tell` is given the reason of a pause, and nothing after it."""

    flags: Flags
    use: Use
    clock: Clock
    tell: Callable[[str], None]

    async def wait_until_on(self) -> None:
        if self.flags.is_on(self.use):
            return
        self.tell(f"paused by flag {self.use.flag}")
        event(log.info, "pipeline.paused", pipeline=self.use.pipeline, reason="flag", flag=self.use.flag)
        while not self.flags.is_on(self.use):
            await self.clock.sleep(LOOK_SECONDS)
        self.tell("")
        event(log.info, "pipeline.resumed", pipeline=self.use.pipeline, flag=self.use.flag)


def make_switch(
    pipeline: PipelineConfig, flags: Flags | None, clock: Clock, tell: Callable[[str], None]
) -> Switch | None:
    """The switch of a pipeline; None where it has no flag."""
    if pipeline.when is None or flags is None:
        return None
    return Switch(flags, Use(pipeline.when, pipeline.name), clock, tell)


def make_gate(
    step: StepConfig,
    pipeline: PipelineConfig,
    settings: Settings,
    flags: Flags | None,
    fields: Mapping[str, Field],
    schema: pl.Schema,
) -> Gate | None:
    """The gate of a step that sees records of `schema`; None where it has no flag, or nobody looks at flags.

    Raises ConfigError for a declared key that those records cannot have; an index's id is only told of.
    """
    if step.when is None:
        return None
    key = key_of(step, pipeline, settings)
    use = Use(step.when.flag, pipeline.name, step.name, keyed=bool(key))
    for problem in filter(None, (_key_problem(name, schema, fields) for name in key)):
        if step.when.keys:
            raise ConfigError(problem, path=("key",))
        event(
            log.warning,
            "flags.key_missing",
            flag=use.flag,
            pipeline=use.pipeline,
            step=use.step,
            reason=problem,
        )
    return None if flags is None else Gate(flags, use, key, fields)


def uses(settings: Settings) -> list[Use]:
    """Every place of the configuration where a flag is named."""
    found: list[Use] = []
    for pipeline in settings.pipelines.values():
        if pipeline.when is not None:
            found.append(Use(pipeline.when, pipeline.name))
        for step in pipeline.steps:
            if step.when is not None:
                keyed = bool(key_of(step, pipeline, settings))
                found.append(Use(step.when.flag, pipeline.name, step.name, keyed=keyed))
    return found


def flag_problems(settings: Settings, now: float) -> Iterator[ConfigError]:
    """What is wrong with the flag file and with each use of a flag; that it is missing is not wrong."""
    from headrace.core.flagd import parse

    if settings.flags is None or not settings.flags.exists():
        return
    try:
        flagset = parse(read_flag_file(settings.flags))
    except ConfigError as error:
        yield ConfigError(f"{settings.flags.name}: {error.message}", path=("flags",))
        return
    for use in uses(settings):
        problem = problem_of(use, flagset, now)
        if problem:
            yield ConfigError(f"{problem}, in {settings.flags.name}", path=_path_of(use, settings))


def _path_of(use: Use, settings: Settings) -> tuple[str | int, ...]:
    names = [step.name for step in settings.pipelines[use.pipeline].steps]
    step = () if use.step is None else ("transform", names.index(use.step))
    return ("pipelines", use.pipeline, *step, "when")


def key_of(step: StepConfig, pipeline: PipelineConfig, settings: Settings) -> tuple[str, ...]:
    """The fields a percentage splits by: the step's `key`, or else the index's `id`."""
    if step.when is not None and step.when.keys:
        return step.when.keys
    given = getattr(settings.indexes[pipeline.index].options, "id", None) or ()
    return (given,) if isinstance(given, str) else tuple(given)


def padded(frame: pl.DataFrame, after: pl.Schema) -> pl.DataFrame:
    """The frame with those fields of a schema that it lacks, as null, where they would stand."""
    missing = {name: dtype for name, dtype in after.items() if name not in frame.columns}
    if not missing:
        return frame
    filled = frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in missing.items())
    order = merged(after.names(), frame.columns)
    return filled.select(order) if order is not None else filled


def together(on: pl.DataFrame | None, off: pl.DataFrame | None) -> list[pl.DataFrame]:
    """Both halves as one frame in record order, or as they are where a field has two types."""
    halves = [half for half in (on, off) if half is not None and half.height]
    if len(halves) < 2:
        return halves or [half for half in (on, off) if half is not None][:1]
    first, second = halves
    order = merged(first.columns, second.columns)
    same = all(first.schema[name] == second.schema[name] for name in second.columns if name in first.columns)
    if order is None or not same:
        return halves
    return [pl.concat(halves, how="diagonal").select(order).sort(RECORD, maintain_order=True)]


def merged(first: Sequence[str], second: Sequence[str]) -> list[str] | None:
    """Both lists' names in an order that keeps each list's own; None where they contradict each other.

    So a record's fields keep their order, whatever other records are in its frame.
    """
    shared = [name for name in first if name in set(second)]
    if shared != [name for name in second if name in set(first)]:
        return None
    order: list[str] = []
    rest = iter(second)
    for name in first:
        if name in set(shared):
            order.extend(_until(rest, name))
        order.append(name)
    return [*order, *rest]


def _until(names: Iterator[str], end: str) -> Iterator[str]:
    for name in names:
        if name == end:
            return
        yield name


def _key_problem(name: str, schema: pl.Schema, fields: Mapping[str, Field]) -> str:
    known = [column for column in schema if column != RECORD]
    found = located(schema, name)
    if found is None:
        return f"unknown field {name!r}, {suggest(name, known)}"
    declared = fields[name].dtype if name in fields else None
    if _can_be_key(found[1]) or (declared is not None and _can_be_key(declared)):
        return ""
    return (
        f"field {name!r} is of type {found[1]}, which cannot be a key; make it a whole number or a text first"
    )


def _can_be_key(dtype: pl.DataType) -> bool:
    kinds = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Null)
    return dtype.is_integer() or isinstance(dtype, kinds)


def _key_part(frame: pl.DataFrame, name: str, fields: Mapping[str, Field]) -> pl.Series:
    """One field of the key as text; a declared one has one spelling, whatever type a record gave it in."""
    found = located(frame.schema, name)
    if found is None:
        return _nothing(frame.height)
    given = frame.select(found[0].alias(name))
    declared = fields.get(name)
    if declared is None or declared.array or given.schema[name] == declared.dtype:
        return _as_text(given[name])
    typed = given.select(cast(name, given.schema[name], declared, coerce=False))
    return pl.select(pl.coalesce(_as_text(typed[name]), _as_text(given[name]))).to_series()


def _as_text(values: pl.Series) -> pl.Series:
    dtype = values.dtype
    if not _can_be_key(dtype):
        return _nothing(len(values))
    if not isinstance(dtype, pl.Datetime):
        return values.cast(pl.String)
    if dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return values.dt.to_string("iso:strict") + "Z"


def _nothing(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.String, eager=True)
