"""Log lines: one JSON object or one readable line per event, with the batch they belong to."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import anyio.to_thread
import pytest

from headrace.core.log import bind, configure, event

log = logging.getLogger("headrace.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("headrace")
    before = (list(root.handlers), root.level, ours.level)
    yield
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_time_level_logger_event_and_the_fields(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    event(log.warning, "index.write_retried", attempt=2, wait_s=0.4, where="a b")
    (line,) = lines(stream)
    time = str(line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "headrace.test",
        "event": "index.write_retried",
        "attempt": 2,
        "wait_s": 0.4,
        "where": "a b",
    }
    assert (len(time), time[10], time[-1]) == (len("2026-01-01T00:00:00.000Z"), "T", "Z")


def test_every_record_inside_bind_names_its_batch_whoever_wrote_it(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    with bind(batch="b-1"):
        event(log.info, "batch.read")
        logging.getLogger("another.library").warning("prose with %s", "arguments")
    event(log.info, "batch.idle")
    assert [line.get("batch") for line in lines(stream)] == ["b-1", "b-1", None]
    assert lines(stream)[1]["message"] == "prose with arguments"


@pytest.mark.anyio
async def test_a_worker_thread_keeps_the_batch_it_was_started_with(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    with bind(batch="b-2"):
        await anyio.to_thread.run_sync(lambda: event(log.info, "frame.decoded"))
    assert lines(stream)[0]["batch"] == "b-2"


def test_a_field_cannot_replace_a_key_of_the_line(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    event(log.info, "a.b", level="mine", time=1)
    assert (lines(stream)[0]["level"], lines(stream)[0]["level_"], lines(stream)[0]["time_"]) == (
        "info",
        "mine",
        1,
    )


def test_a_value_json_does_not_know_is_written_as_text(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    event(log.info, "a.b", value=complex(1, 2))
    assert lines(stream)[0]["value"] == "(1+2j)"


def test_an_exception_stays_on_the_line_it_belongs_to(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    event(log.error, "a.failed", exc_info=KeyError("missing"))
    (line,) = lines(stream)
    assert "KeyError: 'missing'" in str(line["exception"])


def test_a_text_line_is_short_and_quotes_what_could_fake_another(stream: io.StringIO) -> None:
    configure("text", stream=stream)
    event(log.warning, "file.skipped", path="a\nb c", size=3)
    assert stream.getvalue()[12:] == ' WARNING file.skipped path="a\\nb c" size=3\n'


def test_auto_is_text_on_a_terminal_and_json_elsewhere(stream: io.StringIO) -> None:
    terminal = Terminal()
    configure("auto", stream=terminal)
    event(log.error, "a.b")
    assert "\x1b[31mERROR  \x1b[0m a.b" in terminal.getvalue()
    configure("auto", stream=stream)
    event(log.error, "a.b")
    assert lines(stream)[0]["event"] == "a.b"


def test_configuring_twice_does_not_write_twice(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    configure("json", stream=stream)
    event(log.info, "a.b")
    assert len(lines(stream)) == 1


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    configure("json", level="warning", stream=stream)
    event(log.info, "a.b")
    assert stream.getvalue() == ""


def test_a_record_names_the_caller_and_reads_well_in_a_foreign_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    event(log.warning, "a.b", x=1.23456789)
    (record,) = caplog.records
    assert (record.filename, record.getMessage()) == ("test_log.py", "a.b x=1.23457")


def test_importing_configures_nothing() -> None:
    code = (
        "import logging, headrace.core.log\n"
        "assert not logging.getLogger().handlers\n"
        "assert not logging.getLogger('headrace').handlers\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
