"""API keys from the command line: shown once, kept hashed, followed by a running service."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

import headrace
from headrace.cli.app import DONE, USAGE, run
from headrace.core.errors import RequestError
from headrace.layout import keys_file
from headrace.serve.doors import Keyring
from services.running import service

SERVICE = """
data_dir: data
disk_reserve: 1MB
server: { port: PORT }
indexes:
  logs-app: { type: tantivy, memory: 32MB, fields: { n: integer } }
pipelines: {}
"""


def made(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> dict[str, str]:
    assert DONE == run(["keys", "create", *arguments, "--in", str(folder), "--json"])
    shown: dict[str, str] = json.loads(capsys.readouterr().out)
    return shown


def test_a_key_is_printed_once_and_kept_hashed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert DONE == run(
        ["keys", "create", "shipper", "--scopes", "read,write", "--indexes", "logs-*", "--in", str(tmp_path)]
    )
    printed = capsys.readouterr()
    name, _, secret = base64.b64decode(printed.out).decode().partition(":")
    kept = keys_file(tmp_path).read_text()
    assert name in kept
    assert secret not in kept
    assert secret not in printed.err
    assert 0o600 == stat.S_IMODE(keys_file(tmp_path).stat().st_mode)
    who = Keyring(file=keys_file(tmp_path)).find(f"ApiKey {printed.out.strip()}")
    assert who is not None
    assert ("shipper", ("logs-*",)) == (who.name, who.indexes)
    assert who.scopes == {"read", "write"}


def test_a_list_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = made(capsys, tmp_path, "shipper")
    for extra in ([], ["--json"]):
        assert DONE == run(["keys", "list", "--in", str(tmp_path), *extra])
        shown = capsys.readouterr().out
        assert "shipper" in shown
        for secret in (
            key["api_key"],
            key["encoded"],
            json.loads(keys_file(tmp_path).read_text())["keys"][0]["hash"],
        ):
            assert secret not in shown


def test_a_revoked_key_leaves_a_file_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the doors would stand open once the last key is gone."""
    key = made(capsys, tmp_path, "shipper")
    assert DONE == run(["keys", "revoke", key["id"], "--in", str(tmp_path)])
    assert {"format": 1, "keys": []} == json.loads(keys_file(tmp_path).read_text())
    assert Keyring(file=keys_file(tmp_path)).locked


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "a", "--scopes", "raed"], "unknown scope 'raed', did you mean 'read'?"),
        (["create", "a", "--scopes", ","], "a key needs a scope (have: read, write, admin, monitor)"),
        (["create", "a b"], "a key's name has letters, digits and . _ - (at most 100), found 'a b'"),
        (["create", "there"], "there is a key 'there'; revoke it first, or choose another name"),
        (["revoke", "thre"], "there is no key 'thre', did you mean 'there'?"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    made(capsys, tmp_path, "there")
    before = keys_file(tmp_path).read_bytes()
    assert USAGE == run(["keys", *arguments, "--in", str(tmp_path)])
    assert says in capsys.readouterr().err
    assert before == keys_file(tmp_path).read_bytes()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert USAGE == run(["keys", "create", "a", "--in", str(tmp_path / "no")])
    assert f"there is no data directory {tmp_path / 'no'}" in capsys.readouterr().err


def test_a_damaged_file_is_said_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys_file(tmp_path).write_text('{"format": 1, "keys": [')
    assert DONE != run(["keys", "create", "a", "--in", str(tmp_path)])
    assert "is damaged" in capsys.readouterr().err
    assert '{"format": 1, "keys": [' == keys_file(tmp_path).read_text()


def test_a_running_service_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open at first; asks for a key once there is one; refuses what was revoked."""
    monkeypatch.delenv("HEADRACE_API_KEY", raising=False)
    with service(tmp_path, SERVICE, "--only", "server") as running:
        running.until(lambda: running.raw("/health/live")[0] == 200)
        assert 200 == running.raw("/logs-app/_count")[0]
        config = tmp_path / "service.yaml"
        key = made(capsys, config, "reader", "--indexes", "logs-*")
        running.until(lambda: running.raw("/logs-app/_count")[0] == 401, seconds=3)
        for header in (f"ApiKey {key['encoded']}", f"ApiKey {key['api_key']}", f"Bearer {key['api_key']}"):
            assert 200 == running.raw("/logs-app/_count", headers={"authorization": header})[0]
        assert (
            403
            == running.raw("/logs-app/_doc/1", {}, {"authorization": f"ApiKey {key['encoded']}"}, "PUT")[0]
        )
        with pytest.raises(RequestError, match="HEADRACE_API_KEY"):
            headrace.open(running.base)
        with headrace.open(running.base, key=key["encoded"]) as index:
            assert 0 == index.count()
        assert DONE == run(["search", running.base, "--index", "logs-app", "--key", key["api_key"], "--json"])
        monkeypatch.setenv("HEADRACE_API_KEY", key["encoded"])
        headrace.open(running.base, name="logs-app").close()
        assert DONE == run(["keys", "revoke", "reader", "--in", str(config)])
        revoked = {"authorization": f"ApiKey {key['encoded']}"}
        running.until(lambda: running.raw("/logs-app/_count", headers=revoked)[0] == 401, seconds=3)
        assert 200 == running.raw("/health/live")[0]
        assert 200 == running.raw("/metrics")[0]
