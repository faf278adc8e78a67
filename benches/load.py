"""An open-loop client, `python -m benches.load`: a process of its own, so it shares no lock with anybody.

Requests are due at fixed times whatever the answers do, and every latency counts from when its request was
*due*: a service that stalls makes all that waits behind it late, and nothing hides (coordinated omission).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from benches import records as made

CONNECTIONS: Final = 16
PROBE_EVERY_SECONDS: Final = 0.05
"""How often a request's records are looked for; each probe waits for them on a connection of its own."""

BODIES: Final = 50
"""Different bodies, sent in turn: making them must cost the client nothing while it measures."""


@dataclass
class Seen:
    """Latencies in seconds, and what went wrong."""

    acknowledged: list[float] = field(default_factory=list)
    searchable: list[float] = field(default_factory=list)
    refused: int = 0
    records: int = 0


class Connection:
    """One kept HTTP/1.1 connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body


class Load:
    """Pushes `rate` records a second for `seconds`, `batch` in a request; before, `warm` seconds of the same
    that are not timed."""

    def __init__(
        self, port: int, *, rate: int, seconds: float, batch: int, probing: bool = True, warm: float = 0.0
    ) -> None:
        self._port = port
        self._warm = warm
        self._counted_from = 0.0
        self._asks = probing
        self._rate, self._seconds, self._batch = rate, seconds, batch
        self._requests, self._last_ids = requests(batch)
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self._probing: set[asyncio.Task[None]] = set()
        self._probed = 0.0
        self._last: tuple[int, str, float] | None = None
        self.seen = Seen()

    async def run(self) -> dict[str, Any]:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(Connection(self._port))
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_before = used.ru_utime + used.ru_stime
        count = round(self._rate * (self._warm + self._seconds) / self._batch)
        started = time.perf_counter() + 0.2
        self._counted_from = started + self._warm
        pushing = []
        for number in range(count):
            due = started + number * self._batch / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            pushing.append(asyncio.create_task(self._push(number, due)))
        await asyncio.gather(*pushing)
        took = time.perf_counter() - started
        if self._asks and self._last is not None:
            self._ask_for(*self._last)  # what came last is searchable last: that is the lag
        await asyncio.gather(*self._probing)
        lag = time.perf_counter() - started - took
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "offered": self._rate,
            "rate": self.seen.records / took,
            "records": self.seen.records,
            "refused": self.seen.refused,
            "ack_ms": quantiles(self.seen.acknowledged),
            "searchable_ms": quantiles(self.seen.searchable),
            "probes": len(self.seen.searchable),
            "lag_s": lag,
            "seconds": took,
            "client_cpu_s": used.ru_utime + used.ru_stime - cpu_before,
        }

    async def _push(self, number: int, due: float) -> None:
        connection = await self._free.get()
        status, headers, body = await connection.ask(self._requests[number % len(self._requests)])
        now = time.perf_counter()
        self._free.put_nowait(connection)
        if status != 200 or b'"errors":false' not in body[:100]:
            self.seen.refused += self._batch
            return
        self.seen.records += self._batch
        if due < self._counted_from:
            return
        self.seen.acknowledged.append(now - due)
        self._last = number, headers["headrace-token"], due
        if self._asks and now - self._probed >= PROBE_EVERY_SECONDS:
            self._probed = now
            self._ask_for(*self._last)

    def _ask_for(self, number: int, token: str, due: float) -> None:
        self._probing.add(asyncio.create_task(self._probe(number, token, due)))

    async def _probe(self, number: int, token: str, due: float) -> None:
        """Find the last record of a request."""
        connection = Connection(self._port)
        status, _, body = await connection.ask(
            f"GET /{made.INDEX}/_search?q=id:{self._last_ids[number % len(self._last_ids)]}&size=1"
            f"&track_total_hits=false&after={token}&timeout=60s HTTP/1.1\r\nhost: bench\r\n\r\n".encode()
        )
        if status != 200 or b'"_id"' not in body:
            raise RuntimeError(f"a probe was answered {status}: {body[:300]!r}")
        self.seen.searchable.append(time.perf_counter() - due)


def requests(batch: int) -> tuple[list[bytes], list[str]]:
    """Whole requests, ready to be sent, and what each calls its last record."""
    source = made.records(batch * BODIES)
    found, ids = [], []
    for _ in range(BODIES):
        records = list(islice(source, batch))
        ids.append(str(records[-1]["id"]))
        body = b"".join(b'{"index":{}}\n%s\n' % made.encode(each).encode() for each in records)
        head = (
            f"POST /{made.INDEX}/_bulk HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found, ids


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the largest, in milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {}
    cuts = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    found = {name: ordered[min(int(cut * len(ordered)), len(ordered) - 1)] for name, cut in cuts.items()}
    return {name: value * 1000 for name, value in {**found, "max": ordered[-1]}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True, help="records a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm", type=float, default=0.0, help="seconds before, not timed")
    parser.add_argument("--batch", type=int, default=500, help="records a request")
    parser.add_argument("--no-probes", action="store_true", help="never ask when records can be searched")
    given = parser.parse_args()
    load = Load(
        given.port,
        rate=given.rate,
        seconds=given.seconds,
        batch=given.batch,
        probing=not given.no_probes,
        warm=given.warm,
    )
    json.dump(asyncio.run(load.run()), sys.stdout)


if __name__ == "__main__":
    main()
