"""Auth, watermarks, conditional requests, rates, formats, partitions, and options that make no sense."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import anyio
import msgspec
import pytest

from headrace.core.errors import ConfigError, Fatal, Retryable
from headrace.ingest import http_pull
from headrace.ingest.http_pull.body import Document, Malformed, Truncated, steps
from headrace.model import Position
from headrace.units import decode
from hostile import Collection, Fault, Hostile, Request, Response, as_json, serving
from ingest.http_pull.pulling import Patient, make, ns, paged, pull, records

pytestmark = pytest.mark.anyio


@pytest.fixture
def things() -> Collection:
    return Collection(25)


@pytest.fixture
def server(things: Collection) -> Iterator[Hostile]:
    with serving(things) as running:
        yield running


class TestAuth:
    @pytest.mark.parametrize(
        ("auth", "header", "value"),
        [
            (
                {"type": "basic", "username": "ann", "password": "pé"},
                "authorization",
                "Basic " + b64encode("ann:pé".encode()).decode(),
            ),
            ({"type": "bearer", "token": "t0"}, "authorization", "Bearer t0"),
            ({"type": "api_key", "name": "X-Api-Key", "key": "k"}, "x-api-key", "k"),
        ],
        ids=["basic", "bearer", "api_key"],
    )
    async def test_goes_into_each_request(
        self, server: Hostile, auth: dict[str, str], header: str, value: str
    ) -> None:
        await pull(paged(server.url, "cursor", auth=auth))
        assert {value} == {request.headers.get(header) for request in server.requests}

    def test_is_never_printed(self) -> None:
        options = {"url": "http://a/", "auth": {"type": "bearer", "token": "hush"}}
        assert "hush" not in repr(msgspec.convert(options, http_pull.Settings, dec_hook=decode))


class Tokens:
    """An API behind OAuth2: tokens last `lasts` seconds of the given clock; the last ones given are valid."""

    def __init__(self, things: Collection, lasts: int | None = 3600) -> None:
        self.things = things
        self.lasts = lasts
        self.given = 0
        self.valid: set[str] = set()
        self.forms: list[bytes] = []

    def __call__(self, request: Request) -> Response:
        if request.path == "/token":
            self.given += 1
            self.forms.append(request.body + b" " + request.headers.get("authorization", "").encode())
            self.valid = {f"Bearer token{self.given}"}
            lasts = {} if self.lasts is None else {"expires_in": self.lasts}
            return as_json({"access_token": f"token{self.given}", **lasts})
        if request.headers.get("authorization") not in self.valid:
            return Response(401)
        return self.things(request)


class TestOauth2:
    def _source(self, server: Hostile, kind: str = "cursor", **options: Any) -> Any:
        auth = {
            "type": "oauth2",
            "token_url": f"{server.url}/token",
            "client_id": "me",
            "client_secret": "s:cret",
            "scope": "read",
            **options.pop("auth", {}),
        }
        return paged(server.url, kind, auth=auth, **options)

    async def test_one_token_serves_many_requests(self, things: Collection) -> None:
        tokens = Tokens(things)
        with serving(tokens) as server:
            got, _ = await pull(self._source(server))
        assert (list(range(25)), 1) == (ns(got), tokens.given)
        sent = b64encode(b"me:s%3Acret").decode()
        assert f"grant_type=client_credentials&scope=read Basic {sent}".encode() == tokens.forms[0]

    async def test_the_secret_may_be_sent_in_the_body(self, things: Collection) -> None:
        tokens = Tokens(things)
        with serving(tokens) as server:
            await pull(self._source(server, auth={"send": "body"}))
        assert b"client_id=me&client_secret=s%3Acret" in tokens.forms[0]

    async def test_a_token_is_renewed_before_its_end(self, things: Collection) -> None:
        """At one request a minute, tokens of 90 seconds serve one each; none is ever refused."""
        tokens = Tokens(things, lasts=90)
        with serving(tokens) as server:
            got, _ = await pull(self._source(server, rate_limit=1 / 60))
            statuses = len([request for request in server.requests if request.path != "/token"])
        assert (list(range(25)), 3, 3) == (ns(got), statuses, tokens.given)

    async def test_a_token_that_is_refused_is_renewed_once(self, things: Collection) -> None:
        tokens = Tokens(things)
        with serving(tokens) as server:
            source = self._source(server)
            await source.open({})
            await source.read()
            tokens.valid = set()
            assert list(range(10, 20)) == ns([await source.read()])
            await source.close()
        assert 2 == tokens.given

    async def test_a_401_after_that_is_fatal(self, things: Collection) -> None:
        tokens = Tokens(things)
        with (
            serving(lambda r: tokens(r) if r.path == "/token" else Response(401)) as server,
            pytest.raises(Fatal, match="answered 401"),
        ):
            await pull(self._source(server))
        assert 2 == tokens.given

    async def test_partitions_at_once_ask_for_one_token(self, things: Collection) -> None:
        tokens = Tokens(things)
        with serving(tokens) as server:
            source = make(
                f"{server.url}/{{kind}}",
                records="items",
                partitions=[{"kind": kind} for kind in ("page", "offset", "cursor")],
                auth={
                    "type": "oauth2",
                    "token_url": f"{server.url}/token",
                    "client_id": "me",
                    "client_secret": "x",
                },
            )
            await pull(source)
        assert 1 == tokens.given

    @pytest.mark.parametrize(
        ("fault", "kind", "says"),
        [
            (Fault(status=401, body=b"invalid_client"), Fatal, "no token for this client id"),
            (Fault(status=500, body=b""), Retryable, "token endpoint .* answered 500"),
            (Fault(body=b"{}"), Fatal, "without an `access_token`"),
            (Fault(body=b"<"), Retryable, "not JSON"),
        ],
    )
    async def test_what_a_token_endpoint_does_wrong_is_told_apart(
        self, things: Collection, fault: Fault, kind: type[Exception], says: str
    ) -> None:
        with serving(Tokens(things)) as server:
            server.faults.append(fault)
            source = self._source(server)
            await source.open({})
            with pytest.raises(kind, match=says):
                await source.read()
            await source.close()


class TestWatermark:
    def _source(self, server: Hostile, **options: Any) -> Any:
        watermark = {"field": "changed", "parameter": "since", **options.pop("watermark", {})}
        return paged(server.url, options.pop("kind", "cursor"), watermark=watermark, **options)

    def _asked(self, server: Hostile) -> list[str | None]:
        return [request.query.get("since") for request in server.requests]

    async def test_a_poll_asks_for_what_is_newer(self, server: Hostile, things: Collection) -> None:
        things.rows = [{"n": n, "changed": 100 + n} for n in range(12)]
        _, positions = await pull(self._source(server))
        things.rows += [{"n": n, "changed": 100 + n} for n in range(12, 15)]
        got, positions = await pull(self._source(server), positions)
        assert [11, 12, 13, 14] == ns(got)  # at the watermark itself, others may have come since
        assert [None, None, "111"] == self._asked(server)
        assert 16 == positions[got[0].partition].record

    @pytest.mark.parametrize(
        ("high", "overlap", "asked"),
        [
            (500, 60, "440"),
            (500.5, 0.5, "500.0"),
            ("2024-05-01T10:00:00Z", "5m", "2024-05-01T09:55:00Z"),
            ("2024-05-01T10:00:00.250+02:00", "1s", "2024-05-01T09:59:59.250000+02:00"),
            ("2024-05-01", "1d", "2024-04-30T00:00:00Z"),
            ("abc", 0, "abc"),
        ],
    )
    async def test_an_overlap_is_read_again(self, high: Any, overlap: Any, asked: str) -> None:
        with serving(lambda _: as_json({"items": [{"changed": high}], "meta": {}})) as server:
            watermark = {"overlap": overlap}
            _, positions = await pull(self._source(server, watermark=watermark))
            await pull(self._source(server, watermark=watermark), positions)
            assert [None, asked] == self._asked(server)

    async def test_the_highest_counts_not_the_last_and_dates_compare_as_moments(self) -> None:
        values = ["2024-05-01T12:00:00+02:00", "2024-05-01T11:00:00Z", "2024-05-01T10:30:00Z", None]
        rows = [{"changed": value} for value in values]
        with serving(lambda _: as_json({"items": rows, "meta": {}})) as server:
            _, positions = await pull(self._source(server))
            await pull(self._source(server), positions)
            assert [None, values[1]] == self._asked(server)

    async def test_it_moves_only_when_the_pull_has_ended(self, server: Hostile, things: Collection) -> None:
        """Killed in the middle, the same pull goes on, whatever the order of the records."""
        things.rows = [{"n": n, "changed": 100 - n} for n in range(25)]
        first, positions = await pull(self._source(server, watermark={"initial": 1}), most=1)
        second, positions = await pull(self._source(server, watermark={"initial": 1}), positions)
        assert list(range(25)) == ns([*first, *second])
        assert {"1"} == set(self._asked(server))
        await pull(self._source(server, watermark={"initial": 1}), positions)
        assert "100" == self._asked(server)[-1]

    async def test_it_polls(self, server: Hostile, things: Collection) -> None:
        things.rows = [{"n": n, "changed": n} for n in range(5)]
        source = self._source(server, interval="10s", clock=Patient(25))
        got, _ = await pull(source)
        assert [0, 1, 2, 3, 4, 4, 4] == ns(got)
        assert not source.guarantee.stable_ids

    @pytest.mark.parametrize(
        ("rows", "overlap", "says"),
        [
            ([{"changed": True}], 0, "expected a number, or a date"),
            ([{"changed": 1}, {"changed": "a"}], 0, "both text and numbers"),
        ],
    )
    async def test_values_that_do_not_compare_are_said(
        self, rows: list[Any], overlap: Any, says: str
    ) -> None:
        with (
            serving(lambda _: as_json({"items": rows, "meta": {}})) as server,
            pytest.raises(Fatal, match=says),
        ):
            await pull(self._source(server, watermark={"overlap": overlap}))

    @pytest.mark.parametrize(("high", "overlap"), [(5, "5m"), ("abc", "5m"), ("2024-01-01", 5)])
    async def test_an_overlap_of_the_wrong_kind_is_said(self, high: Any, overlap: Any) -> None:
        with (
            serving(lambda _: as_json({"items": [{"changed": high}], "meta": {}})) as server,
            pytest.raises(Fatal, match="overlap"),
        ):
            await pull(self._source(server, watermark={"overlap": overlap}, interval="1s"))


class TestNothingNew:
    @pytest.mark.parametrize("named", [{"etag": '"v1"'}, {"last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
    async def test_a_304_ends_the_poll(self, named: dict[str, str]) -> None:
        def api(request: Request) -> Response:
            given = request.headers.get("if-none-match") or request.headers.get("if-modified-since")
            return Response(304) if given in named.values() else as_json([{"n": 1}], **named)

        with serving(api) as server:
            got, positions = await pull(make(server.url, interval="1m", clock=Patient(150)))
            assert ([1], 3) == (ns(got), len(server.requests))
            again, _ = await pull(make(server.url, interval="1m", clock=Patient(50)), positions)
            assert ([], 4) == (again, len(server.requests))

    async def test_what_changed_is_read(self) -> None:
        def api(request: Request) -> Response:
            return as_json([{"n": 1}], etag=f'"{len(running.requests)}"')

        with serving(api) as running:
            got, _ = await pull(make(running.url, interval="1m", clock=Patient(100)))
        assert [1, 1] == ns(got)

    async def test_of_a_pull_of_many_pages_the_first_says_nothing(self, things: Collection) -> None:
        def api(request: Request) -> Response:
            answer = things(request)
            return Response(answer.status, answer.body, {**answer.headers, "etag": '"x"'})

        with serving(api) as server:
            await pull(paged(server.url, "cursor", interval="1m", clock=Patient(100)))
            assert not any("if-none-match" in request.headers for request in server.requests)

    async def test_a_204_is_an_empty_page(self) -> None:
        with serving(lambda _: Response(204)) as server:
            assert [] == (await pull(make(server.url)))[0]

    async def test_null_is_an_empty_list(self) -> None:
        with serving(lambda _: as_json({"items": None})) as server:
            assert [] == (await pull(make(server.url, records="items")))[0]


class TestPace:
    async def test_requests_keep_their_distance(self, server: Hostile) -> None:
        clock = Patient()
        await pull(paged(server.url, "cursor", rate_limit=4, clock=clock))
        assert [0.25, 0.25] == clock.slept

    async def test_over_all_partitions_together(self, server: Hostile) -> None:
        clock = Patient()
        source = make(
            f"{server.url}/{{kind}}",
            records="items",
            partitions=[{"kind": kind} for kind in ("page", "offset", "cursor")],
            rate_limit=2,
            clock=clock,
        )
        await pull(source)
        assert clock.now - 1000 >= 1.0

    async def test_a_poll_starts_an_interval_after_the_start_of_the_last(self, server: Hostile) -> None:
        clock = Patient(100)
        await pull(paged(server.url, "cursor", interval="30s", rate_limit=0.1, clock=clock))
        assert [10.0, 10.0, 10.0, 10.0] == clock.slept[:4]


class TestPartitions:
    async def test_each_has_its_own_order_and_position(self) -> None:
        def api(request: Request) -> Response:
            tenant, page = request.path.strip("/"), int(request.query["page"])
            size = {"a b": 4, "c/d": 2, "é": 0}[_unquoted(tenant)]
            rows = [{"n": page, "tenant": tenant, "kind": request.query["kind"]}]
            return as_json(rows if page <= size else [])

        values = [{"tenant": "a b", "id": 1}, {"tenant": "c/d", "id": 2}, {"tenant": "é", "id": 3}]
        with serving(api) as server:
            source = make(
                f"{server.url}/{{tenant}}",
                params={"kind": "k{id}", "flag": True},
                pagination={"type": "page"},
                append_only=True,
                partitions=values,
            )
            got, positions = await pull(source)
            again, _ = await pull(source, positions)
        assert [] == again
        names = [f"{server.url}/{{tenant}}|id={n}&tenant={t}#0" for n, t in ((1, "a+b"), (2, "c%2Fd"))]
        assert names == sorted(positions)
        assert [4, 2] == [positions[name].record for name in names]
        by_name = {name: [raw for raw in got if raw.partition == name] for name in names}
        assert [1, 2, 3, 4] == ns(by_name[names[0]])
        assert {"k1"} == {row["kind"] for row in records(by_name[names[0]])}
        assert {"true"} == {request.query["flag"] for request in server.requests}

    @pytest.mark.parametrize("most", [1, 2, 4])
    async def test_as_many_as_allowed_are_asked_at_once(self, most: int) -> None:
        import threading

        busy, seen, gate = [0], [0], threading.Lock()

        def api(request: Request) -> Response:
            return as_json([{"n": 1}])

        class Counting(Hostile):
            def answer(self, request: Request) -> tuple[Response, Fault]:
                with gate:
                    busy[0] += 1
                    seen[0] = max(seen[0], busy[0])
                self.stopping.wait(0.05)
                with gate:
                    busy[0] -= 1
                return super().answer(request)

        server = Counting(api)
        try:
            values = [{"n": n} for n in range(8)]
            got, _ = await pull(make(f"{server.url}/{{n}}", partitions=values, concurrency=most))
        finally:
            server.stop()
        assert (8, most) == (len(got), seen[0])

    async def test_other_options_are_another_log(self, server: Hostile) -> None:
        """Its records have other numbers in another order: a new epoch, never a resumed one."""
        _, positions = await pull(paged(server.url, "page", append_only=True))
        changed, more = await pull(paged(server.url, "page", append_only=True, params={"a": 1}), positions)
        assert (list(range(25)), f"{server.url}/page#1") == (ns(changed), changed[0].partition)
        back, _ = await pull(paged(server.url, "page", append_only=True), more)
        assert [] == back

    async def test_a_higher_epoch_reads_everything_again(self, server: Hostile) -> None:
        _, positions = await pull(paged(server.url, "cursor"))
        got, _ = await pull(paged(server.url, "cursor", epoch=1), positions)
        assert list(range(25)) == ns(got)

    async def test_a_position_of_something_else_is_a_new_epoch(self, server: Hostile) -> None:
        positions = {f"{server.url}/cursor#0": Position(7, {"other": 1})}
        got, _ = await pull(paged(server.url, "cursor"), positions)
        assert f"{server.url}/cursor#1" == got[0].partition


def _unquoted(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text)


class TestFormats:
    async def test_ndjson(self) -> None:
        body = b'{"n":0}\n\n{"n":1}\r\n{"n":2}'
        with serving(lambda _: Response(body=body, headers={"content-type": "text/plain"})) as server:
            assert [0, 1, 2] == ns((await pull(make(server.url, format="ndjson")))[0])

    async def test_csv_keeps_header_and_types_of_the_first_page(self) -> None:
        pages = {"1": b'n,text\n0,a\n1,"b\nc"\n', "2": b"n,text\n2,7\n3,8\n"}
        with serving(lambda r: Response(body=pages.get(r.query["page"], b"n,text\n"))) as server:
            first, positions = await pull(
                make(server.url, format="csv", pagination={"type": "page"}, append_only=True), most=1
            )
            second, _ = await pull(
                make(server.url, format="csv", pagination={"type": "page"}, append_only=True), positions
            )
        expected = [(0, "a"), (1, "b\nc"), (2, "7"), (3, "8")]
        assert expected == [(row["n"], row["text"]) for row in records([*first, *second])]

    async def test_csv_with_other_columns_is_fatal(self) -> None:
        pages = {"1": b"n,text\n0,a\n", "2": b"text,n\nb,1\n"}
        with (
            serving(lambda r: Response(body=pages.get(r.query["page"], b""))) as server,
            pytest.raises(Fatal, match="columns are no longer"),
        ):
            await pull(make(server.url, format="csv", pagination={"type": "page"}))

    async def test_csv_types_wait_for_the_first_records(self) -> None:
        bodies = iter([b"n;text\n", b"n;text\n", b"n;text\n1;a\n"])
        with serving(lambda _: Response(body=next(bodies, b"n;text\n1;a\n"))) as server:
            source = make(server.url, format="csv", append_only=True, interval="1s", clock=Patient(5))
            got, _ = await pull(source)
        assert [{"n": 1, "text": "a"}] == records(got)

    async def test_lines(self) -> None:
        with serving(lambda _: Response(body=b"one\ntwo\n")) as server:
            got, _ = await pull(make(server.url, format="lines"))
        assert ["one", "two"] == [row["message"] for row in records(got)]

    async def test_a_single_record(self) -> None:
        with serving(lambda _: as_json({"status": {"n": 1}})) as server:
            got, _ = await pull(make(server.url, records="/status", one_record=True))
        assert [1] == ns(got)


class TestTheSample:
    async def test_works_without_open_and_moves_nothing(self, server: Hostile) -> None:
        source = paged(server.url, "cursor")
        sample = await source.sample()
        assert sample is not None
        assert list(range(10)) == ns([sample])
        assert list(range(25)) == ns((await pull(source))[0])

    async def test_of_an_open_source_is_its_next_batch_and_costs_no_request(self, server: Hostile) -> None:
        source = paged(server.url, "cursor")
        await source.open({})
        sample = await source.sample()
        assert sample is await source.read()
        assert 1 == len(server.requests)
        await source.close()

    async def test_is_none_when_nothing_is_there(self, server: Hostile, things: Collection) -> None:
        things.rows = []
        source = paged(server.url, "page", interval="1h")
        with anyio.fail_after(5):
            assert await source.sample() is None

    async def test_raises_what_is_wrong(self, server: Hostile) -> None:
        server.faults.append(Fault(status=404))
        with pytest.raises(Fatal, match="404"):
            await paged(server.url, "page").sample()


async def test_close_is_safe_without_open_and_twice_and_reading_then_is_fatal(server: Hostile) -> None:
    source = paged(server.url, "page")
    await source.close()
    await source.close()
    with pytest.raises(Fatal, match="not open"):
        await source.read()


@pytest.mark.parametrize(
    ("options", "stable"),
    [
        ({"pagination": {"type": "cursor", "path": "c"}}, True),
        ({"pagination": {"type": "link"}}, True),
        ({}, True),
        ({"pagination": {"type": "page"}}, False),
        ({"pagination": {"type": "offset"}}, False),
        ({"pagination": {"type": "offset"}, "append_only": True, "interval": "1m"}, True),
        ({"pagination": {"type": "cursor", "path": "c"}, "interval": "1m"}, False),
        ({"watermark": {"field": "t", "parameter": "since"}}, False),
    ],
)
def test_what_is_promised(options: dict[str, Any], stable: bool) -> None:
    guarantee = make("http://127.0.0.1/", **options).guarantee
    assert (True, stable) == (guarantee.replayable, guarantee.stable_ids)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "ftp://a/"}, "expected a URL"),
        ({"url": "http://ann:pw@a/"}, "must not hold a user name"),
        ({"url": "http://a:99999/"}, "not a URL"),
        ({"url": "http://a/{x}"}, r"\{x\} has no value: list them in `partitions`"),
        ({"url": "http://a/{x}", "partitions": [{"y": 1}]}, "'x' is missing"),
        ({"url": "http://a/{x}", "partitions": [{"x": 1}, {"x": 1}]}, "there twice"),
        ({"body": {}}, "needs `method: POST`"),
        ({"append_only": True, "watermark": {"field": "a", "parameter": "b"}}, "takes no `watermark`"),
        ({"format": "csv", "records": "a"}, "no path leads into it"),
        ({"format": "csv", "watermark": {"field": "a", "parameter": "b"}}, "watermark needs"),
        ({"timeout": 0}, "more than 0"),
        ({"pagination": {"type": "cursor"}}, "needs `path`"),
        ({"pagination": {"type": "link", "start": 1}}, "'start' means nothing with type 'link'"),
        ({"pagination": {"type": "page", "stop": "short_page"}}, "needs `size`"),
        ({"pagination": {"type": "link", "stop": "not_found"}}, "means nothing"),
        ({"auth": {"type": "basic", "username": "a"}}, "needs 'password'"),
        ({"auth": {"type": "bearer", "token": "a", "scope": "b"}}, "'scope' means nothing"),
        ({"watermark": {"field": "a", "parameter": "b", "overlap": "soon"}}, "not a duration"),
        ({"allow_redirects_to": ["files.example.com"]}, "expected a URL"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        msgspec.convert({"url": "http://a/", **options}, http_pull.Settings, dec_hook=decode)


class TestBodies:
    @pytest.mark.parametrize(
        ("path", "keys"),
        [
            ("", ()),
            ("a", ("a",)),
            ("a.b", ("a", "b")),
            ("/a/b.c", ("a", "b.c")),
            ("/a~1b/c~0d", ("a/b", "c~d")),
        ],
    )
    def test_paths_are_dotted_or_pointers(self, path: str, keys: tuple[str, ...]) -> None:
        assert keys == steps(path)

    @pytest.mark.parametrize("cut", range(1, 48))
    def test_every_cut_of_a_body_is_seen(self, cut: int) -> None:
        """Also behind a record that is not well formed."""
        for body in (
            b'{"a": {"b": [{"n": 1}, {"n": "]"}], "c": "x"}}',
            b'{"a": {"b": [{"n": 1.}, {"n": "]"}], "c": "x"}}',
        ):
            whole = body[: min(cut, len(body) - 1)]
            with pytest.raises((Truncated, Malformed)):
                Document(whole).records(("a", "b"), single=False)

    @pytest.mark.parametrize("bad", [b"", b', {"x": tru}'])
    def test_places_are_found_with_and_without_a_bad_record(self, bad: bytes) -> None:
        body = (
            b' {"q\\"": "}]", "a": [0, {"b": [{"n": [1, {}]}, "s,]"' + bad + b']}], "next": null, "m": true }'
        )
        document = Document(body)
        assert [b'{"n": [1, {}]}', b'"s,]"'] == document.records(("a", "1", "b"), single=False)[:2]
        assert document.value(("m",)) is True
        assert document.value(("next",)) is None
        assert document.value(("none", "x")) is None
        assert "}]" == document.value(('q"',))

    def test_pretty_printed_records_become_lines(self) -> None:
        rows = [{"n": 1, "s": "a\nb"}, {"n": 2}]
        got = Document(json.dumps(rows, indent=2).encode()).records((), single=False)
        assert rows == [json.loads(line) for line in got]
        assert not any(b"\n" in line for line in got)
