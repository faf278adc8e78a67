"""Everything that goes wrong between us and an API: classified, said clearly, and nothing lost."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from headrace.core.errors import EndOfInput, Fatal, HeadraceError, Retryable
from hostile import (
    BROKEN,
    CUT,
    RESET,
    SLOW,
    TRUNCATED,
    Collection,
    Fault,
    Hostile,
    Request,
    Response,
    as_json,
    serving,
)
from ingest.http_pull.pulling import PAGINATIONS, Patient, make, ns, paged, pull

pytestmark = pytest.mark.anyio

HTML = {"content-type": "text/html; charset=utf-8"}


@pytest.fixture
def server() -> Iterator[Hostile]:
    with serving(Collection(25)) as running:
        yield running


async def failure(source: Any) -> HeadraceError:
    """What the first read raises."""
    await source.open({})
    try:
        with pytest.raises(HeadraceError) as caught:
            await source.read()
        return caught.value
    finally:
        await source.close()


@pytest.mark.parametrize(
    "fault",
    [
        BROKEN,
        RESET,
        CUT,
        TRUNCATED,
        Fault(status=429, body=b""),
        Fault(status=503, body=b""),
        Fault(status=502, body=b"<html>", headers=HTML),
        Fault(status=408, body=b""),
    ],
    ids=["500", "reset", "cut", "truncated", "429", "503", "502", "408"],
)
@pytest.mark.parametrize("kind", PAGINATIONS)
async def test_what_passes_is_retryable_and_loses_nothing(server: Hostile, kind: str, fault: Fault) -> None:
    """At the start, in the middle, several times in a row."""
    server.faults.extend([fault, None, fault, fault, fault, None, None, fault])
    got, _ = await pull(paged(server.url, kind))
    assert list(range(25)) == ns(got)


async def test_a_failure_is_raised_once_and_the_next_read_goes_on(server: Hostile) -> None:
    server.faults.extend([None, BROKEN])
    source = paged(server.url, "cursor")
    await source.open({})
    await source.read()
    with pytest.raises(Retryable, match=r"/cursor: answered 500; it says 'oh no'"):
        await source.read()
    assert list(range(10, 20)) == ns([await source.read()])
    await source.close()


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("status", "headers", "after"),
        [
            (429, {"retry-after": "7"}, 7.0),
            (503, {"retry-after": "7"}, 7.0),
            (429, {"retry-after": "0"}, 0.0),
            (429, {"retry-after": "soon"}, None),
            (429, {"retry-after": "-3"}, None),
            (429, {"retry-after": "99999999999"}, 86_400.0),
            (429, {}, None),
            (403, {"retry-after": "7"}, 7.0),
            (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700001060"}, 60.0),
            (429, {"retry-after": formatdate(1_700_001_030, usegmt=True)}, 30.0),
            (429, {"retry-after": formatdate(1_600_000_000, usegmt=True)}, 0.0),
        ],
    )
    async def test_the_runtime_is_told_how_long_to_wait(
        self, server: Hostile, status: int, headers: dict[str, str], after: float | None
    ) -> None:
        server.faults.append(Fault(status=status, headers=headers, body=b""))
        error = await failure(paged(server.url, "page"))
        assert isinstance(error, Retryable)
        assert after == (error.after if error.after is None else round(error.after, 3))

    async def test_one_partition_that_has_to_wait_does_not_hold_up_the_others(self) -> None:
        """It is left out until its time has come; the others go on at once."""
        refused: list[str] = []

        def api(request: Request) -> Response:
            tenant = request.path.strip("/")
            if tenant == "a" and not refused:
                refused.append(tenant)
                return Response(429, headers={"retry-after": "60"})
            page = int(request.query["page"])
            return as_json([{"n": page, "tenant": tenant}] if page < 4 else [])

        clock = Patient()
        with serving(api) as server:
            source = make(
                f"{server.url}/{{tenant}}",
                pagination={"type": "page"},
                partitions=[{"tenant": "a"}, {"tenant": "b"}],
                clock=clock,
            )
            await source.open({})
            seen: list[str] = []
            waits: list[float | None] = []
            while len(seen) < 6:
                try:
                    batch = await source.read()
                    seen.append(batch.partition.partition("=")[2])
                except Retryable as error:
                    waits.append(error.after)
            with pytest.raises(EndOfInput):
                await source.read()
            await source.close()
        assert ["b#0"] * 3 + ["a#0"] * 3 == seen
        assert [0.0] == waits
        assert 60.0 == sum(clock.slept)


class TestWhatNeedsAPerson:
    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (Fault(status=401, body=b"who?"), r"answered 401, not allowed: check `auth`; it says 'who\?'"),
            (Fault(status=403, body=b""), "answered 403, not allowed"),
            (Fault(status=404, body=b""), "answered 404, there is nothing here: check `url`"),
            (Fault(status=410, body=b""), "answered 410"),
            (Fault(status=422, body=b"bad page"), "answered 422.*bad page"),
            (Fault(headers=HTML, body=b"<html>log in</html>"), "text/html, expected json.*log in"),
            (Fault(headers={"content-type": "image/png"}, body=b"\x89PNG"), "image/png"),
            (Fault(body=b"hello"), "no JSON"),
            (Fault(body=b""), "ends in the middle"),
            (Fault(body=b'{"items": []} {}'), "more text after the end"),
            (Fault(body=b'{"data": []}'), "nothing at `records: items`; there is: data"),
            (Fault(body=b'{"items": {"a": 1}}'), "is an object, not a list.*its keys: a"),
            (Fault(body=b'{"items": 3}'), "is no list of records"),
            (Fault(body=b"[1, 2]"), "nothing at `records: items`"),
        ],
    )
    async def test_is_fatal_and_says_what_to_do(self, server: Hostile, fault: Fault, says: str) -> None:
        server.faults.append(fault)
        with pytest.raises((Fatal, Retryable), match=says) as caught:
            raise await failure(paged(server.url, "page"))
        assert isinstance(caught.value, Retryable if fault.body == b"" and fault.status is None else Fatal)

    async def test_other_partitions_are_read_to_their_end_first(self) -> None:
        def api(request: Request) -> Response:
            return Response(404) if request.path == "/gone" else as_json([{"n": 1}])

        with serving(api) as server:
            source = make(f"{server.url}/{{what}}", partitions=[{"what": "gone"}, {"what": "here"}])
            await source.open({})
            assert [1] == ns([await source.read()])
            with pytest.raises(Fatal, match=r"/gone: answered 404"):
                await source.read()
            await source.close()

    async def test_a_body_over_the_limit(self, server: Hostile) -> None:
        error = await failure(paged(server.url, "page", max_body=100))
        assert isinstance(error, Fatal)
        assert "larger than `max_body` (100 B)" in str(error)

    async def test_a_decompression_bomb_is_never_held(self) -> None:
        import zlib

        bomb = zlib.compress(b"[" + b" " * (64 << 20), wbits=31)
        with serving(lambda _: Response(body=bomb, headers={"content-encoding": "gzip"})) as server:
            error = await failure(make(server.url, max_body="1MB"))
        assert isinstance(error, Fatal)
        assert "larger than `max_body`" in str(error)


async def test_a_body_that_drips_is_given_up_after_the_timeout(server: Hostile) -> None:
    """Each byte comes in time; the whole does not."""
    server.faults.append(SLOW)
    with anyio.fail_after(5):
        error = await failure(paged(server.url, "page", timeout="200ms"))
    assert isinstance(error, Retryable)
    assert "no whole answer within 200ms" in str(error)


async def test_a_body_that_is_slow_but_in_time_is_read(server: Hostile) -> None:
    server.faults.append(Fault(hang=0.0005))
    got, _ = await pull(paged(server.url, "page"))
    assert list(range(25)) == ns(got)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await failure(make(f"http://127.0.0.1:{taken.getsockname()[1]}/x"))
    assert isinstance(error, Retryable)
    assert "cannot connect" in str(error)


async def test_a_name_that_does_not_resolve() -> None:
    """`.invalid` never does (RFC 2606), and an empty label is refused before anybody is asked."""
    error = await failure(make("http://no-such-host.invalid/x", timeout="20s"))
    assert isinstance(error, Retryable)
    assert "no-such-host.invalid/x: the name does not resolve" in str(error)


class TestOneBadRecord:
    """It is rejected alone, whatever is wrong with it."""

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (b"17", "not_an_object"),
            (b"null", "not_an_object"),
            (b'{"n": tru}', "malformed"),
            (b'{"n": 1, "n": 2}', "malformed"),
            (b'{"n": "\xff"}', "invalid_utf8"),
            (b'{"n": "\\q"}', "malformed"),
            (b'{"_id": 1}', "reserved_field"),
        ],
    )
    async def test_costs_no_other(self, bad: bytes, reason: str) -> None:
        body = b'{"meta": {"next": "c1"}, "items": [\n{"n": 0},\n ' + bad + b',\n {"n":\n2}]}'

        def api(request: Request) -> Response:
            return as_json({"items": [{"n": 3}]}) if "cursor" in request.query else Response(body=body)

        with serving(api) as server:
            got, _ = await pull(paged(server.url, "cursor"))
        assert [0, 3] == [raw.first_record for raw in got]
        decoded = got[0].decoder.decode(got[0])
        assert [0, 2] == sorted(n for frame in decoded.frames for n in frame["n"])
        assert [(1, reason)] == [(r.record, r.reason) for r in decoded.rejections]
        assert 3 == decoded.records
        assert got[0].decoder.original(got[0], 1) == bad

    async def test_nor_does_one_that_is_too_large(self) -> None:
        rows: list[dict[str, object]] = [{"n": 0}, {"n": "x" * 5000}, {"n": 2}]
        with serving(lambda _: as_json(rows)) as server:
            got, _ = await pull(make(server.url, max_record_bytes=100))
        decoded = got[0].decoder.decode(got[0])
        assert [0, 2] == sorted(n for frame in decoded.frames for n in frame["n"])
        assert [(1, "record_too_large")] == [(r.record, r.reason) for r in decoded.rejections]
        assert 3 == decoded.records


class TestRedirects:
    async def test_within_the_origin_are_followed(self) -> None:
        def api(request: Request) -> Response:
            if request.path == "/old":
                return Response(307, headers={"location": "/new"})
            return as_json([{"n": 1}])

        with serving(api) as server:
            assert [1] == ns((await pull(make(f"{server.url}/old")))[0])

    @pytest.mark.parametrize("through", ["redirect", "link", "next"])
    async def test_to_elsewhere_are_refused_unless_allowed_and_get_no_credentials(self, through: str) -> None:
        """A key must not follow a URL that somebody put into an answer."""
        with serving(lambda _: as_json({"items": [{"n": 2}]})) as elsewhere:
            target = f"{elsewhere.url}/x"

            def api(request: Request) -> Response:
                if through == "redirect":
                    return Response(302, headers={"location": target})
                meta = {"next": target} if through == "next" else {}
                return as_json({"items": [{"n": 1}], "meta": meta}, link=f'<{target}>; rel="next"')

            auth = {"type": "api_key", "name": "X-Key", "key": "secret"}
            options: dict[str, Any] = {
                "records": "items",
                "auth": auth,
                "headers": {"X-More": "1"},
                "pagination": {"type": "none"} if through == "redirect" else PAGINATIONS[through],
            }
            with serving(api) as server:
                with pytest.raises(Fatal, match="allow_redirects_to"):
                    await pull(make(server.url, **options))
                assert [] == elsewhere.requests
                allowed = make(server.url, allow_redirects_to=[elsewhere.url], **options)
                got, _ = await pull(allowed)
            assert 2 == ns(got)[-1]
            assert "secret" == server.requests[-1].headers["x-key"]
            assert not {"x-key", "x-more"} & elsewhere.requests[0].headers.keys()

    async def test_in_a_circle_end(self) -> None:
        with serving(lambda _: Response(302, headers={"location": "/"})) as server:
            error = await failure(make(server.url))
        assert "redirected more than 5 times" in str(error)


class TestEncryption:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def certificates(self, authority: trustme.CA, tmp_path: Path) -> Path:
        file = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(file))
        return file

    def _server(self, authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    async def test_an_authority_of_ones_own_is_trusted_when_named(
        self, authority: trustme.CA, certificates: Path
    ) -> None:
        with serving(lambda _: as_json([{"n": 1}]), self._server(authority)) as server:
            got, _ = await pull(make(server.url, tls={"ca_file": str(certificates)}))
        assert [1] == ns(got)

    async def test_an_unknown_authority_is_fatal_and_says_what_to_do(self, authority: trustme.CA) -> None:
        with serving(lambda _: as_json([]), self._server(authority)) as server:
            error = await failure(make(server.url))
        assert isinstance(error, Fatal)
        assert "tls.ca_file" in str(error)

    async def test_a_certificate_of_another_name_is_fatal(
        self, authority: trustme.CA, certificates: Path
    ) -> None:
        with serving(lambda _: as_json([]), self._server(authority, "example.org")) as server:
            error = await failure(make(server.url, tls={"ca_file": str(certificates)}))
        assert isinstance(error, Fatal)
        assert "not to be trusted" in str(error)

    async def test_no_encryption_at_all_is_fatal(self) -> None:
        with serving(lambda _: as_json([])) as server:
            error = await failure(make(server.url.replace("http:", "https:")))
        assert isinstance(error, Fatal)
        assert "https" in str(error)

    async def test_not_verifying_is_possible_and_logged(
        self, authority: trustme.CA, caplog: pytest.LogCaptureFixture
    ) -> None:
        with serving(lambda _: as_json([{"n": 1}]), self._server(authority)) as server:
            got, _ = await pull(make(server.url, tls={"verify": False}))
        assert [1] == ns(got)
        assert "certificates_unchecked" in caplog.text

    async def test_a_missing_certificate_file_is_named(self, tmp_path: Path) -> None:
        source = make("https://127.0.0.1:1/", tls={"ca_file": str(tmp_path / "none.pem")})
        with pytest.raises(Fatal, match=r"none\.pem"):
            await source.open({})


async def test_a_304_that_nobody_asked_for_is_no_end(server: Hostile) -> None:
    server.faults.extend([Fault(status=304), None, Fault(status=304)])
    got, _ = await pull(paged(server.url, "page"))
    assert list(range(25)) == ns(got)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "http://127.0.0.1@elsewhere.invalid/",
        "http://127.0.0.1:1\\@x.invalid/",
        "http://[::1/",
        "//x.invalid/",
    ],
)
async def test_a_next_url_cannot_pass_itself_off_as_ours(target: str) -> None:
    with serving(lambda _: as_json({"items": [{"n": 1}], "meta": {"next": target}})) as server:
        source = paged(server.url, "next", headers={"X-Key": "hush"})
        with pytest.raises(Fatal, match=r"refused|cannot be asked|not a URL"):
            await pull(source)
        assert 1 == len(server.requests)


async def test_a_header_that_cannot_be_sent_is_said(server: Hostile) -> None:
    error = await failure(paged(server.url, "page", headers={"X-Name": "mühle"}))
    assert isinstance(error, Fatal)
    assert "cannot be asked" in str(error)


async def test_a_cancelled_read_loses_nothing(server: Hostile) -> None:
    server.faults.extend([None, SLOW, None, SLOW])
    source = paged(server.url, "cursor")
    await source.open({})
    got = [await source.read()]
    with anyio.move_on_after(0.1) as scope:
        await source.read()
    assert scope.cancelled_caught
    got += [await source.read()]
    with anyio.move_on_after(0.1):
        await source.read()
    got += [await source.read()]
    await source.close()
    assert list(range(25)) == ns(got)


async def test_keys_in_the_address_are_never_told(server: Hostile) -> None:
    """Neither messages nor origins nor partitions hold a query."""
    auth = {"type": "api_key", "name": "key", "key": "hush", "place": "query"}
    source = paged(server.url, "page", auth=auth, params={"token": "hush"})
    server.faults.extend([None, BROKEN])
    await source.open({})
    raw = await source.read()
    with pytest.raises(Retryable) as caught:
        await source.read()
    await source.close()
    assert "hush" == server.requests[0].query["key"]
    assert "hush" not in f"{caught.value} {raw.origin} {raw.partition} {json.dumps(raw.position.state)}"
