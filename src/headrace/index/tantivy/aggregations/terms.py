"""Buckets of a field's distinct values, or of several fields'.

The engine is asked for more than was asked for, and the order is made here: equal counts are in the order of
their keys, and the engine knows one criterion only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from tantivy import Query

from headrace.core.errors import RequestError
from headrace.fields import FieldType
from headrace.index.query import tree, values
from headrace.index.query.formats import shown
from headrace.index.query.options import number
from headrace.index.query.regexps import check_regexp
from headrace.index.tantivy.aggregations import pipelines
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.run import (
    CONDITION,
    MOST_BUCKETS,
    EngineBuckets,
    Reader,
    Run,
    both,
    micros_of,
    millis,
    too_many_buckets,
)
from headrace.index.tantivy.compiler import compile_query
from headrace.index.tantivy.kinds import Kind, is_date, kinds, one_dynamic
from headrace.index.tantivy.targets import Target

MOST_ORDERED: Final = 10_000
"""Distinct values among which an order can be made that the engine does not have."""

PER_SEGMENT: Final = 10_000
"""Distinct values a segment hands on, so that counts are exact up to here."""


class _ByValue(EngineBuckets):
    """What both kinds share: sizes, order, and how many documents are left out."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.size = whole(spec, "size", 10, least=1)
        if self.size > MOST_BUCKETS:
            too_many_buckets(self.size)
        self.least = whole(spec, "min_doc_count", 1)
        whole(spec, "shard_min_doc_count", 0)
        whole(spec, "shard_size", self.size, least=1)
        self.order = self._order(spec.options.get("order"))

    def _order(self, given: Any) -> list[tuple[str, bool]]:
        """Paths, and whether they descend."""
        if given is None:
            return [("_count", True), ("_key", False)]
        found = []
        for entry in given if isinstance(given, list) else [given]:
            if not isinstance(entry, Mapping) or not entry:
                bad(f"[order] of [{self.name}] is {{path: asc or desc}}, or a list of such, found [{entry}]")
            for path, order in entry.items():
                if order not in ("asc", "desc"):
                    bad(f"Unknown order direction [{order}] in [{self.name}]; have: asc, desc")
                found.append((self._path(str(path)), order == "desc"))
        if not any(path == "_key" for path, _ in found):
            found.append(("_key", False))
        return found

    def _path(self, path: str) -> str:
        if path in ("_count", "_key", "_term"):
            return path.replace("_term", "_key")
        first = path.split(">", maxsplit=1)[0].split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        if first not in {plan.name for plan in self.inner}:
            bad(
                f"Invalid aggregation order path [{path}]. Unknown aggregation [{first}];"
                f" [{self.name}] has: {', '.join(plan.name for plan in self.inner) or 'none'}",
                "aggregation_execution_exception",
            )
        if first in {plan.name for plan in self.beyond}:
            bad(f"[{self.name}] cannot be ordered by [{first}], which takes a query for each bucket")
        return path

    def common(self) -> Json:
        """The options of the engine that both kinds have."""
        first, descending = self.order[0]
        simple = len(self.order) == 1 or self.order[1][0] == "_key"
        if first in ("_count", "_key") and simple and not self._own_order():
            order, size = {first: "desc" if descending else "asc"}, 2 * self.size + 50
        else:
            order, size = {"_count": "desc"}, MOST_ORDERED
        self._all = size == MOST_ORDERED
        size = min(max(size, self.size), 65_000)
        return {
            "size": size,
            "segment_size": max(size, PER_SEGMENT),
            "order": order,
            "min_doc_count": self.least,
        }

    def _own_order(self) -> bool:
        return False

    def in_order(self, raw: Json, buckets: list[Json], *, left_out: int | None = None) -> Json:
        """The buckets that were asked for, and how many documents are in others."""
        if self._all and raw.get("sum_other_doc_count") and len(raw["buckets"]) >= MOST_ORDERED:
            bad(
                f"[{self.name}] has more than {MOST_ORDERED} distinct values, which cannot be ordered by"
                f" [{self.order[0][0]}]; narrow the query, or order by _count or _key",
                "illegal_argument_exception",
            )
        for path, descending in reversed(self.order):
            for bucket in buckets[:1]:
                if pipelines.is_missing(pipelines.value_at(bucket, path)):
                    bad(
                        f"Invalid aggregation order path [{path}] in [{self.name}]",
                        "aggregation_execution_exception",
                    )
            buckets = pipelines.in_order(buckets, path, descending=descending)
        rest = sum(bucket["doc_count"] for bucket in buckets[self.size :])
        other = raw.get("sum_other_doc_count", 0) if left_out is None else left_out
        return {
            "doc_count_error_upper_bound": raw.get("doc_count_error_upper_bound") or 0,
            "sum_other_doc_count": other + rest,
            "buckets": buckets[: self.size],
        }


