"""rsyslog's `omelasticsearch`, as Debian has it, writes through a service that is restarted and killed meanwhile."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from services.running import free_port
from shippers.delivering import KEYED, RECORDS, SECRET, Shipper, delivered, headrace, recipe, until

PROGRAM = shutil.which("rsyslogd")
# Beside the program: Debian's package conflicts with syslog-ng's, so one of the two may be unpacked in a folder.
MODULES = list(Path(PROGRAM).parents[1].glob("lib/*/rsyslog/omelasticsearch.so")) if PROGRAM else []

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(
        not MODULES,
        reason="needs rsyslogd with omelasticsearch; on Debian: apt-get install rsyslog rsyslog-elasticsearch"
        " (which takes the place of syslog-ng)",
    ),
]

INPUTS = """\
global(workDirectory="FOLDER")
module(load="imtcp")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
input(type="imtcp" port="TCP" address="127.0.0.1")
input(type="imudp" port="UDP" address="127.0.0.1")
input(type="imuxsock" Socket="FOLDER/log" CreatePath="on" RateLimit.Interval="0")
"""


class Rsyslog(Shipper):
    """A syslog daemon with three inputs, each of which gets a third of the messages."""

    def __init__(self, folder: Path, service_port: int, *, ids: bool = True, secret: str = "") -> None:
        folder.mkdir()
        tcp, self.udp = free_port(), free_port()
        inputs = INPUTS.replace("FOLDER", str(folder))
        inputs = inputs.replace("TCP", str(tcp)).replace("UDP", str(self.udp))
        changes = {"7223": str(service_port), "/var/log/rsyslog-refused": str(folder / "errors")}
        if not ids:
            changes['bulkid="id" dynbulkid="on"'] = ""
        if secret:
            changes['searchType=""'] = f'searchType="" uid="shipper" pwd="{secret}"'
        config = folder / "rsyslog.conf"
        config.write_text(inputs + recipe("rsyslog", changes))
        command = [str(PROGRAM), "-n", "-f", str(config), "-i", str(folder / "pid")]
        super().__init__(folder, [*command, "-M", str(MODULES[0].parent)], tcp)

    def send(self, numbers: range) -> None:
        self.over_tcp(b"".join(message(number) + b"\n" for number in numbers[::3]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            for number in numbers[1::3]:
                connection.sendto(message(number), ("127.0.0.1", self.udp))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.connect(str(self.folder / "log"))
            for number in numbers[2::3]:
                connection.send(message(number))


def message(number: int) -> bytes:
    return f'<13>Nov 24 02:00:00 host test: number-{number}--end says "so\\"'.encode()


def number_in(document: dict[str, Any]) -> int:
    return int(document["message"].partition("number-")[2].partition("--")[0])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ids", [True, False], ids=["with-ids", "without-ids"])
def test_every_message_is_there_after_a_restart_and_a_kill(tmp_path: Path, ids: bool) -> None:
    """With the recipe's ids exactly once, without them at least once; every input, quotes and backslashes too."""
    with headrace(tmp_path) as service:
        shipper = Rsyslog(tmp_path / "rsyslog", service.port, ids=ids)
        try:
            numbers = delivered(service, shipper, shipper.send, "logs", number_in)
            if ids:
                assert list(range(RECORDS)) == numbers
            assert ' number-7--end says "so\\"' in {one["message"] for one in service.documents("logs")}
            # What is answered with an error as a whole, it writes there and never sends again.
            assert not (shipper.folder / "errors").exists()
        finally:
            shipper.stop()


def test_a_key_that_may_only_write_is_enough(tmp_path: Path) -> None:
    """As name and password: also what it asks before it writes needs no other scope."""
    with headrace(tmp_path, KEYED) as service:
        shipper = Rsyslog(tmp_path / "rsyslog", service.port, secret=SECRET)
        try:
            shipper.send(range(9))
            until(lambda: len(service.documents("logs")) >= 9, shipper.words)
            assert list(range(9)) == sorted(map(number_in, service.documents("logs")))
        finally:
            shipper.stop()
