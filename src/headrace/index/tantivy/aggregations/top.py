"""The first hits of a bucket (`top_hits`) or their values (`top_metrics`): a search for each bucket."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from tantivy import Query

from headrace.fields import FieldType
from headrace.index.base import SortKey
from headrace.index.query.source import filtered, values_at
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy.aggregations.request import Json, Spec, bad, whole
from headrace.index.tantivy.aggregations.run import Plan, Reader, Run
from headrace.index.tantivy.snapshot import guarded
from headrace.index.tantivy.sorting import BY_ORDER, Sorted, walk
from headrace.index.tantivy.targets import resolve

MOST_HITS: Final = 100
"""As Elasticsearch's `index.max_inner_result_window`."""


def sort_keys(name: str, given: Any) -> list[SortKey]:
    """`sort` of an aggregation. Raises RequestError."""
    found = []
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, str):
            found.append(SortKey(entry, descending=entry == "_score"))
            continue
        if not isinstance(entry, Mapping):
            bad(f"[sort] of [{name}] is a field, or {{field: asc or desc}}, found [{entry}]")
        for field, order in entry.items():
            options = order if isinstance(order, Mapping) else {"order": order}
            for option in options:
                if option not in ("order", "missing", "unmapped_type", "mode", "format"):
                    bad(f"[sort] of [{name}] has no option [{option}]; have: order, missing, unmapped_type")
            where, direction = (
                options.get("missing", "_last"),
                options.get("order", "desc" if field == "_score" else "asc"),
            )
            mode = options.get("mode")
            if where not in ("_last", "_first") or direction not in ("asc", "desc"):
                bad(f"[sort] of [{name}]: [order] is asc or desc, [missing] is _last or _first")
            if options.get("format") is not None or mode not in (
                None,
                "max" if direction == "desc" else "min",
            ):
                bad(
                    f"[sort] of [{name}] supports neither [format] nor [mode] other than min (asc)"
                    " and max (desc)"
                )
            found.append(SortKey(str(field), direction == "desc", where == "_last"))
    return found


class TopHits(Plan):
    """The first hits, by score or by fields."""

    pushed = False

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        self.size = whole(spec, "size", 3)
        self.start = whole(spec, "from", 0)
        if self.size + self.start > MOST_HITS:
            bad(
                f"Top hits result window is too large, the top hits aggregator [{self.name}]'s from +"
                " size must be"
                f" less than or equal to: [{MOST_HITS}] but was [{self.size + self.start}]",
                "illegal_argument_exception",
            )
        for option in ("track_scores", "version", "seq_no_primary_term"):
            if self.options.get(option) in (True, "true"):
                bad(f"[top_hits] aggregation [{self.name}] does not support [{option}]; leave it out")
        self.keys = sort_keys(self.name, self.options["sort"]) if self.options.get("sort") else []
        self.by_score = not self.keys or (
            self.keys[0].field == "_score" and self.keys[0].descending and not self.keys[1:]
        )
        self.source = _patterns(self.name, self.options.get("_source", True))
        for key in self.keys:
            if key.field not in (*BY_ORDER, "_score"):
                _ = resolve(run.snapshot, key.field).fast

    def ask(self, query: Query) -> tuple[Json, Reader]:
        raise NotImplementedError

    def answer(self, query: Query) -> Json:
        total = self.run.count(query)
        found, best = self._scored(query) if self.by_score else (self._places(query), None)
        hits = []
        for (seq, score, keys), hit in zip(found, self.run.hits([one[0] for one in found]), strict=True):
            shown = {name: value for name, value in hit.items() if name != "_source"}
            shown["_score"] = score
            source = hit.get("_source")
            if source is not None and self.source is not None:
                shown["_source"] = (
                    msgspec.Raw(filtered(bytes(source), self.source)) if any(self.source) else source
                )
            if self.keys:
                shown["sort"] = list(keys)[: len(self.keys)]
            hits.append(shown)
            del seq
        return self.said(
            {"hits": {"total": {"value": total, "relation": "eq"}, "max_score": best, "hits": hits}}
        )

    def _scored(self, query: Query) -> tuple[list[tuple[int, float | None, tuple[Any, ...]]], float | None]:
        snapshot = self.run.snapshot
        limit = max(self.size + self.start, 1)
        found: Any = guarded(
            lambda: snapshot.searcher.search(snapshot.visible(query), limit, count=False)
        ).hits
        best = found[0][0] if found else None
        return [
            (int(snapshot.document(address).get_first(engine.SEQ) or 0), score, (score,))
            for score, address in found[self.start : self.start + self.size]
        ], best

    def _places(self, query: Query) -> list[tuple[int, float | None, tuple[Any, ...]]]:
        found = places(self.run, query, self.keys, self.start + self.size)[self.start :]
        return [(place.seq, None, place.keys) for place in found]


