"""`kill -9` of the ingester while requests are accepted: afterwards every record is there exactly once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from flow.crash import Campaign, line_of
from headrace.buffer.base import Entry
from ingest.http_push.pushing import bulk, entry, push

CONFIGURATION = """\
data_dir: data
commit_interval: 50ms
disk_reserve: 1MB
indexes:
  records:
    type: tantivy
    {key}
    memory: 32MB
    fields: {{ n: integer, word: keyword, text: text }}
pipelines:
  records:
    source: {{ type: http_push }}
    transform:
      - validate: {{ n: {{ min: 0 }} }}
      - set: {{ double: "n * 2" }}
    index: records
    batch_bytes: 64kB
"""


@dataclass
class Pushed(Campaign):
    """The test is the server: it appends to the buffer, in each kind of request."""

    def __post_init__(self) -> None:
        super().__post_init__()
        key = "id: n" if self.declared_id else ""
        self.config.write_text(CONFIGURATION.format(key=key))

    def _write(self, count: int) -> None:
        if count <= 0:
            return
        lines = [line_of(number).encode() for number in range(self.written, self.written + count)]
        self.written += count
        entries: list[Entry] = []
        while lines:
            size = self.dice.choice([1, 10, 300])
            entries.append(self._request(lines[:size]))
            lines = lines[size:]
        anyio.run(push, self.folder / "data", *entries)

    def _request(self, lines: list[bytes]) -> Entry:
        kind = self.dice.choice(["bulk", "ndjson", "json"])
        if kind == "bulk":
            return bulk(*[line.rstrip() for line in lines], log="records")
        body = (
            b"".join(lines) if kind == "ndjson" else json.dumps([json.loads(one) for one in lines]).encode()
        )
        return entry(body, kind=kind, log="records")


@pytest.mark.parametrize("declared_id", [False, True], ids=["derived", "declared"])
def test_after_kills_every_pushed_record_is_there_exactly_once(tmp_path: Path, declared_id: bool) -> None:
    Pushed(tmp_path, records=8_000, kills=3, follow=True, declared_id=declared_id, seed=3).run()


@pytest.mark.torture
@pytest.mark.parametrize("declared_id", [False, True], ids=["derived", "declared"])
def test_after_25_kills_every_pushed_record_is_there_exactly_once(tmp_path: Path, declared_id: bool) -> None:
    Pushed(tmp_path, records=100_000, kills=25, follow=True, declared_id=declared_id, seed=9).run()
