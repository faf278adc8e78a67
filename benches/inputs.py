"""Everything prepared before a clock starts, and the folders that measurements write into."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benches import records
from benches.scale import Scale


@dataclass(frozen=True)
class Inputs:
    """The files of one run, all in `work`."""

    work: Path

    @cached_property
    def scale(self) -> Scale:
        return Scale.load(self.work)

    @property
    def whole(self) -> Path:
        """All records that any measurement needs; the others are its first lines."""
        return self.work / "records.ndjson"

    @property
    def source(self) -> Path:
        return self._first(self.scale.records)

    @property
    def searched(self) -> Path:
        return self._first(self.scale.searched)

    @property
    def beside(self) -> Path:
        return self._first(self.scale.beside)

    @property
    def changed(self) -> Path:
        """The ids of `source` with other values."""
        return self.work / "changed.ndjson"

    @property
    def documents(self) -> Path:
        return self.work / "documents.jsonl"

    def prepare(self, scale: Scale) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        scale.save(self.work)
        with ProcessPoolExecutor(2) as pool:
            making = [
                pool.submit(records.write_input, self.whole, scale.most),
                pool.submit(records.write_documents, self.documents, scale.records),
                pool.submit(records.write_input, self.changed, scale.records, version=1),
            ]
            for each in making:
                each.result()
        for count in {scale.records, scale.searched, scale.beside} - {scale.most}:
            records.head(self.whole, self._first(count), count)

    def fresh(self, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _first(self, count: int) -> Path:
        return self.whole if count == self.scale.most else self.work / f"records-{count}.ndjson"
