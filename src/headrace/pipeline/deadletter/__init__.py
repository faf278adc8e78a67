"""Dead letters: rejected records kept in SQLite, until they are fixed, replayed or purged.

A letter is written before the commit that covers its record, and is real only once that commit is durable:
the letter of record r is real if and only if r < the durable position of its partition (PROTOCOL 15).
Readers see real ones only; at start, and after a rollback, all others are deleted, for they come again.
"""

from __future__ import annotations

from headrace.pipeline.deadletter.letter import (
    DETAIL_CHARACTERS,
    ORIGINAL_BYTES,
    DeadLetter,
    letters,
    read_again,
)
from headrace.pipeline.deadletter.store import LIMIT, DeadLetters, DeadLettersFull, Settings
from headrace.pipeline.deadletter.view import DeadLetterView

__all__ = [
    "DETAIL_CHARACTERS",
    "LIMIT",
    "ORIGINAL_BYTES",
    "DeadLetter",
    "DeadLetterView",
    "DeadLetters",
    "DeadLettersFull",
    "Settings",
    "letters",
    "read_again",
]
