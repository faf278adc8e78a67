"""Elasticsearch's analyzers and normalizers, built in or of `settings.analysis`, as ours are spelled.

The name stays in front of what it is made of (`mine = whitespace | lowercase`), so `_mapping` shows it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.index.mapping.notices import Notices, refused

# fmt: off
STEMMED: Final = frozenset((
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian",
    "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "turkish",
))
STOPPED: Final = frozenset((
    "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian",
    "portuguese", "russian", "spanish", "swedish",
))
OTHERS: Final = frozenset((
    "armenian", "basque", "bengali", "brazilian", "bulgarian", "catalan", "cjk", "czech", "estonian",
    "fingerprint", "galician", "hindi", "indonesian", "irish", "latvian", "lithuanian", "pattern", "persian",
    "serbian", "sorani", "thai",
))
"""Elasticsearch's analyzers that have no like here."""

OTHER_TOKENIZERS: Final = frozenset((
    "char_group", "classic", "path_hierarchy", "PathHierarchy", "pattern", "simple_pattern",
    "simple_pattern_split", "thai", "uax_url_email",
))
OTHER_FILTERS: Final = frozenset((
    "apostrophe", "arabic_normalization", "cjk_bigram", "cjk_width", "classic", "common_grams", "condition",
    "decimal_digit", "delimited_payload", "dictionary_decompounder", "edge_ngram", "elision", "fingerprint",
    "flatten_graph", "german_normalization", "hunspell", "hyphenation_decompounder", "keep", "keep_types",
    "keyword_marker", "keyword_repeat", "kstem", "limit", "min_hash", "multiplexer", "ngram",
    "pattern_capture", "pattern_replace", "persian_normalization", "phonetic", "predicate_token_filter",
    "remove_duplicates", "reverse", "scandinavian_folding", "scandinavian_normalization", "shingle",
    "stemmer_override", "synonym", "synonym_graph", "trim", "truncate", "unique", "uppercase",
    "word_delimiter", "word_delimiter_graph", "icu_folding", "icu_normalizer",
))
# fmt: on

_BUILT_IN: Final = {
    "default": "standard",
    "standard": "standard",
    "keyword": "keyword",
    "simple": "simple = letter | lowercase",
    "whitespace": "whitespace = whitespace",
    "stop": "stop = letter | lowercase | stop english",
}


