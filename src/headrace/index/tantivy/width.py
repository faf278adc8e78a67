"""How many of the engine's threads are worth their price: one for small commits, all for large ones.

Each thread makes a segment of its own in each commit, and each segment has a cost that does not depend on its
documents: a dictionary's builder for every indexed field, files, and the merges that follow. With commits of
1,000 documents two threads cost twice the CPU of one, with those of 100,000 they are worth their place (see
`docs/decisions/0062-threads-by-commit.md`). The engine's number of threads is fixed when its writer opens,
so a change means a new writer, and is made only where the last commits agree.
"""

from __future__ import annotations

from typing import Final

from headrace.index.tantivy.heap import LEAST_PER_THREAD

LARGE: Final = 20_000
SMALL: Final = 8_000
"""Documents of one commit; between the two, all stays as it is."""

AGREEING: Final = 4
"""So many small commits in a row make the writer narrow; one large commit makes it wide."""


class Width:
    """The number of threads for the next writer, by the commits of the last ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._small = 0
        self.threads = most

    def memory(self, most: int) -> int:
        """Bytes for the next writer. The engine sizes its tables by them, and walks through them in each
        commit, however few terms there are: a narrow writer gets the least."""
        return min(most, LEAST_PER_THREAD) if self.threads < self._most else most

    def committed(self, rows: int) -> bool:
        """Whether the writer should be opened anew after a commit of so many documents."""
        before = self.threads
        self._small = self._small + 1 if rows < SMALL else 0
        if rows >= LARGE:
            self.threads = self._most
        elif self._small >= AGREEING:
            self.threads = 1
        return self.threads != before
