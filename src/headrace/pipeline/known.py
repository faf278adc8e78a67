"""The columns a pipeline's records were seen to have, kept for its next start.

Expressions are bound against a sample, and the sample of tomorrow's start may lack a field that today's
had: a name that was good once must not be called misspelt after a restart. Types stay as first seen.
"""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl

from headrace.core.log import event

log = logging.getLogger(__name__)


class KnownColumns:
    """An Arrow file without rows: names and types, in the folder of the pipeline's state."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def schemas(self) -> list[pl.Schema]:
        """What is known: one schema, or none. A damaged file is as good as none, and said."""
        try:
            return [pl.Schema(pl.read_ipc_schema(self._path))]
        except FileNotFoundError:
            return []
        except (OSError, pl.exceptions.PolarsError) as error:
            event(log.warning, "pipeline.columns_forgotten", path=str(self._path), error=str(error))
            return []

    def remember(self, schema: pl.Schema) -> None:
        """Keep it; nothing is written where it is known already."""
        if self.schemas() == [schema]:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".tmp")
        pl.DataFrame(schema=schema).write_ipc(new)
        new.replace(self._path)