class TopMetrics(Plan):
    """Some values of the first documents by one field."""

    pushed = False

    def __init__(self, run: Run, spec: Spec) -> None:
        super().__init__(run, spec)
        given = self.options.get("metrics")
        entries = given if isinstance(given, list) else [given]
        self.fields = []
        for entry in entries:
            if not isinstance(entry, Mapping) or set(entry) != {"field"}:
                bad(f"[top_metrics] aggregation [{self.name}] needs [metrics], each with a [field]")
            target = self.target(entry)
            if target.kind is FieldType.TEXT:
                _ = target.fast
            self.fields.append(target)
        if not self.options.get("sort"):
            bad(f"[top_metrics] aggregation [{self.name}] needs a [sort]")
        self.keys = sort_keys(self.name, self.options["sort"])
        if len(self.keys) != 1 or self.keys[0].field in (*BY_ORDER, "_score"):
            bad(f"[top_metrics] aggregation [{self.name}] sorts by exactly one field")
        _ = resolve(run.snapshot, self.keys[0].field).fast
        self.size = whole(spec, "size", 1, least=1)
        if self.size > 10:
            bad(
                f"[top_metrics.size] must not be more than [10] but was [{self.size}]",
                "illegal_argument_exception",
            )

    def ask(self, query: Query) -> tuple[Json, Reader]:
        raise NotImplementedError

    def answer(self, query: Query) -> Json:
        found = [
            place for place in places(self.run, query, self.keys, self.size) if place.keys[0] is not None
        ]
        top = []
        for place, hit in zip(found, self.run.hits([place.seq for place in found]), strict=True):
            source = msgspec.json.decode(bytes(hit["_source"]))
            metrics = {target.name: next(values_at(source, target.path), None) for target in self.fields}
            top.append({"sort": [place.keys[0]], "metrics": metrics})
        return self.said({"top": top})


def places(run: Run, query: Query, keys: list[SortKey], wanted: int) -> list[Sorted]:
    """The first places, each document once: of a list's values, the first one counts."""
    if not wanted:
        return []
    run.spend_query()
    seen: dict[int, Sorted] = {}
    for place in walk(run.snapshot, query, keys, None, wanted):
        seen.setdefault(place.seq, place)
        if len(seen) >= wanted:
            break
    return list(islice(seen.values(), wanted))


def _patterns(name: str, given: Any) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Included and excluded paths; None for no source at all."""
    if given in (False, "false"):
        return None
    if given in (True, "true"):
        return (), ()
    if isinstance(given, Mapping):
        parts = [given.get(side, given.get(side.rstrip("s"), [])) for side in ("includes", "excludes")]
        if set(given) - {"includes", "excludes", "include", "exclude"}:
            bad(f"[_source] of [{name}] has [includes] and [excludes], found [{', '.join(given)}]")
        includes, excludes = ((part,) if isinstance(part, str) else tuple(map(str, part)) for part in parts)
        return includes, excludes
    if not isinstance(given, str | list):
        bad(f"[_source] of [{name}] is true, false, or patterns of names, found [{given}]")
    return ((given,) if isinstance(given, str) else tuple(map(str, given))), ()
