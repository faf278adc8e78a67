"""Templates and data streams on the whole service, as a shipper uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.running import service

BARE = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""


@pytest.mark.timeout(120)
def test_a_shipper_sets_up_its_stream_and_writes_to_it(tmp_path: Path) -> None:
    """The stream and its template are there after a restart; a rollover takes later writes elsewhere."""
    mappings = {"properties": {"level": {"type": "keyword"}, "old": {"type": "alias", "path": "level"}}}
    template = {"index_patterns": ["logs-*"], "data_stream": {}, "template": {"mappings": mappings}}
    lines = '{"create":{}}\n{"@timestamp":"2026-01-01T00:00:00Z","level":"warn and more"}\n'
    with service(tmp_path, BARE) as running:
        running.until_ready()
        assert running.ask("/_ilm/policy/logs", {"policy": {"phases": {}}}, method="PUT")["acknowledged"]
        assert running.ask("/_index_template/logs", template, method="PUT")["acknowledged"]
        status, _, answer = running.push("/logs-web/_bulk?refresh=true", lines * 3)
        assert (200, False) == (status, answer["errors"])
        first = answer["items"][0]["create"]["_index"]
        assert first.startswith(".ds-logs-web-")
    with service(tmp_path, BARE) as running:
        running.until_ready()
        [stream] = running.ask("/_data_stream/logs-*")["data_streams"]
        assert ("logs-web", first) == (stream["name"], stream["indices"][0]["index_name"])
        found = running.ask("/logs-*/_search", {"query": {"term": {"level": "warn and more"}}})
        assert 3 == found["hits"]["total"]["value"]
        second = running.ask("/logs-web/_rollover", {}, method="POST")["new_index"]
        _, _, answer = running.push("/logs-web/_bulk?refresh=true", lines)
        assert second == answer["items"][0]["create"]["_index"]
        assert 4 == running.count("logs-web")
        assert running.ask("/_data_stream/logs-web", method="DELETE")["acknowledged"]
        assert 404 == running.raw("/logs-web/_search")[0]
        assert [] == running.ask("/_cat/indices?format=json&expand_wildcards=all")
