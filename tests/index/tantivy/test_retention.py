"""What is due is deleted with the next commit, and the numbers still agree."""

from __future__ import annotations

from pathlib import Path

from headrace.index.tantivy import Retention, store
from headrace.index.tantivy.options import Settings
from headrace.index.tantivy.retention import living_bytes
from headrace.index.tantivy.verify import verify
from headrace.index.tantivy.writer import Writer
from headrace.units import Duration, Size
from tick import TickClock
from writing import rows, sources

DAY = 86_400.0
NOW = 1_704_164_645.0  # 2024-01-02T03:04:05Z


class _Noon(TickClock):
    def time(self) -> float:
        return NOW


def _writer(directory: Path, retention: Retention) -> Writer:
    options = Settings(fields={"d": "date"}, retention=retention, memory=Size("20MB"), threads=1)
    made = Writer("i", directory, options, _Noon())
    made.open()
    return made


def test_documents_older_than_max_age_go_and_undated_ones_stay(tmp_path: Path) -> None:
    made = _writer(tmp_path / "i", Retention(max_age=Duration(DAY), field="d"))
    young, old = {"d": "2024-01-01T12:00:00Z"}, {"d": "2024-01-01T03:04:04Z"}
    made.write(rows(old, young, {"x": 1}))
    made.commit()
    assert made.retain() == 1
    made.commit()
    assert made.retain() == 0
    made.close()
    assert sources(tmp_path / "i") == [young, {"x": 1}]
    assert verify(tmp_path / "i").problems == []


def test_an_index_above_max_bytes_loses_its_oldest_documents(tmp_path: Path) -> None:
    limit = 60_000
    made = _writer(tmp_path / "i", Retention(max_bytes=Size(limit)))
    for number in range(20):
        made.write(rows(*({"n": number, "t": f"{number * i:x}" * 9} for i in range(200)), first=number * 200))
        made.retain()
        made.commit()
    for _ in range(3):
        made.retain()
        made.commit()
    made.close()
    left = [source["n"] for source in sources(tmp_path / "i")]
    assert 0 < len(left) < 4000
    assert left[-1] == 19
    assert left == sorted(left)
    assert living_bytes(tmp_path / "i" / store.ENGINE) <= limit * 1.2
    assert verify(tmp_path / "i").problems == []


def test_an_empty_index_has_nothing_due(tmp_path: Path) -> None:
    made = _writer(tmp_path / "i", Retention(max_age=Duration(DAY), field="d", max_bytes=Size(1)))
    assert made.retain() == 0
    made.close()
