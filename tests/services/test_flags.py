"""Feature flags as an operator uses them: one file, changed under a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
flags: flags.json
indexes:
  sales:
    type: tantivy
    memory: 32MB
    id: order
    fields: { order: keyword, price: float }
pipelines:
  sales:
    source: { type: files, paths: ["sales/*.ndjson"], format: ndjson, follow: true }
    transform:
      - set: { dear: "price > 10" }
        when: dear
    index: sales
  returns:
    when: returns
    source: { type: files, paths: ["returns/*.ndjson"], format: ndjson, follow: true }
    index: sales
"""


def write_flags(folder: Path, **on: bool) -> None:
    variants = {"on": True, "off": False}
    flags = {
        name: {"state": "ENABLED", "variants": variants, "defaultVariant": "on" if value else "off"}
        for name, value in on.items()
    }
    written = folder / "flags.new"
    written.write_text(json.dumps({"flags": flags}))
    written.rename(folder / "flags.json")


def write_sales(folder: Path, name: str, *orders: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.writelines(json.dumps({"order": order, "price": 20.5}) + "\n" for order in orders)


def source_of(running: Running, order: str) -> dict[str, Any]:
    found: dict[str, Any] = running.ask(f"/sales/_doc/{order}").get("_source", {})
    return found


def pipeline(running: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = running.ask(f"/api/pipelines/{name}")
    return found


def test_a_flag_file_changed_under_a_running_service_is_followed(tmp_path: Path) -> None:
    """A step is switched on, a paused pipeline resumes, a broken file keeps the last state and is said."""
    write_flags(tmp_path, dear=False, returns=False)
    write_sales(tmp_path, "sales/a.ndjson", "a1")
    write_sales(tmp_path, "returns/r.ndjson", "r1")
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.until(lambda: running.count("sales") == 1)
        assert "dear" not in source_of(running, "a1")
        assert ("ready", "paused by flag returns") == tuple(
            pipeline(running, "returns")[key] for key in ("state", "reason")
        )
        off = {"state": "off", "share": 0.0}
        assert [
            {"name": "dear", "used_by": [{"pipeline": "sales", "step": "set"} | off], "problem": ""},
            {"name": "returns", "used_by": [{"pipeline": "returns", "step": None} | off], "problem": ""},
        ] == running.ask("/api/flags")["flags"]

        write_flags(tmp_path, dear=True, returns=True)
        running.until(lambda: running.count("sales") == 2)
        assert "" == pipeline(running, "returns")["reason"]
        write_sales(tmp_path, "sales/a.ndjson", "a2")
        running.until(lambda: running.count("sales") == 3)
        assert source_of(running, "a2")["dear"] is True

        (tmp_path / "flags.json").write_text('{"flags": {')
        running.until(lambda: running.ask("/health/ready")["state"] == "degraded")
        ready = running.ask("/health/ready")
        (reason,) = ready["reasons"]
        assert reason.startswith("flags: flags.json: line 1: not JSON: Expecting property name")
        assert reason.endswith(": the last good state is kept")
        write_sales(tmp_path, "sales/a.ndjson", "a3")
        running.until(lambda: running.count("sales") == 4)
        assert source_of(running, "a3")["dear"] is True
        metrics = running.raw("/metrics")[1].decode()
        assert 'headrace_flags_last_reload_success{process="ingester"} 0.0' in metrics
        assert 'headrace_flag_enabled{process="ingester",flag="dear"} 1.0' in metrics
        assert 1 == len([e for e in running.events() if e["event"] == "flags.load_failed"])


def test_without_a_flag_file_every_flag_is_off_and_the_service_says_so(tmp_path: Path) -> None:
    write_sales(tmp_path, "sales/a.ndjson", "a1")
    with service(tmp_path, CONFIGURATION) as running:
        running.until(lambda: running.count("sales") == 1)
        ready = running.ask("/health/ready")
        assert "degraded" == ready["state"]
        assert ["flags: flags.json: the flag file is missing: every flag is off"] == ready["reasons"]
        assert "dear" not in source_of(running, "a1")
        write_flags(tmp_path, dear=True, returns=False)
        running.until(lambda: running.ask("/health/ready")["state"] == "ready")
