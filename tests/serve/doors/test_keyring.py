"""Whose a request is: headers, the file of keys, and what happens to it while the server runs."""

from __future__ import annotations

import base64
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import StoreError
from headrace.layout import keys_file
from headrace.serve.doors import Keyring, keyfile
from headrace.serve.doors.principal import Principal
from headrace.testing import ManualClock
from serve.doors.table import key


def encoded(name: str, secret: str) -> str:
    return base64.b64encode(f"{name}:{secret}".encode()).decode()


SECRET = "the-secret-of-joe"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"ApiKey {encoded('joe', SECRET)}", "joe"),
        (f"apikey   {encoded('joe', SECRET)} ", "joe"),
        (f"ApiKey {SECRET}", "joe"),
        (f"Bearer {SECRET}", "joe"),
        (f"Basic {encoded('joe', SECRET)}", "joe"),
        (f"Basic {encoded('ann', SECRET)}", None),
        (f"Basic {SECRET}", None),
        (f"Basic {encoded('joe', '')}", None),
        (f"Bearer {encoded('joe', SECRET)}", None),
        (f"Digest {SECRET}", None),
        (SECRET, None),
        ("Bearer", None),
        ("Bearer \xff\xfe", None),
        ("ApiKey ====", None),
        ("", None),
    ],
)
def test_a_header_is_a_key_or_none(header: str, found: str | None) -> None:
    ring = Keyring([key("joe", ["read"]), key("ann", ["write"])])
    for _ in range(2):  # the second time from memory
        who = ring.find(header)
        assert found == (who.name if who else None)


@given(st.text())
def test_nothing_else_is_a_key(text: str) -> None:
    ring = Keyring([key("joe", ["read"])])
    for scheme in ("ApiKey", "Basic", "Bearer", ""):
        assert ring.find(f"{scheme} {text}") is None or SECRET in text


def test_what_is_remembered_is_bounded_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.serve.doors.keyring.REMEMBERED", 3)
    ring = Keyring([key(f"k{n}", ["read"]) for n in range(9)])
    for n in range(9):
        assert ring.find(f"Bearer the-secret-of-k{n}")
    assert 3 == len(ring._known)
    assert not any(b"secret" in known for known in ring._known)


def test_the_file_is_followed_within_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    ring = Keyring(file=keys_file(tmp_path), clock=clock)
    assert not ring.is_locked()
    _, secret = keyfile.create(tmp_path, "joe", ["read"], ["*"])
    anyio.run(clock.advance, 1.0)
    assert ring.is_locked()
    assert ring.find(f"Bearer {secret}")
    keyfile.revoke(tmp_path, "joe")
    anyio.run(clock.advance, 1.0)
    assert ring.is_locked()
    assert ring.find(f"Bearer {secret}") is None


def test_doors_that_were_locked_stay_locked(tmp_path: Path) -> None:
    """A file that is gone, or damaged, opens nothing; the keys of a damaged one go on as they were."""
    clock = ManualClock()
    _, secret = keyfile.create(tmp_path, "joe", ["read"], ["*"])
    ring = Keyring(file=keys_file(tmp_path), clock=clock)
    keys_file(tmp_path).write_text("no keys")
    anyio.run(clock.advance, 1.0)
    assert ring.is_locked()
    assert ring.find(f"Bearer {secret}")
    keys_file(tmp_path).unlink()
    anyio.run(clock.advance, 1.0)
    assert ring.is_locked()
    assert ring.find(f"Bearer {secret}") is None


@pytest.mark.parametrize(
    ("text", "says"), [("{", "is damaged"), ('{"format": 2}', "has format 2, this version knows 1")]
)
def test_a_server_does_not_start_on_keys_it_cannot_read(tmp_path: Path, text: str, says: str) -> None:
    keys_file(tmp_path).write_text(text)
    with pytest.raises(StoreError, match=says):
        Keyring(file=keys_file(tmp_path))


def test_equal_secrets_are_hashed_differently() -> None:
    one, other = (keyfile.stored("a", "same", ["read"], ["*"]) for _ in range(2))
    assert one.hash != other.hash
    assert one.fits("same")
    assert not one.fits("Same")


def test_a_key_for_a_data_stream_may_use_what_is_behind_it() -> None:
    """And nothing that only looks alike."""
    who = Principal("web", frozenset({"write"}), ("logs-*",))
    assert who.may_use(".ds-logs-web-2026.11.24-000001")
    assert not who.may_use(".ds-metrics-web-2026.11.24-000001")
    assert not who.may_use(".ds-logs-web")
