"""A text as the words it is indexed as, for `_analyze`; offsets are characters of the text."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.fields import FieldType
from headrace.index.tantivy.normalizing import normalized_text
from headrace.index.tantivy.snapshot import Snapshot, guarded
from headrace.index.tantivy.targets import analyzer, resolve


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: int
    end: int
    position: int


def analysed(spec: str, text: str) -> list[Word]:
    """The words of a text by an analyzer, a name or spelled."""
    found = guarded(lambda: analyzer(spec).pre_tokenize(text).tokens)
    return [Word(token.text, token.char_offset_from, token.char_offset_to, token.position) for token in found]


def normalised(spec: str, text: str) -> list[Word]:
    """A whole text after a normalizer, which is one word."""
    return [Word(normalized_text(text, spec.rpartition("=")[2].strip()), 0, len(text), 0)]


def of_field(snapshot: Snapshot, name: str, text: str) -> list[Word]:
    """The words of a text as a field's values are indexed. Raises RequestError for one that is not."""
    target = resolve(snapshot, name)
    if target.normalizer is not None:
        return normalised(target.normalizer, text)
    if target.raw or (target.column is not None and target.kind is not FieldType.TEXT):
        return [Word(text, 0, len(text), 0)]
    return analysed(target.analyzer, text)
