"""Which words of a text a query looked for: all of them at once, in time that grows with the words.

A client's regular expression is read by an engine that never tries twice (Polars', in Rust, beside the other
threads), never by Python's. One that would be large once its repetitions are written out marks nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.index.query.regexps import written_out
from headrace.index.tantivy.words import edits

MOST_COMPARED: Final = 100
"""Of fuzzy words, prefixes and patterns each: all are compared with every word. The others mark nothing."""

LARGEST: Final = 500
"""Of all patterns together, written out: at worst each part is tried at every letter, 3 µs for a hundred."""


@dataclass(frozen=True, slots=True)
class Marker:
    """exact: words; starts: what words begin with; close: words and how many edits; regex: of whole words"""

    exact: frozenset[str] = frozenset()
    starts: tuple[str, ...] = ()
    close: tuple[tuple[str, int], ...] = ()
    regex: str | None = None

    def among(self, words: Iterable[str]) -> Collection[str]:
        """Those that were looked for."""
        known = set(words)
        found = known & self.exact
        left = known - found
        if self.starts:
            found |= {word for word in left if word.startswith(self.starts)}
        if self.close:
            found |= {word for word in left if self._is_close(word)}
        if self.regex is not None and left:
            series = pl.Series(sorted(left), dtype=pl.String)
            found |= set(series.filter(series.str.contains(self.regex)))
        return found

    def _is_close(self, word: str) -> bool:
        return any(edits(one, word, most) <= most for one, most in self.close)


def marker(
    exact: Iterable[str], starts: Iterable[str], close: Iterable[tuple[str, int]], regexes: Iterable[str]
) -> Marker:
    """Of what a query asks for; what would take too long to compare is left out."""
    near = tuple(dict.fromkeys(close))[:MOST_COMPARED]
    begun = tuple(dict.fromkeys(starts))[:MOST_COMPARED]
    return Marker(frozenset(exact), begun, near, _any(list(dict.fromkeys(regexes))[:MOST_COMPARED]))


def _any(regexes: Sequence[str]) -> str | None:
    """One for all that can be read and are small enough together."""
    kept: list[str] = []
    size = 0
    for each in regexes:
        more, grouped = written_out(each), f"(?:{each})"
        if size + more <= LARGEST and _readable(grouped):
            kept.append(grouped)
            size += more
    whole = rf"\A(?:{'|'.join(kept)})\z"
    return whole if kept and _readable(whole) else None


def _readable(regex: str) -> bool:
    try:
        pl.Series([""]).str.contains(regex)
    except pl.exceptions.ComputeError:
        return False
    return True
