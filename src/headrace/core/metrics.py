"""Every metric, declared once; counted per batch, never per record (one `inc` costs half a microsecond).

Labels have bounded values: a pipeline, a stage, a reason code; never a path, an id or a message. Each
process renders its own page; `join` makes one of them under the label `process`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

LATENCY_EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""5 ms to 10 s; 0.1 is an edge because "searchable within 100 ms" is what is promised."""

STAGE_STATES: Final = ("busy", "blocked", "starved")
BREAKER_STATES: Final = ("closed", "open", "half_open")


class Declared(NamedTuple):
    """A metric as the documentation lists it."""

    name: str
    labels: tuple[str, ...]
    type: str
    help: str


class Metrics:
    """The metrics of one process, on a registry of their own, so that two can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._declared: list[Declared] = []
        self._declare_flow()
        self._declare_durations()
        self._declare_troubles()
        self._declare_process()

    def _declare_flow(self) -> None:
        self.records = self._counter(
            "headrace_records_total",
            "pipeline stage outcome",
            "Records by the stage they passed and what became of them there",
        )
        self.bytes = self._counter(
            "headrace_bytes_total",
            "pipeline stage direction",
            "Bytes that went into and out of a stage",
        )
        self.in_flight_records = self._gauge(
            "headrace_in_flight_records",
            "pipeline",
            "Records read and not yet committed",
        )
        self.in_flight_bytes = self._gauge(
            "headrace_in_flight_bytes",
            "pipeline",
            "Bytes of memory held by records not yet committed",
        )
        self.channel_fill = self._gauge(
            "headrace_channel_fill_ratio",
            "channel",
            "0 empty, 1 full, by the nearer of its two bounds",
        )
        self.source_lag = self._gauge(
            "headrace_source_lag_records",
            "pipeline",
            "Units (records, or bytes where records are unknown) known to exist and not yet read",
        )
        self.source_lag_seconds = self._gauge(
            "headrace_source_lag_seconds",
            "pipeline",
            "Age of the oldest record not yet committed",
        )
        self.skipped = self._counter(
            "headrace_rows_skipped_total",
            "pipeline",
            "Rows read again after a restart and already committed",
        )
        self.epochs = self._counter(
            "headrace_file_epochs_total",
            "pipeline",
            "Files found replaced or truncated, and read anew",
        )

    def _declare_durations(self) -> None:
        self.stage_seconds = self._counter(
            "headrace_stage_seconds_total",
            "pipeline stage state",
            "Time a stage was busy, blocked by the next one, or starved by the one before",
        )
        self.commit_seconds = self._histogram(
            "headrace_commit_duration_seconds",
            "index",
            "Time a commit of an index took",
        )
        self.end_to_end_seconds = self._histogram(
            "headrace_end_to_end_latency_seconds",
            "pipeline",
            "From a record's acceptance to its being searchable",
        )
        self.http_seconds = self._histogram(
            "headrace_http_request_duration_seconds",
            "route method code",
            "Time to answer an HTTP request",
        )

    def _declare_troubles(self) -> None:
        self.dead_letters = self._gauge(
            "headrace_dead_letters",
            "pipeline",
            "Dead letters kept, of records committed as rejected",
        )
        self.retries = self._counter(
            "headrace_retries_total",
            "dependency reason",
            "Calls tried again, by the reason of the failure",
        )
        self.breaker_state = self._gauge(
            "headrace_breaker_state",
            "dependency state",
            "1 for the state a breaker is in, 0 for the others",
        )
        self.restarts = self._counter(
            "headrace_pipeline_restarts_total",
            "pipeline",
            "Pipelines started again after a failure",
        )
        self.ledger_imbalance = self._gauge(
            "headrace_ledger_imbalance_records",
            "pipeline",
            "Records read less those indexed, rejected and dropped; anything but 0 is a bug",
        )

    def _declare_process(self) -> None:
        self.buffer_bytes = self._gauge(
            "headrace_buffer_bytes",
            "",
            "Bytes held by the durable buffer",
        )
        self.config_reload = self._gauge(
            "headrace_config_last_reload_success",
            "",
            "1 if the configuration was last loaded without error",
        )
        # Who measures was started with one; a configuration that cannot be loaded ends the process before.
        self.config_reload.set(1)
        self.flags_reload = self._gauge(
            "headrace_flags_last_reload_success",
            "",
            "1 if the flag file was last read without a problem",
        )
        self.flag_enabled = self._gauge(
            "headrace_flag_enabled",
            "flag",
            "1 on, 0 off, between them the share of keys; NaN where the rule looks at each key",
        )
        self.build_info = self._gauge(
            "headrace_build_info",
            "version",
            "1, labelled with the version",
        )
        self.build_info.labels(_version()).set(1)
        # Registers itself: CPU time, memory, open files and start time of this process.
        ProcessCollector(registry=self.registry)

    def set_breaker(self, dependency: str, state: str) -> None:
        """Mark the one state `dependency`'s breaker is in; fits `Breaker(on_change=…)`."""
        for each in BREAKER_STATES:
            self.breaker_state.labels(dependency, each).set(each == state)

    def declared(self) -> list[Declared]:
        """Every metric of ours, for the documentation and its test."""
        return list(self._declared)

    def render(self) -> bytes:
        """The page of this process, in Prometheus' text format."""
        return generate_latest(_WithoutCreated(self.registry))

    def _counter(self, name: str, labels: str, text: str) -> Counter:
        self._note(name, labels.split(), "counter", text)
        return Counter(name, text, labels.split(), registry=self.registry)

    def _gauge(self, name: str, labels: str, text: str) -> Gauge:
        self._note(name, labels.split(), "gauge", text)
        return Gauge(name, text, labels.split(), registry=self.registry)

    def _histogram(self, name: str, labels: str, text: str) -> Histogram:
        self._note(name, labels.split(), "histogram", text)
        return Histogram(name, text, labels.split(), registry=self.registry, buckets=LATENCY_EDGES)

    def _note(self, name: str, labels: list[str], kind: str, text: str) -> None:
        self._declared.append(Declared(name, tuple(labels), kind, text))


