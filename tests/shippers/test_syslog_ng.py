"""syslog-ng's `elasticsearch-http()`, as Debian has it, writes through a service that is restarted and killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from services.running import free_port
from shippers.delivering import KEYED, RECORDS, SECRET, Shipper, delivered, headrace, recipe, until

MODULES = list(Path("/usr/lib/syslog-ng").glob("*/libhttp.so"))
LIBRARY = Path("/usr/share/syslog-ng/include/scl/elasticsearch")

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(
        shutil.which("syslog-ng") is None or not MODULES or not LIBRARY.is_dir(),
        reason="needs syslog-ng with elasticsearch-http(); on Debian: apt-get install syslog-ng-core"
        " syslog-ng-mod-http syslog-ng-scl (which takes the place of rsyslog)",
    ),
]


def syslog_ng(folder: Path, service_port: int, *, ids: bool = True, secret: str = "") -> Shipper:
    folder.mkdir()
    port = free_port()
    changes = {
        "port(5514)": f"port({port})",
        ":7223/": f":{service_port}/",
        "/var/lib/syslog-ng": str(folder),
        "disk-buf-size(67108864)": "disk-buf-size(1048576)",
    }
    if not ids:
        changes['custom-id("${UNIQID}")'] = ""
    if secret:
        changes['type("")'] = f'type("") user("shipper") password("{secret}")'
    config = folder / "syslog-ng.conf"
    config.write_text(recipe("syslog-ng", changes))
    files = {"-f": config, "-R": folder / "persist", "-c": folder / "control", "-p": folder / "pid"}
    command = ["syslog-ng", "-F", "--no-caps", "--stderr", *(word for pair in files.items() for word in pair)]
    return Shipper(folder, command, port)


def messages(numbers: range) -> bytes:
    line = '<13>1 2026-11-24T02:00:00Z host test - - - number-{} says "so\\"\n'
    return b"".join(line.format(number).encode() for number in numbers)


def number(document: dict[str, Any]) -> int:
    return int(document["MESSAGE"].removeprefix("number-").partition(" ")[0])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ids", [True, False], ids=["with-ids", "without-ids"])
def test_every_message_is_there_after_a_restart_and_a_kill(tmp_path: Path, ids: bool) -> None:
    """With the recipe's ids exactly once, without them at least once; quotes and backslashes too."""
    with headrace(tmp_path) as service:
        shipper = syslog_ng(tmp_path / "syslog-ng", service.port, ids=ids)
        try:
            numbers = delivered(
                service, shipper, lambda some: shipper.over_tcp(messages(some)), "logs", number
            )
            if ids:
                assert list(range(RECORDS)) == numbers
            assert 'number-7 says "so\\"' in {one["MESSAGE"] for one in service.documents("logs")}
        finally:
            shipper.stop()


def test_a_key_that_may_only_write_is_enough(tmp_path: Path) -> None:
    """As name and password, which it sends with each batch."""
    with headrace(tmp_path, KEYED) as service:
        shipper = syslog_ng(tmp_path / "syslog-ng", service.port, secret=SECRET)
        try:
            shipper.over_tcp(messages(range(9)))
            until(lambda: len(service.documents("logs")) >= 9, shipper.words)
            assert list(range(9)) == sorted(map(number, service.documents("logs")))
        finally:
            shipper.stop()
