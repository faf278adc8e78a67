"""The step itself: distinct keys out of a batch, answers from cache and service, and a join back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from headrace.core.dependency import Dependency
from headrace.core.errors import ConfigError, Retryable
from headrace.core.log import event
from headrace.core.registry import suggest
from headrace.fields import Field, named
from headrace.model import RECORD, Rejection
from headrace.transform._table import HIT, key_columns, key_name, key_text, value_name
from headrace.transform.base import Outcome, TransformContext
from headrace.transform.http_lookup.answers import (
    MISSED,
    Answer,
    Cache,
    Found,
    Key,
    Missed,
    Refused,
    Unavailable,
)
from headrace.transform.http_lookup.options import DECODED, Settings, names
from headrace.transform.http_lookup.service import Service

log = logging.getLogger(__name__)

REFUSED: Final = "_headrace_refused"
SHOWN: Final = 80


class HttpLookup:
    """A left join with a service that keeps order and number of the records."""

    waits = True

    def __init__(
        self,
        settings: Settings,
        context: TransformContext,
        fields: Mapping[str, Field],
        service: Service,
        dependency: Dependency,
    ) -> None:
        self._settings = settings
        self._context = context
        self._fields = fields
        self._service = service
        self._dependency = dependency
        self._keys = list(names(settings.key))
        self._cache = Cache(settings.cache)
        self._away = ""

    @property
    def worst_case_bytes(self) -> int:
        """The cache, and as many answers as may be read at once."""
        return int(self._settings.cache.bytes) + DECODED * self._settings.concurrency * int(
            self._settings.max_body
        )

    def bind(self, schema: pl.Schema) -> pl.Schema:
        known = [name for name in schema if name != RECORD]
        for name in self._keys:
            if name not in known:
                raise ConfigError(f"unknown field {name!r}, {suggest(name, known)}", path=("key",))
            if key_text(name, schema[name]) is None:
                raise ConfigError(
                    f"field {name!r} is of type {schema[name]}, which cannot be a key; make it a whole "
                    "number or a text first",
                    path=("key",),
                )
        self._check_defaults()
        added = {name: self._dtype(name) for name in self._fields}
        if self._settings.on_outage == "keep_marked":
            added[self._settings.marker] = pl.Boolean()
        return pl.Schema({**schema, **added})

    def apply(self, frame: pl.DataFrame) -> Outcome:
        """Raises Retryable where the service is away and the step says `on_outage: hold`."""
        keyed = frame.with_columns(key_columns(self._keys, frame.schema))
        columns = [key_name(index) for index in range(len(self._keys))]
        present = pl.all_horizontal(pl.col(columns).is_not_null() & (pl.col(columns) != ""))
        distinct = keyed.lazy().filter(present).select(columns).unique(maintain_order=True).collect()
        answers = self._answers([tuple(row) for row in distinct.iter_rows()])
        self._hold_if_told(answers)
        joined = keyed.join(self._table(answers), on=columns, how="left", maintain_order="left")
        unasked = self._refused(MISSED) is not None  # a record without a key is one the service does not know
        refused = pl.col(REFUSED).fill_null(value=unasked)
        rejections = self._rejections(joined.filter(refused).select(RECORD, *columns), answers)
        return Outcome(self._added(joined.filter(~refused)).select(self._columns(frame)), rejections)

    def close(self) -> None:
        self._service.close()

    # Answers

    def _answers(self, keys: list[Key]) -> dict[Key, Answer]:
        now = self._context.clock.monotonic()
        answers = {key: kept for key in keys if (kept := self._cache.get(key, now)) is not None}
        unknown = [key for key in keys if key not in answers]
        if unknown:
            asked = self._service.ask(unknown)
            now = self._context.clock.monotonic()
            for key, answer in asked.items():
                self._cache.put(key, answer, now)
            answers |= asked
            self._tell(asked)
        return answers

    def _tell(self, asked: Mapping[Key, Answer]) -> None:
        """Log when the service goes away and when it is back, not for each batch."""
        failed = [answer for answer in asked.values() if isinstance(answer, Unavailable)]
        reason = str(failed[-1].error) if failed else ""
        if bool(reason) == bool(self._away):
            return
        self._away = reason
        if reason:
            policy = self._settings.on_outage
            event(
                log.warning,
                "lookup.degraded",
                dependency=self._dependency.name,
                on_outage=policy,
                error=reason,
            )
        else:
            event(log.info, "lookup.recovered", dependency=self._dependency.name)

    def _hold_if_told(self, answers: Mapping[Key, Answer]) -> None:
        if self._settings.on_outage != "hold":
            return
        errors = [answer.error for answer in answers.values() if isinstance(answer, Unavailable)]
        if errors:
            waits = [error.after for error in errors if error.after is not None]
            raise Retryable(
                f"{self._context.step} waits for its service: {errors[-1]}", after=max(waits, default=None)
            ) from errors[-1]

    # Frames

    def _table(self, answers: Mapping[Key, Answer]) -> pl.DataFrame:
        """One row per key: its columns, `HIT` (true found, false not answered, null missed), the values, and
        whether its records cannot go on."""
        nothing: tuple[Any, ...] = (None,) * len(self._fields)
        rows = [answer.values if isinstance(answer, Found) else nothing for answer in answers.values()]
        hits = [
            True if isinstance(answer, Found) else False if isinstance(answer, Unavailable) else None
            for answer in answers.values()
        ]
        series = [
            pl.Series(key_name(index), [key[index] for key in answers], dtype=pl.String)
            for index in range(len(self._keys))
        ]
        refused = [self._refused(answer) is not None for answer in answers.values()]
        series += [pl.Series(HIT, hits, dtype=pl.Boolean), pl.Series(REFUSED, refused, dtype=pl.Boolean)]
        for at, name in enumerate(self._fields):
            series.append(pl.Series(value_name(name), [row[at] for row in rows], dtype=self._dtype(name)))
        return pl.DataFrame(series)

    def _added(self, joined: pl.DataFrame) -> pl.DataFrame:
        """Found values; else the default, or what the record had (if it is of the field's type)."""
        hit = pl.col(HIT)
        added = []
        for name in self._fields:
            dtype = self._dtype(name)
            own = named(name) if joined.schema.get(name) == dtype else pl.lit(None, dtype=dtype)
            missed = pl.lit(self._settings.default.get(name), dtype=dtype) if self._settings.default else own
            value = (
                pl.when(hit).then(pl.col(value_name(name))).when(hit.is_null()).then(missed).otherwise(own)
            )
            added.append(value.alias(name))
        if self._settings.on_outage == "keep_marked":
            added.append(hit.fill_null(value=True).alias(self._settings.marker))
        return joined.with_columns(added)

    def _columns(self, frame: pl.DataFrame) -> list[str]:
        marker = [self._settings.marker] if self._settings.on_outage == "keep_marked" else []
        return list(dict.fromkeys([*frame.columns, *self._fields, *marker]))

    def _rejections(self, refused: pl.DataFrame, answers: Mapping[Key, Answer]) -> tuple[Rejection, ...]:
        found = []
        for record, *key in refused.iter_rows():
            why = self._refused(answers.get(tuple(key), MISSED))
            assert why is not None, "only those with a reason"
            shown = ", ".join(f"{name}={text!r}" for name, text in zip(self._keys, key, strict=True))
            detail = f"{shown[:SHOWN]}: {why.detail}"
            found.append(Rejection(record, self._context.step, why.reason, detail))
        return tuple(found)

    def _refused(self, answer: Answer) -> Refused | None:
        """Why a record with this answer cannot go on; None where it can."""
        match answer:
            case Refused():
                return answer
            case Unavailable() if self._settings.on_outage == "reject":
                return Refused("lookup_unavailable", str(answer.error))
            case Missed() if self._settings.on_miss == "reject":
                return Refused("lookup_miss", "the service does not know it")
        return None

    def _dtype(self, name: str) -> pl.DataType:
        dtype = self._fields[name].dtype
        assert dtype is not None, "checked when made"
        return dtype

    def _check_defaults(self) -> None:
        for name, value in self._settings.default.items():
            try:
                pl.Series([value], dtype=self._dtype(name), strict=True)
            except (TypeError, pl.exceptions.PolarsError):
                message = f"{value!r} is not of type {self._fields[name].type}, which {name!r} has"
                raise ConfigError(message, path=("default", name)) from None
