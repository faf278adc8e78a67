"""PostgreSQL with `COPY` and a GIN index: a server of its own in the folder, durable as it comes.

Only where its programs are on the machine. As root it runs as another user: it refuses root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benches.instead import Absent, Question, Record, library
from benches.instead._lines import COLUMNS, batches

HOMES: Final = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin")
OTHERS: Final = ("postgres", "nobody")
SCHEMA: Final = """
create table logs (
  id text, ts timestamptz, level text, service text, status integer, dur double precision, message text,
  words tsvector generated always as (to_tsvector('simple', message)) stored
);
create index on logs (id);
create index on logs (service, level, ts);
create index on logs (status);
create index on logs using gin (words);
"""
ASKED: Final = {
    "term": "select * from logs where id = %s",
    "phrase": "select * from logs where words @@ phraseto_tsquery('simple', %s) limit 10",
    "filter": (
        "select * from logs where service = %s and level = 'error' and ts < %s order by ts desc limit 10"
    ),
    "terms": "select service, count(*), avg(dur) from logs where status >= %s group by service",
}


class Postgres:
    def __init__(self, folder: Path) -> None:
        programs = {name: _program(name) for name in ("initdb", "postgres")}
        psycopg = library("psycopg")
        folder.mkdir(parents=True)
        user = _somebody() if os.geteuid() == 0 else None
        if user is not None:
            _open_to(folder, user)
        data = folder / "data"
        subprocess.run(
            [programs["initdb"], "-D", data, "-A", "trust", "-U", "bench", "-E", "UTF8", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=folder,
        )
        self._server = subprocess.Popen(
            [programs["postgres"], "-D", data, "-k", folder, "-h", ""],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            cwd=folder,
        )
        try:
            self._connection = _connected(psycopg, folder)
            self._connection.execute(SCHEMA)
            self._connection.commit()
        except BaseException:
            self._stop()
            raise
        number = self._connection.info.server_version
        self.told = f"PostgreSQL {number // 10_000}.{number % 100}, COPY, GIN"

    def load(self, source: Path) -> None:
        for records in batches(source):
            self.add(records)
        self._connection.execute("analyze logs")
        self._connection.commit()

    def add(self, records: Sequence[Record]) -> None:
        with self._connection.cursor().copy(f"copy logs ({', '.join(COLUMNS)}) from stdin") as copy:
            for record in records:
                copy.write_row([record[name] for name in COLUMNS])
        self._connection.commit()

    def ask(self, question: Question) -> int:
        values = (question.service, question.value) if question.kind == "filter" else (question.value,)
        found = self._connection.execute(ASKED[question.kind], values).fetchall()
        self._connection.commit()
        return len(found)

    def close(self) -> None:
        self._connection.execute("checkpoint")
        self._connection.close()
        self._stop()

    def _stop(self) -> None:
        self._server.terminate()
        self._server.wait(timeout=60)


def _connected(psycopg: Any, folder: Path) -> Any:
    give_up = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(host=str(folder), user="bench", dbname="postgres")
        except psycopg.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is not None:
        return found
    for home in HOMES:
        for folder in sorted(Path("/").glob(home[1:]), reverse=True):
            if (folder / name).exists():
                return str(folder / name)
    raise Absent(f"{name} of PostgreSQL is not on this machine")


def _somebody() -> int:
    for name in OTHERS:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise Absent("PostgreSQL refuses to run as root, and there is no other user")


def _open_to(folder: Path, user: int) -> None:
    """Give the folder away, and let its new owner come through the run's own above it, and no other."""
    closed = [above for above in folder.parent.parents if not above.stat().st_mode & 0o001]
    if closed:
        raise Absent(f"PostgreSQL refuses root, and nobody else may enter {closed[-1]} (see --work)")
    os.chown(folder, user, -1)
    folder.parent.chmod(folder.parent.stat().st_mode | 0o011)


def create(folder: Path) -> Postgres:
    return Postgres(folder)
