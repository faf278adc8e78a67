"""The input: seeded log records of about 220 bytes, the configuration they are read with, and ready lines.

Everything is a function of a record's number, so any process can say what record 4711 must look like.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

WORDS_PER_MESSAGE: Final = 12
SLOW: Final = 250.0
ORIGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)

LEVELS: Final = ("debug", "info", "info", "info", "info", "warn", "error")
SERVICES: Final = ("checkout", "search", "billing", "gateway", "inventory", "mailer", "auth", "reports")
STATUSES: Final = (200, 200, 200, 200, 200, 201, 204, 301, 304, 400, 404, 404, 429, 500, 503)

INDEX: Final = "logs"
PIPELINE: Final = "logs"

TEAMS: Final = {service: f"team-{number % 3}" for number, service in enumerate(SERVICES)}
"""The table of the lookup: a service's team."""

FAILURE: Final = 500

CONFIG: Final = """\
data_dir: {data_dir}
server: {{ host: 127.0.0.1, port: {port} }}
log: {{ level: warning, style: json }}
indexes:
  logs:
    type: tantivy
    {identity}
    fields:
      id: keyword
      ts: date
      level: keyword
      service: keyword
      status: integer
      dur: float
      message: text
      slow: boolean
      failed: boolean
      team: keyword
pipelines:
"""
READ: Final = """\
  logs:
    source: {{ type: files, paths: ["{source}"], format: ndjson }}
    transform:
      - validate: {{ ts: {{ required: true }}, status: {{ min: 100, max: 599 }}, dur: {{ min: 0 }} }}
      - set: {{ slow: "dur > 250" }}
      - set: {{ failed: "status >= 500" }}
      - lookup: {{ table: "{teams}", key: service, add: {{ team: team }} }}
    index: logs
"""
"""P1: validate, two times set, one lookup."""

PUSHED: Final = """\
  pushed:
    source: { type: http_push }
    transform:
      - validate: { ts: { required: true }, status: { min: 100, max: 599 }, dur: { min: 0 } }
      - set: { slow: "dur > 250" }
    index: logs
"""


def vocabulary() -> list[str]:
    """5,000 words of 3 to 10 letters."""
    letters = random.Random(1)
    return [
        "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(3, 10))) for _ in range(5000)
    ]


def records(count: int, *, version: int = 0) -> Iterator[dict[str, Any]]:
    """The first `count` records. Another `version` has the same ids and other values."""
    words, chance = vocabulary(), random.Random(7 + version)
    moment = ORIGIN
    for number in range(count):
        moment += timedelta(microseconds=chance.randint(1, 20_000))
        yield {
            "id": f"{number:016x}",
            "ts": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": chance.choice(LEVELS),
            "service": chance.choice(SERVICES),
            "status": chance.choice(STATUSES),
            "dur": round(chance.expovariate(1 / 80.0), 3),
            "message": " ".join(chance.choices(words, k=WORDS_PER_MESSAGE)),
        }


def encode(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def write_input(path: Path, count: int, *, version: int = 0) -> None:
    """The records as NDJSON: what the pipeline reads."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{encode(record)}\n" for record in records(count, version=version))


def document(number: int, record: dict[str, Any]) -> str:
    """One document as the engine reads it, with every hidden field the product gives it.

    What the transforms add is in, so that both engines index the same; only the id's digest is made up.
    """
    added = {
        "slow": record["dur"] > SLOW,
        "failed": record["status"] >= FAILURE,
        "team": TEAMS[record["service"]],
    }
    source = encode({**record, **added})
    kept = base64.b64encode(source.encode()).decode()
    return f'{source[:-1]},"_seq":{number},"_id":"0123456789a-{number}","_source":"{kept}"}}'


def write_documents(path: Path, count: int) -> None:
    """Ready lines: what the bare engine is given."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{document(number, record)}\n" for number, record in enumerate(records(count)))


def head(whole: Path, path: Path, count: int) -> None:
    """The first lines of a file as a file of their own."""
    with whole.open("rb") as source, path.open("wb") as file:
        file.writelines(islice(source, count))


def write_config(
    folder: Path,
    source: Path | None = None,
    *,
    declared_id: bool = False,
    pushed: bool = False,
    port: int = 0,
    name: str = "headrace.yaml",
) -> Path:
    """The configuration of one measurement, in a folder of its own; records are read, or pushed, or both."""
    folder.mkdir(parents=True, exist_ok=True)
    teams = folder / "teams.csv"
    lines = (f"{service},{team}\n" for service, team in TEAMS.items())
    teams.write_text("".join(["service,team\n", *lines]), "utf-8")
    identity = "id: id" if declared_id else "# ids are derived"
    text = CONFIG.format(data_dir=folder / "data", port=port, identity=identity)
    text += READ.format(source=source, teams=teams) if source is not None else ""
    text += PUSHED if pushed else ""
    path = folder / name
    path.write_text(text, "utf-8")
    return path
