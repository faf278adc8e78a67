"""http_lookup: each distinct key is asked for once, and what an outage does to a record is what was declared."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.core.breaker import State
from headrace.core.dependency import Dependencies
from headrace.core.errors import BreakerOpen, ConfigError, Retryable
from headrace.core.health import Health
from headrace.core.metrics import Metrics
from headrace.fields import Field, parse_field
from headrace.model import RECORD
from headrace.testing import TransformContract
from headrace.transform import http_lookup
from headrace.transform.base import TransformContext
from headrace.transform.http_lookup.answers import MISSED, Cache, Found
from headrace.transform.http_lookup.options import ENTRY_BYTES, CacheSettings
from headrace.transform.http_lookup.service import LONGEST_WAIT
from headrace.transform.http_lookup.step import HttpLookup
from headrace.units import decode
from hostile import BROKEN, CUT, RESET, TRUNCATED, Fault, Hostile, Request, Response, as_json, serving
from tick import TickClock

from .frames import assert_lawful, frame_of, kept

CUSTOMERS = {
    "a": {"name": "Ada", "address": {"country": "GB"}, "age": 36, "tags": ["x", "y"]},
    "b": {"name": "Bob", "address": {"country": "US"}, "age": 41, "tags": []},
    "ü/1": {"name": "Ünal", "age": "7"},
    "7": {"name": "Seven", "age": None},
}


def customers(request: Request) -> Response:
    """`GET /customers/KEY` and `POST /bulk`, as one would build them."""
    from urllib.parse import unquote

    if request.method == "POST":
        wanted = request.json()["keys"]
        return as_json({"found": {key: CUSTOMERS[key] for key in wanted if key in CUSTOMERS}})
    key = unquote(request.path.removeprefix("/customers/"))
    return as_json(CUSTOMERS[key]) if key in CUSTOMERS else Response(404, b"no such customer")


class Bench:
    """A step in front of a server, and a clock held in the hand."""

    def __init__(self, server: Hostile) -> None:
        self.server = server
        self.clock = TickClock()
        self.health = Health(self.clock)
        self.metrics = Metrics()
        self.dependencies = Dependencies(self.clock, self.metrics, self.health, wait=self.clock.advance)
        self.steps: list[HttpLookup] = []

    def step(self, fields: dict[str, Field] | None = None, **options: Any) -> HttpLookup:
        settings = msgspec.convert({**self.options(), **options}, http_lookup.Settings, dec_hook=decode)
        context = TransformContext(
            "geo", Path(), self.clock, fields or {}, pipeline="p", dependencies=self.dependencies
        )
        made = http_lookup.create(settings, context)
        self.steps.append(made)
        return made

    def options(self) -> dict[str, Any]:
        return {"url": f"{self.server.url}/customers/{{customer}}", "key": "customer", "add": ["name"]}

    def batched(self) -> dict[str, Any]:
        return {"url": f"{self.server.url}/bulk", "mode": "post_batch", "results": "found"}

    def state(self) -> State:
        """The breaker's."""
        return self.dependencies.get("lookup:p.geo").breaker.state

    @property
    def asked(self) -> list[str]:
        return sorted(request.path.removeprefix("/customers/") for request in self.server.requests)

    def always(self, fault: Fault) -> None:
        self.server.faults.extend([fault] * 1000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with serving(customers) as server:
        made = Bench(server)
        yield made
        for step in made.steps:
            step.close()


ORDERS = frame_of(customer=["b", "x", None, "a", "b", "ü/1", ""], n=range(7))

KNOWN = frame_of(customer=["b", "a", None, "b", "ü/1", ""], n=range(6))


def test_found_values_are_added_in_order_and_each_distinct_key_is_asked_for_once(bench: Bench) -> None:
    step = bench.step()
    assert step.bind(ORDERS.schema)["name"] == pl.String
    outcome = step.apply(ORDERS)
    assert outcome.frame["name"].to_list() == ["Bob", None, None, "Ada", "Bob", "Ünal", None]
    assert (kept(outcome), outcome.frame.columns) == (list(range(7)), ["_record", "customer", "n", "name"])
    assert bench.asked == ["%C3%BC%2F1", "a", "b", "x"]


def test_one_post_asks_for_many_keys(bench: Bench) -> None:
    step = bench.step(**bench.batched(), batch_keys=3)
    step.bind(ORDERS.schema)
    assert step.apply(ORDERS).frame["name"].to_list() == ["Bob", None, None, "Ada", "Bob", "Ünal", None]
    assert sorted(request.json()["keys"] for request in bench.server.requests) == [["b", "x", "a"], ["ü/1"]]


def test_a_list_of_items_is_matched_by_its_own_key(bench: Bench) -> None:
    bench.server.api = lambda _: as_json([{"id": {"no": 7}, "name": "Seven"}, {"name": "nobody"}, 5])
    step = bench.step(**bench.batched() | {"results": ""}, item_key="id.no")
    frame = frame_of(customer=[7, 8])
    step.bind(frame.schema)
    assert step.apply(frame).frame["name"].to_list() == ["Seven", None]


def test_several_key_fields_stand_where_the_url_says(bench: Bench) -> None:
    bench.server.api = lambda request: as_json({"name": request.path + request.query["d"]})
    step = bench.step(url=f"{bench.server.url}/{{country}}?d={{day}}", key=["day", "country"])
    frame = frame_of(country=["no", "se"], day=[1, None])
    step.bind(frame.schema)
    assert step.apply(frame).frame["name"].to_list() == ["/no1", None]


def test_what_is_known_is_not_asked_for_until_its_time_is_over(bench: Bench) -> None:
    step = bench.step(cache={"ttl": "1h", "negative_ttl": "1m"})
    step.bind(ORDERS.schema)
    step.apply(ORDERS)
    first = len(bench.server.requests)
    step.apply(ORDERS)
    assert len(bench.server.requests) == first == 4
    bench.clock.advance(60)
    step.apply(ORDERS)
    assert [request.path for request in bench.server.requests[first:]] == ["/customers/x"]
    bench.clock.advance(3600)
    step.apply(ORDERS)
    assert len(bench.server.requests) == first + 1 + 4


def test_a_miss_can_be_kept_rejected_or_get_a_default(bench: Bench) -> None:
    rejecting = bench.step(on_miss="reject")
    rejecting.bind(ORDERS.schema)
    outcome = rejecting.apply(ORDERS)
    assert kept(outcome) == [0, 3, 4, 5]
    assert [(r.record, r.stage, r.reason, r.detail) for r in outcome.rejections] == [
        (1, "geo", "lookup_miss", "customer='x': the service does not know it"),
        (2, "geo", "lookup_miss", "customer=None: the service does not know it"),
        (6, "geo", "lookup_miss", "customer='': the service does not know it"),
    ]
    defaulting = bench.step(on_miss="default", default={"name": "somebody"})
    defaulting.bind(ORDERS.schema)
    assert defaulting.apply(ORDERS).frame["name"].to_list()[:3] == ["Bob", "somebody", "somebody"]
    own = ORDERS.with_columns(name=pl.lit("own"))
    keeping = bench.step()
    keeping.bind(own.schema)
    assert keeping.apply(own).frame["name"].to_list()[:3] == ["Bob", "own", "own"]


def test_added_fields_have_the_types_that_are_declared(bench: Bench) -> None:
    step = bench.step(
        {"age": Field("integer"), "tags": parse_field("keyword[]")},
        add={"age": "age", "tags": "tags", "second": "tags.1", "country": "address.country", "years": "age"},
        types={"years": "float"},
    )
    frame = frame_of(customer=["a", "b", "ü/1", "7"])
    bound = step.bind(frame.schema)
    rows = step.apply(frame).frame
    assert {name: dtype for name, dtype in rows.schema.items() if name in bound} == dict(bound)
    assert rows.drop(RECORD, "customer").rows() == [
        (36, ["x", "y"], "y", "GB", 36.0),
        (41, [], None, "US", 41.0),
        (7, None, None, None, 7.0),
        (None, None, None, None, None),
    ]


def test_a_value_that_cannot_become_its_type_rejects_its_records_only(bench: Bench) -> None:
    step = bench.step(add={"age": "name"}, types={"age": "integer"}, on_outage="keep_marked")
    frame = frame_of(customer=["a", "x", "a"])
    step.bind(frame.schema)
    outcome = step.apply(frame)
    assert kept(outcome) == [1]
    assert [(r.record, r.reason, r.detail) for r in outcome.rejections] == [
        (at, "lookup_wrong_type", "customer='a': age: the service answered 'Ada', expected integer")
        for at in (0, 2)
    ]


def test_headers_are_sent_and_never_shown(bench: Bench) -> None:
    step = bench.step(headers={"Authorization": "Bearer s3cret"})
    step.bind(ORDERS.schema)
    step.apply(ORDERS)
    assert bench.server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(step._settings)


class TestAnOutage:
    """Each policy, with a service that is down in each of the ways a service can be."""

    FAULTS = pytest.mark.parametrize(
        "fault",
        [
            BROKEN,
            RESET,
            CUT,
            TRUNCATED,
            Fault(status=429),
            Fault(body=b"<html>we are down</html>", headers={"content-type": "text/html"}),
            Fault(hang=0.2),
            Fault(status=401),
            Fault(status=302, headers={"location": "http://127.0.0.1:1/elsewhere"}),
            Fault(body=gzip.compress(b"0" * 100_000), headers={"content-encoding": "gzip"}),
        ],
        ids=["500", "reset", "cut", "truncated", "429", "html", "drip", "401", "redirect", "gzip"],
    )

    @FAULTS
    @pytest.mark.parametrize("mode", ["get_each", "post_batch"])
    def test_kept_records_are_marked(self, bench: Bench, fault: Fault, mode: str) -> None:
        options = bench.batched() if mode == "post_batch" else {}
        step = bench.step(**options, on_outage="keep_marked", timeout="200ms", patience="1s")
        assert step.bind(KNOWN.schema)["enriched"] == pl.Boolean
        bench.always(fault)
        outcome = step.apply(KNOWN)
        assert outcome.frame["enriched"].to_list() == [False, False, True, False, False, True]
        assert outcome.frame["name"].null_count() == 6
        assert outcome.rejections == ()

    @FAULTS
    def test_records_can_be_rejected(self, bench: Bench, fault: Fault) -> None:
        step = bench.step(on_outage="reject", timeout="200ms", patience="1s")
        step.bind(KNOWN.schema)
        bench.always(fault)
        outcome = step.apply(KNOWN)
        assert kept(outcome) == [2, 5]
        assert {rejection.reason for rejection in outcome.rejections} == {"lookup_unavailable"}

    @FAULTS
    def test_the_pipeline_can_be_held_and_goes_on_where_it_was(self, bench: Bench, fault: Fault) -> None:
        step = bench.step(timeout="200ms", patience="1s")
        step.bind(KNOWN.schema)
        bench.always(fault)
        with pytest.raises(Retryable, match="geo waits for its service"):
            step.apply(KNOWN)
        bench.server.faults.clear()
        bench.clock.advance(60)
        assert step.apply(KNOWN).frame["name"].to_list()[:2] == ["Bob", "Ada"]

    def test_what_was_answered_before_it_is_not_asked_for_again(self, bench: Bench) -> None:
        """A batch of many keys gets on from one attempt to the next, however short the good times are."""
        step = bench.step(concurrency=1)
        frame = frame_of(customer=["a", "b", "7"])
        step.bind(frame.schema)
        bench.server.faults.extend([None, *([BROKEN] * 100)])
        with pytest.raises(Retryable):
            step.apply(frame)
        bench.server.faults.clear()
        bench.server.requests.clear()
        bench.clock.advance(60)
        step.apply(frame)
        assert bench.asked == ["7", "b"]

    def test_a_short_one_is_bridged_by_retries(self, bench: Bench) -> None:
        step = bench.step(on_outage="keep_marked")
        step.bind(ORDERS.schema)
        bench.server.faults.extend([BROKEN, RESET])
        assert step.apply(ORDERS).frame["enriched"].all()

    def test_an_open_breaker_costs_no_request_until_a_probe_finds_the_service_back(
        self, bench: Bench
    ) -> None:
        step = bench.step(on_outage="keep_marked")
        step.bind(ORDERS.schema)
        bench.always(BROKEN)
        for _ in range(3):
            step.apply(ORDERS)
        assert bench.state() is State.OPEN
        assert "breaker:lookup:p.geo" in bench.health.snapshot().components
        reached = len(bench.server.requests)
        for _ in range(20):
            assert not step.apply(ORDERS).frame["enriched"][0]
        assert len(bench.server.requests) == reached
        bench.server.faults.clear()
        bench.clock.advance(5)
        assert step.apply(ORDERS).frame["enriched"].all()
        assert bench.state() is State.CLOSED

    def test_twenty_concurrent_pipelines_reach_a_dead_service_with_probes_only(self, bench: Bench) -> None:
        """Counted at the service: while the breaker is open nothing comes, then one request for all of them."""
        bench.always(BROKEN)
        steps = [bench.step(on_outage="keep_marked") for _ in range(20)]
        for step in steps:
            step.bind(KNOWN.schema)
        while bench.state() is not State.OPEN:
            steps[0].apply(KNOWN)
        reached = len(bench.server.requests)
        for probes, wait in ((0, 5), (1, 10), (2, 20), (3, 0)):
            with ThreadPoolExecutor(20) as threads:
                outcomes = list(threads.map(lambda step: step.apply(KNOWN), steps))
            assert not any(outcome.frame["enriched"][0] for outcome in outcomes)
            assert len(bench.server.requests) == reached + probes
            # A little more: the sum of two floats may fall short of what was added by one bit.
            bench.clock.advance(wait + 0.001)

    def test_a_held_pipeline_is_told_when_to_come_back(self, bench: Bench) -> None:
        step = bench.step()
        step.bind(ORDERS.schema)
        bench.dependencies.get("lookup:p.geo").breaker.force("open")
        with pytest.raises(Retryable, match="held so by an operator") as held:
            step.apply(ORDERS)
        assert isinstance(held.value.__cause__, BreakerOpen)
        assert held.value.after == 1

    @pytest.mark.parametrize(
        ("said", "after"),
        [("7", 7), ("86400", LONGEST_WAIT), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None)],
    )
    def test_the_wait_that_the_service_names_is_kept_within_reason(
        self, bench: Bench, said: str, after: float | None
    ) -> None:
        step = bench.step(patience="5s")
        step.bind(ORDERS.schema)
        bench.always(Fault(status=503, headers={"retry-after": said}))
        with pytest.raises(Retryable) as held:
            step.apply(frame_of(customer=["a"], n=[1]))
        assert held.value.after == after

    def test_a_service_that_refuses_us_does_not_open_the_breaker(self, bench: Bench) -> None:
        step = bench.step(on_outage="keep_marked")
        step.bind(ORDERS.schema)
        bench.always(Fault(status=403))
        for _ in range(10):
            step.apply(ORDERS)
        assert bench.state() is State.CLOSED

    def test_its_begin_and_its_end_are_said_once(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "headrace.transform")
        step = bench.step(on_outage="keep_marked", cache={"ttl": "0"})
        step.bind(ORDERS.schema)
        bench.always(Fault(status=403))
        for _ in range(5):
            step.apply(ORDERS)
        bench.server.faults.clear()
        for _ in range(5):
            step.apply(ORDERS)
        told = [record.getMessage().split()[0] for record in caplog.records]
        assert told == ["lookup.degraded", "lookup.recovered"]


