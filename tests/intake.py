"""What the tests of the writing side stand on: a real buffer, indexes by name, and an index of its own simple kind.

The `Model` is what stands behind the local socket in place of the ingester: it reads the same log, applies
operations one by one to a dict, and says what became of each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from headrace.buffer.base import BULK, Stored, unpack_head
from headrace.buffer.reader import open_log
from headrace.buffer.writer import Bounds, Buffer
from headrace.core.clock import SystemClock
from headrace.core.errors import RequestError
from headrace.index.base import Reader
from headrace.model import Outcome
from headrace.serve import bulk, pushes, writes
from headrace.serve.names import Named, Target
from headrace.serve.push import Push

BOUNDS = Bounds(max_bytes=1 << 30, log_bytes=1 << 30, max_age=None, file_bytes=64 << 20)
PIECE = 1 << 20


@dataclass(frozen=True)
class Operation:
    """One record as it was stored."""

    record: int
    op: str
    id: str | None
    document: Any
    body: Any = None
    if_seq: int | None = None
    exact: bool = False


def operations(stored: Sequence[Stored]) -> list[Operation]:
    """Bulk entries, read as the ingester reads them."""
    found = []
    for one in stored:
        assert BULK == one.entry.kind
        head = unpack_head(one.entry.head)
        lines = one.entry.body.split(b"\n")
        assert b"" == lines.pop(), "the last line ends"
        assert one.entry.records == len(lines)
        for place, line in enumerate(lines):
            found.append(
                Operation(
                    one.first + place,
                    head.ops[place] if head.ops else "i",
                    head.ids[place] if head.ids else None,
                    json.loads(line) if line.strip() else None,
                    json.loads(head.bodies[place]) if place in head.bodies else None,
                    head.if_seq.get(place),
                    head.exact,
                )
            )
    return found


def entries(directory: Path, log: str) -> list[Stored]:
    """All that a log holds."""
    reader = open_log(directory, log)
    found: list[Stored] = []
    try:
        while more := reader.read(found[-1].end if found else 0, size=PIECE):
            found += more
    finally:
        reader.close()
    return found


class Shelf:
    """Indexes by name; made at the first write unless that is off."""

    def __init__(self, *targets: Target, auto_create: bool = True) -> None:
        self.targets = {target.index: target for target in targets}
        self.aliases: dict[str, str] = {}
        self.auto_create = auto_create

    def names(self) -> list[str]:
        return sorted(self.targets)

    def get(self, name: str) -> Reader:
        raise NotImplementedError

    def resolve(
        self, expression: str, *, ignore_unavailable: bool = False, allow_no_indices: bool = True
    ) -> list[Named]:
        raise NotImplementedError

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        if require_alias and name not in self.aliases:
            return None
        return self.targets.get(self.aliases.get(name, name))

    def feeding(self, index: str) -> list[Target]:
        return [self.targets[index]] if index in self.targets else []

    async def create(self, name: str) -> Target:
        if name != name.lower():
            reason = f"Invalid index name [{name}], must be lowercase"
            raise RequestError(400, "invalid_index_name_exception", reason)
        if not self.auto_create:
            reason = f"no such index [{name}] and [action.auto_create_index] is [false]"
            raise RequestError(404, "index_not_found_exception", reason)
        self.targets[name] = Target(name, f"uuid-{name}", f"uuid-{name}", f"push:{name}")
        return self.targets[name]


@dataclass
class Model:
    """An index as a dict per log. `away`: the error that whoever waits gets."""

    directory: Path
    documents: dict[str, dict[str, tuple[int, Any]]] = field(default_factory=dict)
    outcomes: dict[str, dict[int, Outcome]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    waits: list[tuple[str, int, str, bool, float]] = field(default_factory=list)
    away: RequestError | None = None

    async def wait(
        self,
        target: Target,
        record: int,
        *,
        level: str,
        results: Sequence[tuple[int, int]] = (),
        force: bool = False,
        within: float = 30.0,
    ) -> list[Outcome]:
        self.waits.append((target.log, record, level, force, within))
        if self.away is not None:
            raise self.away
        found = [one for one in entries(self.directory, target.log) if one.entry.kind == BULK]
        assert not results or record <= found[-1].end, "what is waited for is in the buffer"
        for operation in operations(found):
            if operation.record >= self.done.get(target.log, 0):
                self._apply(target.log, operation)
        self.done[target.log] = found[-1].end if found else record
        known = self.outcomes.get(target.log, {})
        return [known[record] for first, end in results for record in range(first, end)]

    def _apply(self, log: str, operation: Operation) -> None:
        documents = self.documents.setdefault(log, {})
        key = operation.id or f"derived-{operation.record}"
        self.outcomes.setdefault(log, {})[operation.record] = _outcome(documents, operation, key)


def _outcome(documents: dict[str, tuple[int, Any]], operation: Operation, key: str) -> Outcome:
    record, there = operation.record, documents.get(key)
    if operation.if_seq is not None and (there is None or there[0] != operation.if_seq):
        reason = f"[{key}]: version conflict, required seqNo [{operation.if_seq}], primary term [1]."
        return Outcome(record, key, "error", 409, -1, "version_conflict_engine_exception", reason)
    if operation.op == "d":
        found = documents.pop(key, None)
        result, status = ("deleted", 200) if found else ("not_found", 404)
        return Outcome(record, key, result, status, record)
    if operation.op == "c" and there is not None:
        reason = f"[{key}]: version conflict, document already exists (current version [{there[0] + 1}])"
        return Outcome(record, key, "error", 409, -1, "version_conflict_engine_exception", reason)
    if operation.op == "u":
        return _updated(documents, operation, key)
    if "poison" in operation.document:
        reason = "failed to parse field [poison]"
        return Outcome(record, key, "error", 400, -1, "document_parsing_exception", reason)
    documents[key] = record, operation.document
    result, status = ("created", 201) if there is None else ("updated", 200)
    return Outcome(record, key, result, status, record)


def _updated(documents: dict[str, tuple[int, Any]], operation: Operation, key: str) -> Outcome:
    there, record = documents.get(key), operation.record
    if there is None:
        if operation.document is None:
            reason = f"[{key}]: document missing"
            return Outcome(record, key, "error", 404, -1, "document_missing_exception", reason)
        documents[key] = record, operation.document
        return Outcome(record, key, "created", 201, record)
    merged = {**there[1], **operation.body.get("doc", {})}
    if merged == there[1] and operation.body.get("detect_noop", True):
        return Outcome(record, key, "noop", 200, there[0])
    documents[key] = record, merged
    return Outcome(record, key, "updated", 200, record)


def app(push: Push, buffer: Buffer) -> Starlette:
    """The writing side alone, as the server mounts it."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await buffer.open()
        try:
            yield
        finally:
            await buffer.close()

    data = [*bulk.routes(push), *writes.routes(push)]
    return Starlette(routes=[Mount("/es", routes=data), *data, *pushes.routes(push)], lifespan=lifespan)