class Analysis:
    """The analyzers that an index's settings define, beside those there always are."""

    def __init__(self, settings: Mapping[str, Any], notices: Notices) -> None:
        self._parts = {part: _named(settings, part) for part in _PARTS}
        self._notices = notices

    @property
    def default(self) -> str | None:
        """The analyzer of text fields that name none, where the settings define it."""
        return self.analyzer("default") if "default" in self._parts["analyzer"] else None

    def analyzer(self, name: str) -> str:
        """As ours is spelled; RequestError where there is none of the name."""
        defined = self._parts["analyzer"].get(name)
        if defined is not None:
            return self._defined(name, defined)
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        if name in STEMMED:
            return self._language(name)
        if name in OTHERS:
            self._notices.add(f"there is no analyzer [{name}] here; the standard one is used instead")
            return "standard"
        raise refused(f"Failed to parse mapping: analyzer [{name}] has not been configured in mappings")

    def _language(self, name: str) -> str:
        stop = f" | stop {name}" if name in STOPPED else ""
        if not stop:
            self._notices.add(f"the analyzer [{name}] has no stop words here; all words are indexed")
        return f"{name} = standard | lowercase{stop} | stem {name}"

    def normalizer(self, name: str, field: str) -> str | None:
        """As ours is spelled; None where nothing of it can be done."""
        defined = self._parts["normalizer"].get(name)
        if defined is None:
            if name == "lowercase":
                return name
            raise refused(f"Failed to parse mapping: normalizer [{name}] not found for field [{field}]")
        steps = []
        for each in [*_listed(defined.get("char_filter")), *_listed(defined.get("filter"))]:
            kind = self._parts["filter"].get(each, {}).get("type", each)
            if kind in ("lowercase", "asciifolding"):
                steps.append(kind)
            else:
                self._notices.add(f"normalizer [{name}] is applied without [{each}], which there is not here")
        return f"{name} = {' | '.join(steps)}" if steps else None

    def _defined(self, name: str, defined: Mapping[str, Any]) -> str:
        kind = defined.get("type", "custom")
        if kind != "custom":
            return self._configured(name, str(kind), defined)
        if not defined.get("tokenizer"):
            raise refused(f"analyzer [{name}] must specify either an analyzer type, or a tokenizer", _ILLEGAL)
        for each in _listed(defined.get("char_filter")):
            self._notices.add(f"analyzer [{name}] is applied without the char_filter [{each}]")
        steps = self._tokenizer(name, str(defined["tokenizer"]))
        for each in _listed(defined.get("filter")):
            steps += self._filter(name, each)
        return f"{name} = {' | '.join(steps)}"

    def _configured(self, name: str, kind: str, defined: Mapping[str, Any]) -> str:
        """A built-in analyzer with options of its own."""
        if kind not in _BUILT_IN and kind not in STEMMED and kind not in OTHERS:
            raise refused(f"Unknown analyzer type [{kind}] for [{name}]", _ILLEGAL)
        words = self._stop(name, defined) if kind in ("standard", "stop") and "stopwords" in defined else None
        ignored = sorted(set(defined) - {"type"} - ({"stopwords"} if words is not None else set()))
        if ignored:
            self._notices.add(f"analyzer [{name}] of type [{kind}] is applied without {ignored}")
        if words is None:
            found = _BUILT_IN.get(kind) or self.analyzer(kind)
            made = found.rpartition("=")[2].strip() if "=" in found else f"{found} | lowercase"
            return f"{name} = {made if found != 'keyword' else 'keyword'}"
        return f"{name} = {' | '.join(['standard' if kind == 'standard' else 'letter', 'lowercase', *words])}"

    def _tokenizer(self, analyzer: str, name: str) -> list[str]:
        defined = self._parts["tokenizer"].get(name, {})
        kind = str(defined.get("type", name))
        match kind:
            case "standard" | "whitespace" | "keyword" | "letter":
                return [kind]
            case "lowercase":
                return ["letter", "lowercase"]
            case "ngram" | "edge_ngram" | "nGram" | "edgeNGram":
                grams = f"{defined.get('min_gram', 1)} {defined.get('max_gram', 2)}"
                if defined.get("token_chars"):
                    self._notices.add(
                        f"analyzer [{analyzer}]: the pieces of tokenizer [{name}] run over all characters, "
                        "not only over [token_chars]"
                    )
                return [f"{'edge_ngram' if kind.startswith('edge') else 'ngram'} {grams}"]
            case _ if kind in OTHER_TOKENIZERS:
                self._notices.add(f"analyzer [{analyzer}] cuts words with [standard], not with [{name}]")
                return ["standard"]
            case _:
                reason = f"Custom Analyzer [{analyzer}] failed to find tokenizer under name [{name}]"
                raise refused(reason, _ILLEGAL)

    def _filter(self, analyzer: str, name: str) -> list[str]:
        defined = self._parts["filter"].get(name, {})
        kind = str(defined.get("type", name))
        match kind:
            case "lowercase" | "asciifolding":
                return [kind]
            case "stop":
                return self._stop(analyzer, defined)
            case "porter_stem":
                return ["stem english"]
            case "stemmer" | "snowball":
                language = str(defined.get("language", defined.get("name", "english"))).lower()
                plain = language.removeprefix("light_").removeprefix("minimal_")
                plain = "english" if plain in ("porter", "porter2", "lovins") else plain.rstrip("2")
                if plain in STEMMED:
                    return [f"stem {plain}"]
            case "length" if "max" in defined and not defined.get("min"):
                return [f"longest {int(defined['max'])}"]
            case _:
                if kind not in OTHER_FILTERS and kind != "length":
                    reason = f"Custom Analyzer [{analyzer}] failed to find filter under name [{name}]"
                    raise refused(reason, _ILLEGAL)
        self._notices.add(f"analyzer [{analyzer}] is applied without the filter [{name}]")
        return []

    def _stop(self, analyzer: str, defined: Mapping[str, Any]) -> list[str]:
        given = defined.get("stopwords", "_english_")
        if given in ("_none_", []):
            return []
        if isinstance(given, str) and given.strip("_") in STOPPED:
            return [f"stop {given.strip('_')}"]
        words = [str(word) for word in _listed(given)]
        if all(word and not set(word) & set(" ,|=") for word in words) and "stopwords_path" not in defined:
            return [f"stop {','.join(words)},"]
        self._notices.add(f"analyzer [{analyzer}] is applied without its stop words")
        return []


_PARTS: Final = ("analyzer", "normalizer", "tokenizer", "filter", "char_filter")
_ILLEGAL: Final = "illegal_argument_exception"


def _named(settings: Mapping[str, Any], part: str) -> dict[str, Mapping[str, Any]]:
    given = settings.get(part) or {}
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise refused(f"[index.analysis.{part}] has to hold an object for each name", _ILLEGAL)
    return dict(given)


def _listed(given: Any) -> list[str]:
    if given is None:
        return []
    return [str(each) for each in given] if isinstance(given, list) else [str(given)]
