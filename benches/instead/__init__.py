"""What a Python user would pick instead, each as its own manual would have it, one small file a kind.

All get the same lines and the same questions; `measure_beside` compares what they answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

KINDS: Final = ("headrace", "tantivy", "sqlite", "duckdb", "postgres", "lancedb")

BATCH: Final = 10_000
"""Records that are made durable together, where the kind leaves that to its user."""

Record = dict[str, Any]


class Absent(Exception):
    """What this kind needs is not on this machine; the message says what."""


@dataclass(frozen=True)
class Question:
    """kind: `term` (records with this id), `phrase` (these words, in order, in the message), `filter`
    (service, level error and ts before, newest ten), `terms` (mean of dur per service, status from on)."""

    kind: str
    value: Any
    service: str = ""


class Store(Protocol):
    """One kind, made by its module's `create(folder)`, which raises Absent."""

    told: str
    """What it is, with its version."""

    def load(self, source: Path) -> None:
        """Every line of a file: parsed, indexed, durable and searchable when this returns."""
        ...

    def add(self, records: Sequence[Record]) -> None:
        """A few more; durable and searchable when this returns."""
        ...

    def ask(self, question: Question) -> int:
        """How many rows the answer has (of `terms`: how many groups), after fetching it."""
        ...

    def close(self) -> None: ...


def create(kind: str, folder: Path) -> Store:
    """Raises Absent."""
    made: Store = importlib.import_module(f"benches.instead.{kind}_").create(folder)
    return made


def library(name: str) -> Any:
    """A module that is not one of ours. Raises Absent."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(f"{name} is not installed (pip install --group bench)") from error