class Terms(_ByValue):
    """The distinct values of one field."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.of = self.target()
        self.dated = is_date(run.snapshot, self.of)
        if spec.options.get("format") is not None and not self.dated:
            bad(f"[terms] aggregation [{self.name}] supports [format] for dates only; leave it out")
        self.dynamic = kinds(run.snapshot, self.of) if self.of.column is None else frozenset[Kind]()
        self.numeric = self.of.kind in (
            FieldType.INTEGER,
            FieldType.UNSIGNED,
            FieldType.FLOAT,
            FieldType.BOOLEAN,
        )
        self.chosen = self._chosen() if self.numeric or self.dated or self.dynamic else None

    def _own_order(self) -> bool:
        """The order of the engine's keys is another one, or some of its buckets are not wanted."""
        mixed = self.order[0][0] == "_key" and bool(self.dynamic - {Kind.NUMBER})
        return mixed or (self.options.get("include") is not None and self.chosen is not None)

    def own(self, query: Query) -> tuple[Json, Reader]:
        del query
        request = {"field": self.of.fast, **self.common()}
        for name in ("include", "exclude"):
            given = self.options.get(name)
            if isinstance(given, Mapping):
                bad(
                    f"[terms] aggregation [{self.name}]: partitions are not supported; use"
                    " [composite] with [after]"
                )
            if given is not None and self.chosen is None:
                listed = isinstance(given, list)
                request[name] = [str(one) for one in given] if listed else check_regexp(str(given))
        if self.options.get("missing") is not None:
            request["missing"] = self._missing(self.options["missing"])
        if self.options.get("show_term_doc_count_error") in (True, "true"):
            request["show_term_doc_count_error"] = True
        if self.chosen is not None:
            self._all, request["size"] = True, MOST_ORDERED
        return {"terms": request}, self._read

    def _missing(self, given: Any) -> Any:
        if self.dated:
            return values.iso(values.as_date(self.of.name, given, now=self.run.now))
        if self.of.kind is FieldType.BOOLEAN:
            return values.as_text(values.as_boolean(self.of.name, given))
        if self.numeric:
            return (
                number(given, "missing") if self.of.kind is FieldType.FLOAT else int(number(given, "missing"))
            )
        return given if self.of.column is None and not isinstance(given, bool) else str(given)

    def _chosen(self) -> tuple[list[Any] | None, list[Any] | None] | None:
        """`include` and `exclude` of numbers, booleans and dates, which the engine knows for texts only."""
        found = []
        for name in ("include", "exclude"):
            given = self.options.get(name)
            if given is not None and not isinstance(given, list):
                bad(
                    f"Aggregation [{self.name}] cannot support regular expression style"
                    " include/exclude settings"
                    " as they can only be applied to string fields; use a list of values",
                    "illegal_argument_exception",
                )
            found.append(None if given is None else [self._key_of(one) for one in given])
        return None if found == [None, None] else (found[0], found[1])

    def _key_of(self, given: Any) -> Any:
        if self.of.column is None:
            return self._dynamic_key(given)
        if self.dated:
            return millis(values.as_date(self.of.name, given, self.options.get("format"), now=self.run.now))
        if self.of.kind is FieldType.BOOLEAN:
            return int(values.as_boolean(self.of.name, given))
        return values.as_number(self.of.name, self.of.kind, given)

    def _dynamic_key(self, given: Any) -> Any:
        """A value as `_bucket` spells it: of a dynamic field 5 and "5" are the same, as in its queries."""
        if isinstance(given, str) and given in ("true", "false") and Kind.BOOLEAN in self.dynamic:
            return given
        if self.dated:
            with suppress(RequestError):
                return millis(
                    values.as_date(self.of.name, given, self.options.get("format"), now=self.run.now)
                )
        if isinstance(given, str) and (micros := micros_of(given)) is not None:
            return millis(micros)
        found = values.number(given) if isinstance(given, str) and values.is_number(given) else given
        return str(int(found)) if isinstance(found, float) and found.is_integer() else values.as_text(found)

    def _read(self, raw: Json) -> Json:
        buckets = self._joined([self._bucket(bucket) for bucket in raw["buckets"]])
        if self.chosen is not None:
            include, exclude = self.chosen
            buckets = [
                bucket
                for bucket in buckets
                if (include is None or self._is_one_of(bucket, include))
                and (exclude is None or not self._is_one_of(bucket, exclude))
            ]
        return self.in_order(raw, buckets)

    def _is_one_of(self, bucket: Json, chosen: list[Any]) -> bool:
        if self.of.column is not None or isinstance(bucket["key"], str):
            return bucket["key"] in chosen
        return bucket["key"] in chosen or bucket.get("key_as_string", str(bucket["key"])) in chosen

    def _joined(self, buckets: list[Json]) -> list[Json]:
        """Of a boolean field `missing` makes a bucket of its own beside the one of that value."""
        if self.of.kind is not FieldType.BOOLEAN or self.options.get("missing") is None:
            return buckets
        if self.inner and len({bucket["key"] for bucket in buckets}) < len(buckets):
            bad(
                f"[terms] aggregation [{self.name}]: [missing] of a boolean field with"
                " sub-aggregations; use [missing] beside it"
            )
        found: dict[Any, Json] = {}
        for bucket in buckets:
            if bucket["key"] in found:
                found[bucket["key"]]["doc_count"] += bucket["doc_count"]
            else:
                found[bucket["key"]] = bucket
        return list(found.values())

    def _bucket(self, bucket: Json) -> Json:
        key = bucket.pop("key")
        keys: Json = {"key": key}
        exact: Any = key
        micros = None
        if self.of.column is None or self.dated:
            micros = micros_of(key)
        if micros is not None:
            keys = {"key": millis(micros), "key_as_string": shown(micros, self.options.get("format"))}
            exact = values.iso(micros)
        elif self.of.kind is FieldType.BOOLEAN and isinstance(key, str):
            keys, exact = {"key": int(key == "true"), "key_as_string": key}, key == "true"
        elif "key_as_string" in bucket:
            exact = bucket["key_as_string"] == "true"
            keys["key_as_string"] = bucket.pop("key_as_string")
        elif self.of.kind is FieldType.FLOAT:
            keys["key"] = float(key)
        bucket.pop("key_as_string", None)
        return {**keys, **bucket, CONDITION: lambda: self._condition(exact)}

    def _condition(self, exact: Any) -> Query:
        return value_query(self.run, self.of, exact, missing=self.options.get("missing"))