@pytest.mark.parametrize("status", [400, 414, 422])
def test_a_key_that_the_service_refuses_rejects_its_records_only(bench: Bench, status: int) -> None:
    step = bench.step(on_outage="keep_marked", concurrency=1)
    frame = frame_of(customer=["a", "b"])
    step.bind(frame.schema)
    bench.server.faults.append(Fault(status=status))
    outcome = step.apply(frame)
    assert kept(outcome) == [1]
    assert outcome.rejections[0].reason == "lookup_refused"


def test_an_answer_that_is_too_large_is_not_read_to_its_end(bench: Bench) -> None:
    bench.server.api = lambda _: Response(body=b'"' + b"x" * 5_000_000 + b'"')
    frame = frame_of(customer=["a"])
    step = bench.step(max_body="10kB")
    step.bind(frame.schema)
    (rejection,) = step.apply(frame).rejections
    assert rejection.reason == "lookup_refused"
    assert "more than 10kB: raise max_body" in rejection.detail


@pytest.mark.parametrize("key", [".", "..", "k" * 3000])
def test_a_key_that_would_lead_to_another_path_is_never_asked_for(bench: Bench, key: str) -> None:
    frame = frame_of(customer=[key])
    step = bench.step()
    step.bind(frame.schema)
    (rejection,) = step.apply(frame).rejections
    assert (rejection.reason, bench.server.requests) == ("lookup_refused", [])


