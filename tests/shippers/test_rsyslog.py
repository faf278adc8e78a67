"""rsyslog's `omelasticsearch`, as Debian has it, writes through a service that is restarted and killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.running import Running, free_port

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(
        shutil.which("rsyslogd") is None or not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")),
        reason="needs rsyslogd with omelasticsearch; on Debian: apt-get install rsyslog rsyslog-elasticsearch",
    ),
]

SERVICE = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""

RSYSLOG = """\
global(workDirectory="FOLDER")
module(load="imtcp")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
module(load="omelasticsearch")
input(type="imtcp" port="TCP" address="127.0.0.1" ruleset="out")
input(type="imudp" port="UDP" address="127.0.0.1" ruleset="out")
input(type="imuxsock" Socket="FOLDER/log" Ruleset="out" CreatePath="on" RateLimit.Interval="0")
template(name="document" type="list" option.json="on") {
  constant(value="{\\"@timestamp\\":\\"") property(name="timereported" dateFormat="rfc3339")
  constant(value="\\",\\"host\\":\\"") property(name="hostname")
  constant(value="\\",\\"severity\\":\\"") property(name="syslogseverity-text")
  constant(value="\\",\\"tag\\":\\"") property(name="syslogtag")
  constant(value="\\",\\"message\\":\\"") property(name="msg")
  constant(value="\\"}")
}
template(name="name" type="string" string="%msg:R,ERE,1,BLANK:(number-[0-9]+)--end%")
ruleset(name="out") {
  action(type="omelasticsearch" server="127.0.0.1" serverport="PORT" searchIndex="logs" searchType=""
    template="document" bulkmode="on" bulkid="name" dynbulkid="BYNAME" writeoperation="index"
    action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax="1"
    queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="200" queue.timeoutEnqueue="5000"
    errorFile="FOLDER/errors")
}
"""


class Rsyslog:
    """A syslog daemon of this test's own: in the foreground, with its own folder, on loopback."""

    def __init__(self, folder: Path, service_port: int, *, ids: bool) -> None:
        folder.mkdir()
        self.folder, self.tcp, self.udp = folder, free_port(), free_port()
        text = RSYSLOG.replace("BYNAME", "on" if ids else "off")
        if not ids:
            text = text.replace(
                'bulkid="name" dynbulkid="off" writeoperation="index"', 'writeoperation="index"'
            )
        for word, value in (("FOLDER", folder), ("TCP", self.tcp), ("UDP", self.udp), ("PORT", service_port)):
            text = (
                text.replace(f'"{word}', f'"{value}') if word != "FOLDER" else text.replace(word, str(value))
            )
        config = folder / "rsyslog.conf"
        config.write_text(text)
        with (folder / "words").open("wb") as words:
            command = ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
            self.process = subprocess.Popen(command, stdout=words, stderr=words)
        self._wait_for_the_port()

    def _wait_for_the_port(self) -> None:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.words()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tcp), 1):
                return
            time.sleep(0.02)
        raise AssertionError(self.words())

    def words(self) -> str:
        return (self.folder / "words").read_text(errors="replace")

    def over_tcp(self, numbers: range) -> None:
        with socket.create_connection(("127.0.0.1", self.tcp), 5) as connection:
            connection.sendall(b"".join(message(number) + b"\n" for number in numbers))

    def over_udp(self, numbers: range) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            for number in numbers:
                connection.sendto(message(number), ("127.0.0.1", self.udp))
                if number % 20 == 0:
                    time.sleep(0.005)  # a datagram that finds no room is nobody's to send again

    def over_unix(self, numbers: range) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.connect(str(self.folder / "log"))
            for number in numbers:
                connection.send(message(number))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def message(number: int) -> bytes:
    return f'<13>Nov 24 02:00:00 host test: number-{number}--end says "so\\"'.encode()


class Service:
    """Headrace, to be ended in more than one way and started again in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "service.yaml").write_text(SERVICE.replace("PORT", str(self.port)))
        self.running = self._started()

    def _started(self) -> Running:
        running = Running(self.folder, self.port, "run", str(self.folder / "service.yaml"))
        running.until_ready()
        return running

    def restart(self) -> None:
        self.running.stop()
        self.running = self._started()

    def kill(self) -> None:
        """All processes at once, with no word said."""
        for pid in (self.running.child("server"), self.running.child("ingester"), self.running.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.running.process.wait()
        self.running = self._started()

    def numbers(self) -> list[int]:
        """Those of all messages that can be searched for, in order."""
        self.running.ask("/logs/_refresh", {})
        found = self.running.ask("/logs/_search", {"size": 10_000, "_source": ["message"]})
        texts = [hit["_source"]["message"] for hit in found.get("hits", {}).get("hits", [])]
        return sorted(int(text.partition("number-")[2].partition("--")[0]) for text in texts)


@pytest.fixture
def headrace(tmp_path: Path) -> Iterator[Service]:
    started = Service(tmp_path)
    try:
        yield started
    finally:
        started.running.stop()


def until(condition: Callable[[], Any], words: Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.2)
    raise AssertionError(words())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ids", [True, False], ids=["with-ids", "without-ids"])
def test_every_message_is_there_after_a_restart_and_a_kill(
    headrace: Service, tmp_path: Path, ids: bool
) -> None:
    """With document ids exactly once, without them at least once; every input, quotes and backslashes too."""
    rsyslog = Rsyslog(tmp_path / "rsyslog", headrace.port, ids=ids)
    try:
        rsyslog.over_tcp(range(500))
        until(headrace.numbers, rsyslog.words)
        rsyslog.over_udp(range(500, 800))
        headrace.restart()
        rsyslog.over_tcp(range(800, 1_500))
        headrace.kill()
        rsyslog.over_unix(range(1_500, 2_000))
        until(
            lambda: set(headrace.numbers()) == set(range(2_000)),
            lambda: f"{len(headrace.numbers())} {rsyslog.words()}",
        )
        if ids:
            assert list(range(2_000)) == headrace.numbers()
        # What is answered with an error as a whole, it writes there and never sends again.
        assert not (rsyslog.folder / "errors").exists()
    finally:
        rsyslog.stop()
