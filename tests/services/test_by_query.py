"""Writes by query on the whole service: what the engine holds is what was counted, and transforms run once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.running import service

STEPS = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
indexes:
  things: { type: tantivy, fields: { n: integer, twice: integer } }
  keyed: { type: tantivy, fields: { n: integer }, id: n }
pipelines:
  things:
    source: { type: http_push }
    transform:
      - set: { twice: "n * 2" }
      - where: "n < 100"
    index: things
  keyed:
    source: { type: http_push }
    index: keyed
"""


@pytest.mark.timeout(120)
def test_what_a_query_finds_is_deleted_touched_and_copied(tmp_path: Path) -> None:
    with service(tmp_path, STEPS) as running:
        running.until_ready()
        lines = "".join(f'{{"index":{{"_id":"{n}"}}}}\n{json.dumps({"n": n})}\n' for n in range(50))
        assert 200 == running.push("/things/_bulk?refresh=true", lines)[0]
        found = running.ask(
            "/things/_delete_by_query?refresh=true&scroll_size=7", {"query": {"range": {"n": {"gte": 40}}}}
        )
        assert (10, 10, 2) == (found["total"], found["deleted"], found["batches"])
        assert 40 == running.count("things")
        before = running.ask("/things/_doc/3")
        found = running.ask("/things/_update_by_query?refresh=true", {})
        assert (40, 40, 0) == (found["total"], found["updated"], found["version_conflicts"])
        after = running.ask("/things/_doc/3")
        assert before["_source"] == after["_source"] == {"n": 3, "twice": 6}
        assert before["_seq_no"] < after["_seq_no"]
        found = running.ask(
            "/_reindex?refresh=true", {"source": {"index": "things", "size": 9}, "dest": {"index": "copy"}}
        )
        assert (40, 40) == (found["total"], found["created"])
        assert {"n": 3, "twice": 6} == running.ask("/copy/_doc/3")["_source"]
        found = running.ask(
            "/_reindex?refresh=true", {"source": {"index": "copy"}, "dest": {"index": "keyed"}}
        )
        assert (40, []) == (found["created"], found["failures"])
        assert 40 == running.count("keyed")
        # What is written and not searchable yet was changed since it was found.
        running.ask("/copy/_doc/5", {"n": 500}, method="PUT")
        found = running.ask(
            "/copy/_delete_by_query?conflicts=proceed&refresh=true", {"query": {"match_all": {}}}
        )
        assert 40 == found["deleted"] + found["version_conflicts"]
        assert found["version_conflicts"] == running.count("copy")
        assert (
            running.ask("/keyed/_delete_by_query?refresh=true", {"query": {"match_all": {}}})["deleted"] == 40
        )
        assert 0 == running.count("keyed")