def test_its_memory_has_a_bound_that_check_can_add_up(bench: Bench) -> None:
    step = bench.step(cache={"bytes": "10MB"}, max_body="1MB", concurrency=2)
    assert step.worst_case_bytes == 10_000_000 + 6 * 2 * 1_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "custmer", "url": "http://x/{custmer}"}, "unknown field 'custmer', did you mean 'customer'"),
        ({"key": "x", "url": "http://x/{x}"}, "field 'x' is of type Float64, which cannot be a key"),
        ({"url": "http://x/all"}, "the url does not say where {customer} goes"),
        ({"url": "http://x/{custmer}"}, "{custmer} is no key field, did you mean 'customer'"),
        ({"url": "http://x/{customer!r}"}, "write a key field's name in the braces"),
        ({"url": "http://x/{customer"}, "the braces do not match"),
        ({"url": "http://x:port/{customer}"}, "not a URL"),
        ({"mode": "post_batch"}, "no braces in the url"),
        ({"mode": "post_batch", "url": "http://x/", "key": ["a", "b"]}, "post_batch takes one key field"),
        ({"add": {"_id": "name"}}, "belongs to headrace"),
        ({"on_outage": "keep_marked", "marker": "name"}, "'name' is the name of another field"),
        ({"on_outage": "keep_marked", "marker": "_seq"}, "belongs to headrace"),
        ({"on_miss": "default"}, "on_miss: default and default: {field: value} go together"),
        ({"on_miss": "default", "default": {"nam": 1}}, "which is not added, did you mean 'name'"),
        ({"on_miss": "default", "default": {"name": 5}}, "5 is not of type keyword, which 'name' has"),
        ({"types": {"name": "keywrd"}}, "did you mean 'keyword'"),
        ({"types": {"nam": "keyword"}}, "types for 'nam', which is not added"),
        ({"types": {"name": "json"}}, "'name' is of type json"),
        ({"timeout": "10s", "patience": "5s"}, "patience must be at least timeout"),
    ],
)
def test_wrong_options_are_refused(bench: Bench, options: dict[str, Any], message: str) -> None:
    frame = ORDERS.with_columns(x=pl.lit(1.5))
    with pytest.raises(ConfigError) as caught:
        bench.step(**options).bind(frame.schema)
    assert message in str(caught.value)