@dataclass
class Service:
    """The writing side, running."""

    client: TestClient
    push: Push
    shelf: Shelf
    model: Model
    buffer: Buffer
    directory: Path

    def stored(self, index: str = "logs") -> list[Operation]:
        """What the index's log holds."""
        return operations(self.entries(self.shelf.targets[index].log))

    def entries(self, log: str) -> list[Stored]:
        return entries(self.directory, log)

    def bulk(self, body: bytes | list[Any], path: str = "/_bulk", **more: Any) -> Any:
        """POST a bulk body; the answer."""
        sent = body if isinstance(body, bytes) else ndjson(body)
        headers = {"Content-Type": "application/x-ndjson", **more.pop("headers", {})}
        return self.client.post(path, content=sent, headers=headers, **more)


def ndjson(lines: list[Any]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


@contextmanager
def service(
    directory: Path, *targets: Target, auto_create: bool = True, bounds: Bounds = BOUNDS, **more: Any
) -> Iterator[Service]:
    """The writing side on a buffer in `directory`; `more` goes to Push."""
    directory = directory / "buffer"
    buffer = Buffer(directory, bounds, SystemClock())
    shelf, model = Shelf(*targets, auto_create=auto_create), Model(directory)
    push = Push(shelf, buffer, model, **more)
    with TestClient(app(push, buffer)) as client:
        yield Service(client, push, shelf, model, buffer, directory)
