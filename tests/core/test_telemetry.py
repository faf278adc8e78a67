"""Traces: off they are one question, on they reach a real collector over OTLP/HTTP."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector import Collector, collector
from flow.harness import configured, ingester
from headrace.core import telemetry
from headrace.core.errors import ConfigError
from headrace.core.log import configure, event
from headrace.testing import EOF, FaultyIndex, ScriptedSource
from services.running import free_port, service

log = logging.getLogger("headrace.tests")

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        yield found


@pytest.fixture
def traced(collected: Collector) -> Iterator[Callable[[], Collector]]:
    """Traces are on; the call ends them and gives what arrived."""
    stop = telemetry.start("ingester", "1.2.3")

    def finish() -> Collector:
        stop()
        return collected

    try:
        yield finish
    finally:
        stop()


class TestWhetherTracesAreOn:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, "none"),
            ({"OTEL_SERVICE_NAME": "x"}, "none"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "otlp"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "otlp"),
            ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
            ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, "none"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, "none"),
            ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "otlp"),
        ],
    )
    def test_the_standard_variables_say(self, environ: dict[str, str], expected: str) -> None:
        assert expected == telemetry.wanted(environ)

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"OTEL_TRACES_EXPORTER": "otpl"}, "unknown exporter 'otpl', did you mean 'otlp'"),
            (
                {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
                "'grpc' is not spoken here, only http/protobuf",
            ),
        ],
    )
    def test_what_cannot_be_done_is_refused(self, environ: dict[str, str], expected: str) -> None:
        with pytest.raises(ConfigError, match=expected):
            telemetry.wanted(environ)


CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
indexes:
  sales: { type: tantivy, memory: 32MB, fields: { n: integer } }
pipelines:
  sales:
    source: { type: files, paths: ["*.ndjson"] }
    index: sales
"""
RUN_ONCE = """\
import os, sys
{before}
from headrace.services import run_role
from headrace.settings import load
run_role("ingester", load("service.yaml"), once=True)
print([name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "requests")])
"""


def run_once(folder: Path, before: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "service.yaml").write_text(CONFIGURATION.replace("PORT", str(free_port())))
    (folder / "a.ndjson").write_text('{"n": 1}\n{"n": 2}\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", RUN_ONCE.format(before=before)],
        env=kept | environ,
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )


class TestOff:
    def test_nothing_is_imported_where_nothing_is_set(self, tmp_path: Path) -> None:
        assert "[]" == run_once(tmp_path).stdout.strip()

    def test_without_the_extra_a_service_runs_and_says_what_to_install(self, tmp_path: Path) -> None:
        before = (
            "sys.modules['opentelemetry'] = None; from headrace.core.log import configure; configure('json')"
        )
        done = run_once(tmp_path, before, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        said = [json.loads(line) for line in done.stderr.splitlines()]
        (warning,) = [line for line in said if line["event"] == "telemetry.unavailable"]
        assert ("warning", "install headrace[otel]") == (warning["level"], warning["next"])

    def test_a_span_is_nothing(self) -> None:
        assert not telemetry.is_on()
        with telemetry.span("read", pipeline="p", bytes=1) as trace:
            assert trace is None


class TestOn:
    @pytest.mark.anyio
    async def test_each_batch_has_one_span_per_stage_and_commits_link_to_theirs(
        self, tmp_path: Path, traced: Callable[[], Collector]
    ) -> None:
        source = ScriptedSource(*([{"n": number}] for number in range(3)), EOF)
        flow = ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": FaultyIndex()})
        await flow.run(until_finished=True)
        found = traced()
        reads = found.spans("headrace.read")
        assert 3 == len({span.trace for span in reads})
        assert ["", "", ""] == [span.parent for span in reads]
        assert [0, 1, 2] == sorted(span.attributes["headrace.first_record"] for span in reads)
        for stage in ("headrace.transform", "headrace.index.write"):
            spans = found.spans(stage)
            assert {(read.trace, read.id) for read in reads} == {(span.trace, span.parent) for span in spans}
            assert 3 == len(spans)
        commits = found.spans("headrace.commit")
        assert sorted(read.id for read in reads) == sorted(link for span in commits for link in span.links)
        assert len(commits) == len({span.trace for span in commits} - {read.trace for read in reads})
        assert {"i"} == {span.attributes["headrace.index"] for span in commits}
        resource = reads[0].resource
        assert ("headrace", "1.2.3", "ingester") == tuple(
            resource[name] for name in ("service.name", "service.version", "headrace.role")
        )
        assert "/v1/traces" == found.requests[0]["path"]

    @pytest.mark.anyio
    async def test_a_stage_that_fails_says_so_in_its_span(
        self, tmp_path: Path, traced: Callable[[], Collector]
    ) -> None:
        source = ScriptedSource([{"n": 1}], EOF)
        index = FaultyIndex(fail_writes=1)
        await ingester(configured(tmp_path, {"p": "i"}), {"p": source}, {"i": index}).run(until_finished=True)
        writes = traced().spans("headrace.index.write")
        assert [True, False] == [span.failed for span in writes]

    def test_log_records_inside_a_span_carry_its_ids(
        self, traced: Callable[[], Collector], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before, level = logging.getLogger().handlers[:], logging.getLogger("headrace").level
        configure("json", "info")
        try:
            with telemetry.span("read"):
                event(log.info, "inside.said")
                logging.getLogger("foreign").warning("prose")
            event(log.info, "outside.said")
        finally:
            logging.getLogger().handlers[:] = before
            logging.getLogger("headrace").setLevel(level)
        (span,) = traced().spans()
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        ids = [(line.get("trace_id"), line.get("span_id")) for line in lines]
        assert [(span.trace, span.id)] * 2 + [(None, None)] == ids

    def test_a_collector_that_is_away_does_not_keep_the_service(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
        stop = telemetry.start("server", "1")
        with telemetry.span("read"):
            pass
        started = time.monotonic()
        stop()
        assert time.monotonic() - started < telemetry.FLUSH_SECONDS + 1


def test_the_service_continues_the_trace_of_a_request_in_both_processes(
    tmp_path: Path, collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and ingester export under the configured name; probes are traced only where the asker traces."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    (tmp_path / "a.ndjson").write_text('{"n": 1}\n')
    asked = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    with service(tmp_path, CONFIGURATION) as running:
        running.until(lambda: running.count("sales") == 1)
        assert 200 == running.raw("/sales/_search", headers=asked)[0]
        assert 200 == running.raw("/api/pipelines", headers=asked)[0]
        running.until(lambda: len([s for s in collected.spans() if s.trace == TRACE]) == 3)
    spans = [span for span in collected.spans() if span.trace == TRACE]
    search = next(span for span in spans if span.name == "GET /{index}/_search")
    passed = [span for span in spans if span.name == "GET /api/pipelines"]
    pipelines, forwarded = sorted(passed, key=lambda span: span.resource["headrace.role"])
    assert (SPAN, SPAN) == (search.parent, forwarded.parent)
    assert forwarded.id == pipelines.parent
    assert ("server", "server", "ingester") == tuple(
        span.resource["headrace.role"] for span in (search, forwarded, pipelines)
    )
    assert {"shop"} == {span.resource["service.name"] for span in collected.spans()}
    assert 200 == search.attributes["http.response.status_code"]
    assert [] == [span for span in collected.spans() if "/health" in span.name]
    assert collected.spans("headrace.read")