class MultiTerms(_ByValue):
    """The distinct tuples of several fields."""

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        given = spec.options.get("terms")
        if not isinstance(given, list) or len(given) < 2:
            bad(f"[multi_terms] aggregation [{self.name}] needs [terms], a list of at least two fields")
        for one in given:
            if not isinstance(one, Mapping) or set(one) - {"field"}:
                bad(
                    f"[multi_terms] aggregation [{self.name}]: each of [terms] has a [field] and"
                    " nothing else here"
                )
        self.fields = [self.target(one) for one in given]

    def own(self, query: Query) -> tuple[Json, Reader]:
        del query
        request = self.common()
        return {"multi_terms": {"terms": [{"field": t.fast} for t in self.fields], **request}}, self._read

    def _read(self, raw: Json) -> Json:
        return self.in_order(raw, [self._bucket(bucket) for bucket in raw["buckets"]])

    def _bucket(self, bucket: Json) -> Json:
        parts = bucket.pop("key")
        exact: list[Any] = []
        spelled: list[str] = []
        keys: list[Any] = []
        for target, part in zip(self.fields, parts, strict=True):
            micros = micros_of(part) if target.column is None or target.kind is FieldType.DATE else None
            if micros is not None:
                keys.append(millis(micros))
                exact.append(values.iso(micros))
                spelled.append(values.iso(micros))
            elif target.kind is FieldType.BOOLEAN:
                keys.append(bool(part))
                exact.append(bool(part))
                spelled.append(values.as_text(bool(part)))
            else:
                keys.append(float(part) if target.kind is FieldType.FLOAT else part)
                exact.append(part)
                spelled.append(str(keys[-1]))
        bucket.pop("key_as_string", None)

        def condition() -> Query:
            one, *others = (
                value_query(self.run, target, value) for target, value in zip(self.fields, exact, strict=True)
            )
            return both(one, *others)

        return {"key": keys, "key_as_string": "|".join(spelled), **bucket, CONDITION: condition}


def value_query(run: Run, target: Target, exact: Any, *, missing: Any = None) -> Query:
    """The documents that have a value."""
    if missing is None and target.column is None:
        return one_dynamic(run.snapshot, target, exact)
    found = compile_query(run.snapshot, tree.Terms(target.name, (exact,)))
    if missing is None or values.as_text(missing) != values.as_text(exact):
        return found
    node = tree.Bool(
        should=(tree.Terms(target.name, (exact,)), tree.Bool(must_not=(tree.Exists(target.name),)))
    )
    return compile_query(run.snapshot, node)