@given(
    keys=st.lists(st.none() | st.sampled_from(["a", "b", "x", "7", "", "..", "ü/1"]), max_size=8),
    on_miss=st.sampled_from(["keep", "reject"]),
    cuts=st.lists(st.integers(0, 8), max_size=3),
)
def test_any_split_gives_the_same(keys: list[str | None], on_miss: str, cuts: list[int]) -> None:
    bench = Bench(SERVER.running())
    step = bench.step(on_miss=on_miss, on_outage="keep_marked")
    frame = pl.DataFrame({"customer": keys}, schema={"customer": pl.String}).with_row_index(RECORD)
    frame = frame.cast({RECORD: pl.Int64})
    step.bind(frame.schema)
    try:
        assert_lawful(step, frame, cuts)
    finally:
        step.close()


class _Server:
    """One server for all examples of the property above."""

    def __init__(self) -> None:
        self._hostile: Hostile | None = None

    def running(self) -> Hostile:
        self._hostile = self._hostile or Hostile(customers)
        return self._hostile

    def stop(self) -> None:
        if self._hostile is not None:
            self._hostile.stop()


SERVER = _Server()


@pytest.fixture(scope="module", autouse=True)
def _stopped() -> Iterator[None]:
    yield
    SERVER.stop()


class TestTheContract(TransformContract):
    """That of every transform; records are kept, missed, and refused."""

    kind = http_lookup
    frame = pl.DataFrame({"customer": ["a", "x", None, "..", "b", "a", "ü/1"], "n": range(7)})

    def prepare(self, folder: Path) -> None:
        url = f"{SERVER.running().url}/customers/{{customer}}"
        given = {
            "url": url,
            "key": "customer",
            "add": ["name"],
            "on_miss": "reject",
            "on_outage": "keep_marked",
        }
        self.options = msgspec.convert(given, http_lookup.Settings, dec_hook=decode)

    @pytest.fixture(autouse=True)
    def _close(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        made: list[HttpLookup] = []
        create = http_lookup.create

        def noting(settings: http_lookup.Settings, context: TransformContext) -> HttpLookup:
            made.append(create(settings, context))
            return made[-1]

        monkeypatch.setattr(http_lookup, "create", noting)
        yield
        for step in made:
            step.close()


class CacheLaws(RuleBasedStateMachine):
    """Never more keys or bytes than allowed, never an answer beyond its time, never another key's answer."""

    def __init__(self) -> None:
        super().__init__()
        settings = {"size": 5, "bytes": 4 * ENTRY_BYTES + 2000, "ttl": "10s", "negative_ttl": "3s"}
        self.settings = msgspec.convert(settings, CacheSettings, dec_hook=decode)
        self.cache = Cache(self.settings)
        self.now = 0.0
        self.put_at: dict[tuple[str, ...], tuple[float, Any]] = {}

    keys = st.tuples(st.sampled_from("abcdefgh"))

    @rule(key=keys, text=st.text(max_size=200))
    def find(self, key: tuple[str, ...], text: str) -> None:
        answer = Found((text, 1))
        self.cache.put(key, answer, self.now)
        self.put_at[key] = (self.now + 10, answer)

    @rule(key=keys)
    def miss(self, key: tuple[str, ...]) -> None:
        self.cache.put(key, MISSED, self.now)
        self.put_at[key] = (self.now + 3, MISSED)

    @rule(key=keys)
    def get(self, key: tuple[str, ...]) -> None:
        found = self.cache.get(key, self.now)
        until, answer = self.put_at.get(key, (0.0, None))
        assert found in (None, answer)
        if self.now >= until:
            assert found is None

    @rule(seconds=st.sampled_from([1.0, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def stays_within_its_bounds(self) -> None:
        assert len(self.cache) <= 5
        assert 0 <= self.cache.bytes <= self.settings.bytes
        assert (len(self.cache) == 0) == (self.cache.bytes == 0)


TestCacheLaws = CacheLaws.TestCase