class _WithoutCreated(Collector):
    """A registry without its `_created` samples: they double the page and nobody asks for them.

    The client library could switch them off, but only for the whole process that embeds us.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?P<labels>\{)?(?P<rest>.*)")


class _Family:
    """Lines of one metric, from all pages: described once, samples together."""

    def __init__(self) -> None:
        self.described: dict[str, str] = {}
        self.samples: list[str] = []

    def lines(self) -> list[str]:
        return [*(self.described[key] for key in ("HELP", "TYPE") if key in self.described), *self.samples]


def join(pages: Mapping[str, bytes]) -> bytes:
    """One page of several processes' pages, each sample labelled with the `process` it came from.

    Families that several pages have are described once (by the first) and their samples stand
    together, as the format demands.
    """
    families: dict[str, _Family] = {}
    for process, page in pages.items():
        _add_page(families, process, page.decode())
    lines = [line for family in families.values() for line in family.lines()]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _add_page(families: dict[str, _Family], process: str, page: str) -> None:
    current = ""
    for line in page.split("\n"):
        if line.startswith(("# HELP ", "# TYPE ")):
            _, what, current, *_ = line.split(" ", 3)
            families.setdefault(current, _Family()).described.setdefault(what, line)
        elif line and not line.startswith("#") and (sample := SAMPLE.fullmatch(line)):
            # Samples follow the description of their family; `x_bucket` belongs to `x`.
            name = sample["name"]
            family = current if current and name.startswith(current) else name
            families.setdefault(family, _Family()).samples.append(_labelled(sample, process))


def _labelled(sample: re.Match[str], process: str) -> str:
    if sample["labels"] is None:
        return f'{sample["name"]}{{process="{process}"}}{sample["rest"]}'
    separator = "" if sample["rest"].startswith("}") else ","
    return f'{sample["name"]}{{process="{process}"{separator}{sample["rest"]}'


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
