"""A server without keys stands only where nobody else can reach it: `check` and the server say so alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.app import DONE, USAGE, run
from headrace.core.errors import ConfigError
from headrace.serve.doors import check_exposed
from headrace.settings import SettingsError, loads

CONFIGURATION = """\
data_dir: data
disk_reserve: 1MB
server: { port: 0, SERVER }
indexes: {}
pipelines: {}
"""
KEY = "keys: [{ name: a, secret: 0123456789abcdef, scopes: [read] }]"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_this_machine_alone_needs_no_key(host: str) -> None:
    check_exposed(host, has_keys=False, insecure=False)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "example.org", "127.0.0.1.example.org", "::ffff:10.0.0.1"],
)
def test_any_other_address_needs_a_key_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_exposed(host, has_keys=False, insecure=False)
    for way in ("listen on 127.0.0.1", "`headrace keys create NAME`", "`insecure: true`"):
        assert way in str(caught.value)
    check_exposed(host, has_keys=True, insecure=False)
    check_exposed(host, has_keys=False, insecure=True)


@pytest.mark.parametrize("command", [["check"], ["run", "--only", "server"]], ids=["check", "server"])
def test_it_is_said_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """With the file and the line."""
    config = tmp_path / "service.yaml"
    config.write_text(CONFIGURATION.replace("SERVER", "host: 0.0.0.0"))
    assert USAGE == run([command[0], str(config), *command[1:]])
    assert "service.yaml:3: server.host: the server would answer everybody who reaches 0.0.0.0" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "server", [f"host: 0.0.0.0, {KEY}", "host: 0.0.0.0, insecure: true", "host: 127.0.0.1"]
)
def test_the_ways_out_are_ways_out(tmp_path: Path, server: str) -> None:
    config = tmp_path / "service.yaml"
    config.write_text(CONFIGURATION.replace("SERVER", server))
    assert DONE == run(["check", str(config)])


def test_a_key_that_was_made_is_a_way_out(tmp_path: Path) -> None:
    config = tmp_path / "service.yaml"
    config.write_text(CONFIGURATION.replace("SERVER", "host: 0.0.0.0"))
    assert DONE == run(["keys", "create", "first", "--in", str(config)])
    assert DONE == run(["check", str(config)])


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("keys: [{ name: a, secret: short, scopes: [read] }]", "is shorter than 16 characters"),
        ("keys: [{ name: a, secret: 0123456789abcdef, scopes: [raed] }]", "raed"),
        ("keys: [{ name: a, secret: 0123456789abcdef, scopes: [] }]", "scopes"),
        ("keys: [{ name: 'a:b', secret: 0123456789abcdef, scopes: [read] }]", "name"),
        (f"{KEY[:-1]}, {KEY[7:]}", "key 'a' is there twice"),
        ("cors: { origins: ['*'], credentials: true }", "every origin has to be named"),
        ("max_body: 1kB", "expected at least 1MiB"),
        ("slow_client_timeout: 1ms", "expected at least 100ms"),
        ("rate_limit: 0", "rate_limit"),
        ("search: { depth: 41 }", "depth"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(server: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loads(CONFIGURATION.replace("SERVER", server), "yaml", base=Path())
    assert says in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_a_secret_is_not_shown_with_the_settings() -> None:
    settings = loads(CONFIGURATION.replace("SERVER", KEY), "yaml", base=Path())
    assert "0123456789abcdef" not in repr(settings)


def test_a_certificate_is_tried_by_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "service.yaml"
    config.write_text(CONFIGURATION.replace("SERVER", "tls: { certificate: no.pem, key: no.key }"))
    assert USAGE == run(["check", str(config)])
    assert f"server.tls.certificate: cannot read {tmp_path / 'no.pem'}" in capsys.readouterr().err


def test_a_folder_is_served_to_others_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import polars as pl

    import headrace

    headrace.index(pl.DataFrame({"n": [1]}), into=tmp_path / "data", name="n").close()
    assert USAGE == run(["serve", str(tmp_path / "data"), "--host", "0.0.0.0", "--port", "0"])
    assert "without a key" in capsys.readouterr().err
