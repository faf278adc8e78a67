"""Fields of an Elasticsearch mapping that hold values, each as an option of ours or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.fields import ELASTICSEARCH_NAMES, FieldType
from headrace.fields.dates import layouts
from headrace.index.mapping.analysis import Analysis
from headrace.index.mapping.notices import Notices, refused

TEXTS: Final = ("text", "match_only_text", "search_as_you_type")
KEYWORDS: Final = ("keyword", "wildcard", "constant_keyword")
NUMBERS: Final = (
    "long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "unsigned_long",
)  # fmt: skip

OURS: Final = {"integer": "integer", "float": "float"}
"""Names that we have too: they stay."""

INSTEAD: Final = {
    "version": ("keyword", "versions are compared as texts, so [1.10] sorts before [1.9]"),
    "completion": ("keyword", "suggesters are refused; whole values and prefixes of them can be searched"),
    "geo_point": ("object", "geo queries are refused; parts of the value are searched as undeclared fields"),
    "rank_feature": ("double", "queries of type [rank_feature] are refused; it is a number like any other"),
    "rank_features": ("object", "queries of type [rank_feature] are refused; they are undeclared numbers"),
    "icu_collation_keyword": ("keyword", "texts sort by their code points, not by the rules of a language"),
    "counted_keyword": ("keyword", "values are not counted as one field; use a [terms] aggregation"),
}
"""Types that become another, and what is lost."""

ONLY_KEPT: Final = {
    "binary": "",
    "dense_vector": "searches for near vectors are refused; the value is only kept",
    "sparse_vector": "searches for sparse vectors are refused; the value is only kept",
    "geo_shape": "geo queries are refused; the value is only kept",
    "shape": "geo queries are refused; the value is only kept",
    "point": "geo queries are refused; the value is only kept",
}

REFUSED: Final = {
    "alias": "name the field itself in searches",
    "join": "parents and children are not joined; keep them in one document, or search twice",
    "percolator": "queries are not stored; run them as searches",
    "token_count": "declare an integer, and count before the document is indexed",
    "histogram": "index the values themselves",
    "aggregate_metric_double": "declare a number for each metric",
    "semantic_text": "declare a text",
    "murmur3": "declare a keyword",
    "passthrough": "declare the fields by their path",
    "integer_range": "declare two integers, its ends",
    "long_range": "declare two longs, its ends",
    "float_range": "declare two floats, its ends",
    "double_range": "declare two doubles, its ends",
    "date_range": "declare two dates, its ends",
    "ip_range": "declare two ips, its ends",
}

# fmt: off
SILENT: Final = frozenset((
    "type", "fields", "store", "doc_values", "index_options", "eager_global_ordinals", "term_vector", "meta",
    "index_phrases", "index_prefixes", "position_increment_gap", "split_queries_on_whitespace", "depth_limit",
    "scaling_factor", "max_shingle_size", "fielddata_frequency_filter", "script", "on_script_error", "dims",
    "element_type", "index", "coerce", "ignore_malformed", "ignore_above", "normalizer", "analyzer", "format",
    "copy_to", "preserve_separators", "preserve_position_increments", "max_input_length", "ignore_z_value",
    "orientation", "strategy", "time_series_metric", "synthetic_source_keep", "positive_score_impact",
    "index_options", "norms", "null_value", "search_analyzer", "search_quote_analyzer", "similarity", "boost",
    "fielddata", "locale", "value", "time_series_dimension", "include_in_all", "similarity", "contexts",
))
"""Parameters that are known; those that are not honoured are told one by one."""
# fmt: on

_TOLD: Final = {
    "null_value": "a null is not told from a missing field, so [null_value] is not indexed for it; "
    "ask for documents without the field",
    "similarity": "scores are BM25, whatever [similarity] says",
    "boost": "[boost] of a mapping has no effect; boost in the query",
    "fielddata": "a text is not sorted or aggregated by its words; sort and aggregate by a keyword field",
    "time_series_dimension": "it is a field like any other",
}


class Leaves:
    """The fields found so far, as YAML would say them, by path."""

    def __init__(self, analysis: Analysis, notices: Notices, settings: Mapping[str, Any]) -> None:
        self.fields: dict[str, Any] = {}
        self.notices = notices
        self._analysis = analysis
        self._malformed = _true(settings.get("mapping.ignore_malformed"))
        self._coerce = _true(settings.get("mapping.coerce", True))
        self._copies: dict[str, list[str]] = {}

    def keep(self, path: str, kind: str) -> None:
        """A field that is in `_source` only."""
        self.fields[path] = {"type": "object" if kind == "nested" else kind, "index": False}

    def add(self, path: str, kind: str, declared: Mapping[str, Any]) -> None:
        found = self._field(path, kind, declared)
        inner = declared.get("fields") or {}
        if not isinstance(inner, Mapping):
            raise refused(f"Failed to parse mapping: expected map for property [fields] on field [{path}]")
        if inner and found["type"] not in ("object", "flattened"):
            found["fields"] = {
                name: self._inner(f"{path}.{name}", name, each) for name, each in inner.items()
            }
        self.fields[path] = found
        given = declared.get("copy_to") or []
        for target in [given] if isinstance(given, str) else given:
            self._copies.setdefault(str(target), []).append(path)

    def copy(self) -> None:
        """Fields that others are copied to, once all are known."""
        for target, sources in self._copies.items():
            self.fields.setdefault(target, {"type": "text", "many": True, "coerce": True})
            found = self.fields[target]
            if found["type"] in (*TEXTS, *KEYWORDS):
                found["copies"] = sources
            else:
                self.notices.add(
                    f"values are copied to fields of type text and keyword, not to [{target}]; copy them "
                    "before they are indexed",
                    ", ".join(sources),
                )
            if found.get("fields"):
                self.notices.add("its own [fields] do not have the values that are copied to it", target)

    def _inner(self, path: str, name: str, declared: Any) -> dict[str, Any]:
        if not isinstance(declared, Mapping) or "type" not in declared:
            raise refused(
                f"Failed to parse mapping: The mapper type [] declared on field [{name}] does not exist."
            )
        for option in ("fields", "copy_to"):
            if option in declared:
                raise refused(
                    f"Failed to parse mapping: [{option}] is not allowed on the multi-field [{path}]"
                )
        found = self._field(path, str(declared["type"]), declared)
        if found["type"] in ("object", "flattened"):
            raise refused(f"Type [{declared['type']}] cannot be used in multi field")
        found.pop("many")
        return found

    def _field(self, path: str, kind: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        ours = self._type(path, kind)
        self._check(path, kind, declared)
        if kind in ONLY_KEPT or self._hidden(ours, declared):
            return {"type": ours, "index": False, "many": True}
        found: dict[str, Any] = {"type": ours, "many": True}
        if ELASTICSEARCH_NAMES.get(ours) is FieldType.JSON:
            return {"type": ours}
        if _true(declared.get("coerce", self._coerce)):
            found["coerce"] = True
        if _true(declared.get("ignore_malformed", self._malformed)):
            found["ignore_malformed"] = True
        if ours in TEXTS:
            self._text(path, declared, found)
        if ours in KEYWORDS:
            self._keyword(path, kind, declared, found)
        if ours in ("date", "date_nanos"):
            self._date(path, kind, declared, found)
        return found

    def _type(self, path: str, kind: str) -> str:
        if kind in REFUSED:
            raise refused(
                f"Failed to parse mapping: type [{kind}] of field [{path}] is not supported; {REFUSED[kind]}"
            )
        if kind in INSTEAD:
            ours, lost = INSTEAD[kind]
            self.notices.add(f"type [{kind}] is taken as [{ours}]: {lost}", path)
            return ours
        if kind in ONLY_KEPT:
            if ONLY_KEPT[kind]:
                self.notices.add(f"type [{kind}]: {ONLY_KEPT[kind]}", path)
            return "object"
        if kind in ELASTICSEARCH_NAMES or kind in _SHARED:
            return kind
        raise refused(
            f"Failed to parse mapping: The mapper type [{kind}] declared on field "
            f"[{path.rpartition('.')[2]}] does not exist. "
            "It might have been created within a future version or requires a plugin to be "
            "installed. Check the documentation."
        )

    def _check(self, path: str, kind: str, declared: Mapping[str, Any]) -> None:
        for option, value in declared.items():
            if option not in SILENT:
                raise refused(
                    f"Failed to parse mapping: unknown parameter [{option}] on mapper "
                    f"[{path.rpartition('.')[2]}] of type [{kind}]"
                )
            if option in _TOLD and not (value is None or value is False or value == "BM25"):
                self.notices.add(_TOLD[option], path)
        if declared.get("script"):
            raise refused(
                f"Failed to parse mapping: [script] of field [{path}] is not run; give the value itself"
            )
        if kind == "scaled_float" and "scaling_factor" not in declared:
            raise refused(f"Failed to parse mapping: Field [scaling_factor] is required on field [{path}]")
        if str(declared.get("locale", "ROOT")).upper() not in ("ROOT", "EN", "EN_US", "EN-US"):
            self.notices.add("names of months and days are read in English, whatever [locale] says", path)

    @staticmethod
    def _hidden(ours: str, declared: Mapping[str, Any]) -> bool:
        """Whether Elasticsearch could not be asked for it: neither by terms nor by doc values."""
        if _true(declared.get("index", True)):
            return False
        return ours in TEXTS or not _true(declared.get("doc_values", True))

    def _text(self, path: str, declared: Mapping[str, Any], found: dict[str, Any]) -> None:
        given = declared.get("analyzer")
        analyzer = self._analysis.analyzer(str(given)) if given else self._analysis.default
        if analyzer:
            found["analyzer"] = analyzer
        for option in ("search_analyzer", "search_quote_analyzer"):
            if option in declared and declared[option] != (given or "standard"):
                self._analysis.analyzer(str(declared[option]))
                self.notices.add(
                    f"[{option}: {declared[option]}] is not applied: what is asked for goes through the "
                    "analyzer of the field",
                    path,
                )
        if not _true(declared.get("norms", True)):
            self.notices.add("[norms: false] is not honoured: longer texts score lower", path)

    def _keyword(self, path: str, kind: str, declared: Mapping[str, Any], found: dict[str, Any]) -> None:
        if (limit := declared.get("ignore_above")) is not None:
            if not str(limit).isdecimal() or not int(limit):
                raise refused(
                    f"Failed to parse mapping: Field [ignore_above] must be positive, got [{limit}]"
                )
            if int(limit) < _NO_LIMIT:
                found["ignore_above"] = int(limit)
        if (given := declared.get("normalizer")) and (
            normalizer := self._analysis.normalizer(str(given), path)
        ):
            found["normalizer"] = normalizer
        if kind == "constant_keyword" and "value" in declared:
            self.notices.add("[value] is not given to documents without the field; they do not have it", path)

    def _date(self, path: str, kind: str, declared: Mapping[str, Any], found: dict[str, Any]) -> None:
        if kind == "date_nanos":
            self.notices.add("dates are exact to the microsecond, not to the nanosecond", path)
        given = declared.get("format")
        if given is None:
            return
        try:
            known = layouts(str(given)) if "%" not in str(given) else ()
        except ValueError as error:
            raise refused(
                f"Failed to parse mapping: Invalid format: [{given}] of [{path}]: {error} is not supported"
            ) from None
        if not known:
            raise refused(f"Failed to parse mapping: Invalid format: [{given}] of field [{path}]")
        if known not in _USUAL:
            found["format"] = str(given)


_SHARED: Final = frozenset(("text", "keyword", "integer", "float", "boolean", "date", "ip"))
"""Types that are called alike in Elasticsearch and here."""
_USUAL: Final = (("iso",), ("iso", "epoch_millis"))
_NO_LIMIT: Final = 2**31 - 1


def _true(given: Any) -> bool:
    return given is True or str(given).lower() == "true"
