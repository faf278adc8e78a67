"""What can be wrong with an input, as a user brings it, and the message that says so.

The page `docs/errors.md` is written from these cases: `python tests/services/wrong_inputs.py > docs/errors.md`.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from headrace.core.lock import RoleLock
from headrace.layout import run_directory

CONFIGURATION = """\
data_dir: data
disk_reserve: 1MB
server: { port: PORT }
indexes:
  good: { type: tantivy, memory: 32MB, fields: { n: integer } }
  bad:
    type: tantivy
    memory: 32MB
    fields: { n: integer }
pipelines:
  good: { source: { type: files, paths: [good.ndjson] }, index: good }
  bad:
    source:
      type: files
      paths: [input]
    transform: []
    index: bad
"""

RECORDS = 100
EVERYTHING = {"good": RECORDS, "bad": RECORDS}
NOTHING: dict[str, int] = {}

LARGE = 100_000_000
ONCE = ("run", "service.yaml", "--only", "ingester", "--once")
BOTH = ("run", "service.yaml", "--once")
SERVER = ("run", "service.yaml", "--only", "server")


@dataclass(frozen=True)
class Case:
    """One wrong input.

    says:    the last line on stderr, or the detail of the only dead letter (`reason` is its code); DIR, PORT
             and PID stand for what differs from run to run
    holds:   documents in each index afterwards
    edits:   what is written in place of what in the configuration
    given:   makes the file `input`; around: what else there is while the command runs
    """

    title: str
    says: str
    means: str
    do: str
    code: int
    holds: dict[str, int]
    reason: str | None = None
    edits: tuple[tuple[str, str], ...] = ()
    given: Callable[[], bytes] = lambda: b"".join(lines())
    around: Callable[[Path, int], AbstractContextManager[object]] = lambda _, __: nullcontext()
    again: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ONCE


def lines() -> list[bytes]:
    """The records of a good file, one a line."""
    return [json.dumps({"n": n, "word": f"w{n % 7}"}).encode() + b"\n" for n in range(1, RECORDS + 1)]


def with_line_37(line: bytes) -> bytes:
    good = lines()
    return b"".join([*good[:36], line + b"\n", *good[37:]])


def truncated() -> bytes:
    """A gzip file that lost its last 100 bytes."""
    return gzip.compress(b"".join(lines()), mtime=0)[:-100]


@contextmanager
def port_in_use(_: Path, port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def another_process(folder: Path, _: int) -> RoleLock:
    return RoleLock(run_directory(folder / "data"), "ingester")


FAILED_ONE = "error: 1 of 2 pipelines failed: pipeline bad: "

CASES = (
    Case(
        title="A file that is not there",
        edits=(("[input]", "[none.ndjson]"),),
        says=f"{FAILED_ONE}service.yaml:15: pipelines.bad.source.paths[0]: no such file: 'none.ndjson', "
        "relative paths start from DIR",
        means="A path without a wildcard names a file that does not exist. Relative paths start from the "
        "folder of the configuration. Other pipelines go on.",
        do="Correct the path, or write a pattern (`*.ndjson`) with `follow: true` for files that come later.",
        code=1,
        holds={"good": RECORDS, "bad": 0},
    ),
    Case(
        title="A kind that does not exist",
        edits=(("      type: files", "      type: fils"),),
        says="service.yaml:14: pipelines.bad.source.type: unknown source type 'fils', "
        "did you mean 'files'? (have: KINDS)",
        means="There is no such source, transform or index; nothing was started.",
        do="Take one of those listed; `headrace components` shows them with their options.",
        code=2,
        holds=NOTHING,
        command=BOTH,
    ),
    Case(
        title="An option of the wrong type",
        edits=(("[input]", "5"),),
        says="service.yaml:15: pipelines.bad.source.paths: expected list, got integer",
        means="The option needs another type of value; nothing was started.",
        do="Write the value as the message expects it; `headrace components` describes every option.",
        code=2,
        holds=NOTHING,
        command=BOTH,
    ),
    Case(
        title="An expression with an unknown field",
        edits=(("transform: []", "transform: [{ where: 'm > 1' }]"),),
        says=f"{FAILED_ONE}service.yaml:16: pipelines.bad.transform[0].where: unknown field 'm' "
        "at line 1, column 1, have: n, word",
        means="The expression names a field that is neither declared nor in the first records.",
        do="Correct the name. A field that comes only later in the input is declared in the index's `fields`. "
        "`headrace check` finds this before anything is started.",
        code=1,
        holds={"good": RECORDS, "bad": 0},
    ),
    Case(
        title="An expression that cannot be read",
        edits=(("transform: []", "transform: [{ where: 'n >' }]"),),
        says=f"{FAILED_ONE}service.yaml:16: pipelines.bad.transform[0].where: "
        "not an SQL expression after line 1, column 3 in 'n >'",
        means="The text is no SQL expression.",
        do="Correct it at the place that is named. `headrace check` finds this before anything is started.",
        code=1,
        holds={"good": RECORDS, "bad": 0},
    ),
    Case(
        title="A value of the wrong type",
        edits=(("transform: []", "transform: [{ validate: { n: { type: integer } } }]"),),
        given=lambda: with_line_37(b'{"n":"many","word":"w"}'),
        says="n: found 'many', expected integer",
        reason="wrong_type",
        means="The record was rejected by a rule of `validate`; every other record was indexed.",
        do="See it with `headrace dlq show`. Correct it where it comes from, or allow the value.",
        code=0,
        holds={"good": RECORDS, "bad": RECORDS - 1},
    ),
    Case(
        title="A malformed line",
        given=lambda: with_line_37(b'{"n":37,'),
        says="DIR/input:37: not JSON: input data was truncated, found '{\"n\":37,'",
        reason="malformed",
        means="Line 37 is not JSON; every other line was indexed.",
        do="See it with `headrace dlq show`, and correct what writes the file.",
        code=0,
        holds={"good": RECORDS, "bad": RECORDS - 1},
    ),
    Case(
        title="Bytes that are not UTF-8",
        given=lambda: with_line_37(b'{"n":37,"word":"\xff\xfe"}'),
        says="DIR/input:37: column 17: byte 0xff is not UTF-8",
        reason="invalid_utf8",
        means="Line 37 is in another encoding, or damaged; every other line was indexed.",
        do="Convert the file to UTF-8. The dead letter keeps the line's bytes as they were.",
        code=0,
        holds={"good": RECORDS, "bad": RECORDS - 1},
    ),
    Case(
        title="A line of 100 MB",
        given=lambda: with_line_37(b'{"n":37,"word":"' + b"x" * (LARGE - 19) + b'"}'),
        says="DIR/input:37: record of 100,000,000 bytes is over max_record_bytes (16,777,216)",
        reason="record_too_large",
        means="One record is larger than a record may be; it was passed over without being held in memory, "
        "and its beginning is kept. Every other line was indexed.",
        do="Raise `max_record_bytes` of the source if such records are meant to be; else look whether line "
        "breaks are missing.",
        code=0,
        holds={"good": RECORDS, "bad": RECORDS - 1},
    ),
    Case(
        title="A truncated archive",
        given=truncated,
        says=f"{FAILED_ONE}DIR/input: gzip stream ends early after BYTES decompressed bytes; "
        "the records before it were read, replace the file and start again",
        means="The compressed file ends in the middle, as a broken download does. What could be read was "
        "indexed; other files and other pipelines went on.",
        do="Replace it by the whole file and start again: what was indexed is not indexed twice.",
        code=1,
        holds={"good": RECORDS},
    ),
    Case(
        title="A data directory that cannot be written",
        edits=(("data_dir: data", "data_dir: good.ndjson/data"),),
        says="error: cannot write in DIR/good.ndjson/data/run: Not a directory; "
        "make the folder writable or choose another data_dir",
        means="The process may not write there, or a file is in the way; nothing was started.",
        do="Give the user that runs Headrace the right to write, or choose another `data_dir`.",
        code=1,
        holds=NOTHING,
        command=BOTH,
    ),
    Case(
        title="A port in use",
        around=port_in_use,
        says="error: cannot listen on 127.0.0.1:PORT: Address already in use; "
        "stop what uses it, or choose another port (server.port, --port)",
        means="Another program listens on the port, perhaps Headrace itself, started twice.",
        do="Stop the other one, or set another `server.port`.",
        code=1,
        holds=NOTHING,
        command=SERVER,
    ),
    Case(
        title="A second process on the same data directory",
        around=another_process,
        says="error: DIR/data/run is in use: another ingester (process PID) holds it; "
        "stop that one first, or give this one its own data_dir",
        means="Only one ingester may write to a data directory; the second one changed nothing.",
        do="Stop the process that is named, or use another `data_dir`. To search the same data from a second "
        "process, use `headrace serve`.",
        code=1,
        holds=NOTHING,
    ),
    Case(
        title="An index whose mapping changed",
        again=(("    fields: { n: integer }", "    fields: { n: keyword }"),),
        says=f"{FAILED_ONE}the mapping of index 'bad' changed: n: integer became keyword; "
        "a mapping never changes in place: change it back, or index again under another name",
        means="The index was made with other fields than those declared now. It is left as it is and can "
        "still be searched; other pipelines go on.",
        do="Change the declaration back, or declare the new fields under another index name and read the "
        "input again into that.",
        code=1,
        holds=EVERYTHING,
    ),
)

HEAD = """\
# Messages

What Headrace says when something is wrong with what it was given: what, which, where, and what next. Each
message below is the outcome of a test that makes the mistake. Exit codes: 0 done, 1 failed, 2 usage or
configuration, 3 finished with rejected records (`--strict`). DIR, PORT and PID differ from run to run.

A record that cannot be indexed never stops the others: it becomes a dead letter with a reason code, its own
bytes, and where it came from. `headrace dlq list DIR` and `headrace dlq show DIR ID` read them.
"""


def page() -> str:
    """`docs/errors.md`."""
    return "\n".join([HEAD, *(_section(case) for case in CASES)])


def _section(case: Case) -> str:
    kept = f", kept as a dead letter with the reason `{case.reason}`" if case.reason else ""
    return (
        f"## {case.title}\n\n```text\n{case.says}\n```\n\n"
        f"{case.means}\n\n**What to do:** {case.do}\n\nExit code {case.code}{kept}.\n"
    )


def filled(text: str, folder: Path, port: int, values: dict[str, str]) -> str:
    """A message with its places filled in."""
    for name, value in {"DIR": str(folder), "PORT": str(port), "PID": str(os.getpid()), **values}.items():
        text = text.replace(name, value)
    return text


if __name__ == "__main__":
    sys.stdout.write(page())
