"""Metrics: declared once, rendered as valid exposition, and joined over processes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.metrics import LATENCY_EDGES, Metrics, join


def families(page: bytes) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(page.decode()))
    assert len({family.name for family in found}) == len(found), "a family is described twice"
    return {family.name: family for family in found}


def value(page: bytes, sample: str, **labels: str) -> float:
    (found,) = (
        each.value
        for family in families(page).values()
        for each in family.samples
        if each.name == sample and each.labels == labels
    )
    return float(found)


def test_a_process_that_measures_has_loaded_its_configuration() -> None:
    """An alarm on 0 is quiet after a good start."""
    [sample] = families(Metrics().render())["headrace_config_last_reload_success"].samples
    assert 1.0 == sample.value


def test_what_is_counted_is_on_the_page() -> None:
    metrics = Metrics()
    metrics.records.labels("flights", "decode", "ok").inc(5_000)
    page = metrics.render()
    assert value(page, "headrace_records_total", pipeline="flights", stage="decode", outcome="ok") == 5_000


def test_every_declared_metric_is_on_the_page_under_its_name_type_and_help() -> None:
    metrics = Metrics()
    rendered = families(metrics.render())
    for name, _, kind, text in metrics.declared():
        family = rendered[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (kind, text)


def test_names_are_unique_and_say_their_unit() -> None:
    declared = Metrics().declared()
    assert len({each.name for each in declared}) == len(declared)
    assert all(each.name.startswith("headrace_") for each in declared)
    assert all(each.name.endswith("_total") == (each.type == "counter") for each in declared)


def test_the_page_for_operators_lists_each_metric_as_it_is_declared() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8").splitlines()
    for name, labels, kind, text in Metrics().declared():
        listed = ", ".join(f"`{label}`" for label in labels) or "none"
        assert f"| `{name}` | {kind} | {listed} | {text} |" in page


def test_no_metric_uses_the_label_that_joining_adds() -> None:
    assert all("process" not in each.labels for each in Metrics().declared())


def test_the_promised_latency_is_an_edge() -> None:
    assert 0.1 in LATENCY_EDGES
    assert (LATENCY_EDGES[0], LATENCY_EDGES[-1]) == (0.005, 10.0)
    metrics = Metrics()
    metrics.end_to_end_seconds.labels("flights").observe(0.1)
    page = metrics.render()
    assert value(page, "headrace_end_to_end_latency_seconds_bucket", pipeline="flights", le="0.1") == 1


def test_two_processes_in_one_interpreter_do_not_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.buffer_bytes.set(7)
    assert value(other.render(), "headrace_buffer_bytes") == 0


def test_a_breaker_is_in_exactly_one_state() -> None:
    metrics = Metrics()
    for state in ("open", "half_open"):
        metrics.set_breaker("airlines", state)
    family = families(metrics.render())["headrace_breaker_state"]
    assert {each.labels["state"]: each.value for each in family.samples} == {
        "closed": 0,
        "open": 0,
        "half_open": 1,
    }


def test_the_process_reports_its_own_memory_cpu_and_files() -> None:
    rendered = families(Metrics().render())
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= set(rendered)


def test_there_are_no_created_samples() -> None:
    metrics = Metrics()
    metrics.skipped.labels("flights").inc()
    assert b"_created" not in metrics.render()


def test_joined_pages_keep_every_sample_under_its_process() -> None:
    ingester, server = Metrics(), Metrics()
    ingester.skipped.labels("flights").inc(3)
    server.http_seconds.labels("/{index}/_search", "GET", "200").observe(0.02)
    page = join({"ingester": ingester.render(), "server": server.render()})
    assert value(page, "headrace_rows_skipped_total", pipeline="flights", process="ingester") == 3
    labels = {"route": "/{index}/_search", "method": "GET", "code": "200", "process": "server"}
    assert value(page, "headrace_http_request_duration_seconds_count", **labels) == 1
    assert {each.labels["process"] for each in families(page)["headrace_buffer_bytes"].samples} == {
        "ingester",
        "server",
    }


def test_joining_nothing_is_an_empty_page() -> None:
    assert join({}) == b""


@given(names=st.lists(st.text(max_size=12), unique=True, max_size=4), amounts=st.integers(0, 10**9))
def test_joining_changes_no_sample_whatever_its_labels_hold(names: list[str], amounts: int) -> None:
    pages = {}
    for process in ("a", "b"):
        metrics = Metrics()
        for name in names:
            metrics.in_flight_bytes.labels(name).set(amounts)
        pages[process] = metrics.render()
    joined = [s for family in families(join(pages)).values() for s in family.samples]
    apart = [s for page in pages.values() for family in families(page).values() for s in family.samples]
    assert len(joined) == len(apart)
    wanted = {(name, process) for name in names for process in pages}
    found = {
        (s.labels["pipeline"], s.labels["process"]) for s in joined if s.name == "headrace_in_flight_bytes"
    }
    assert found == wanted


def test_pages_without_descriptions_are_joined_too() -> None:
    joined = join({"a": b"up 1", "b": b"# comment\n\nup{} 0\n"})
    assert joined == b'up{process="a"} 1\nup{process="b"} 0\n'
