"""Small indexes for the tests of the searching side, written with the engine directly on the real schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.catalogue.entry import Alias
from headrace.core.errors import RequestError
from headrace.fields import Field, FieldType, parse_field
from headrace.index.base import Reader
from headrace.index.query.source import values_at
from headrace.index.tantivy import schema as engine
from headrace.index.tantivy import store
from headrace.index.tantivy.positions import PositionDocument
from headrace.index.tantivy.reader import TantivyReader
from headrace.model import Position
from headrace.serve import resolving
from headrace.serve.names import Named, Target


class Readers:
    """Indexes by name, as the server is given them, with their aliases; each is its own log's target."""

    def __init__(
        self,
        readers: Mapping[str, Reader],
        aliases: Mapping[str, Mapping[str, Alias]] | None = None,
    ) -> None:
        self.readers = dict(readers)
        self.aliases = aliases or {}
        self.uuids: dict[str, str] = {}

    def get(self, name: str) -> Reader:
        if name not in self.readers:
            raise RequestError(404, "index_not_found_exception", f"no such index [{name}]")
        return self.readers[name]

    def names(self) -> list[str]:
        return sorted(self.readers)

    def resolve(
        self, expression: str, *, ignore_unavailable: bool = False, allow_no_indices: bool = True
    ) -> list[Named]:
        found = resolving.resolve(
            expression,
            self.names(),
            self.aliases,
            ignore_unavailable=ignore_unavailable,
            allow_no_indices=allow_no_indices,
        )
        return [Named(name, self.readers[name], bound) for name, bound in found.items()]

    def target(self, name: str, *, require_alias: bool = False) -> Target | None:
        if name not in self.readers:
            return None
        uuid = self.uuids.get(name, f"uuid-{name}")
        return Target(name, uuid, uuid, f"push:{name}")

    def feeding(self, index: str) -> list[Target]:
        target = self.target(index)
        return [] if target is None else [target]

    async def create(self, name: str) -> Target:
        raise RequestError(404, "index_not_found_exception", f"no such index [{name}]")


def build(
    directory: Path,
    fields: Mapping[str, object],
    documents: Sequence[Mapping[str, Any]],
    *,
    commit_every: int = 1000,
    positions: Mapping[tuple[str, str], int] | None = None,
    name: str = "things",
    dynamic: str = "true",
) -> TantivyReader:
    """An index of these documents; `_id` is their own or their number, several commits are several segments."""
    declared = {label: parse_field(given) for label, given in fields.items()}
    description = store.describe(name, declared, (), dynamic, engine.FIELD_LIMIT)
    directory.mkdir(parents=True, exist_ok=True)
    store.create(directory, description)
    index = store.open_engine(directory)
    writer = index.writer(30_000_000, 1)
    for (pipeline, partition), record in (positions or {("p", "q"): 0}).items():
        position = PositionDocument(pipeline=pipeline, partition=partition, position=Position(record))
        writer.add_json(position.engine_line)
    for number, document in enumerate(documents):
        writer.add_json(_line(number, document, description.schema))
        if (number + 1) % commit_every == 0:
            writer.commit()
    writer.commit()
    writer.wait_merging_threads()
    return TantivyReader(directory)


def _line(number: int, document: Mapping[str, Any], schema: engine.EngineSchema) -> str:
    source = {name: value for name, value in document.items() if name != "_id"}
    line: dict[str, Any] = {
        "_id": str(document.get("_id", number)),
        "_seq": number,
        "_source": base64.b64encode(json.dumps(source, ensure_ascii=False).encode()).decode(),
    }
    dynamic: dict[str, Any] = {}
    for name, value in source.items():
        if value is None:
            continue
        if name in schema.columns and _fits(schema.fields[name], value):
            line[schema.columns[name]] = value
        else:
            dynamic[name] = value
    for path, column in schema.columns.items():
        if "." in path and (found := list(values_at(source, path))):
            line[column] = found
    return json.dumps(line | ({"_dyn": dynamic, "_dyn_text": dynamic} if dynamic else {}))


def _fits(field: Field, value: Any) -> bool:
    wanted: dict[FieldType, tuple[type, ...]] = {
        FieldType.INTEGER: (int,),
        FieldType.UNSIGNED: (int,),
        FieldType.FLOAT: (int, float),
        FieldType.BOOLEAN: (bool,),
    }
    values = value if isinstance(value, list) else [value]
    kinds = wanted.get(field.kind, (str,))
    if field.kind is FieldType.DATE:
        return all(isinstance(v, str) and engine.dynamic_date(v) is not None for v in values)
    if field.kind is FieldType.IP:
        return all(isinstance(v, str) and ("." in v or ":" in v) for v in values)
    return all(isinstance(v, kinds) and (isinstance(v, bool) == (kinds == (bool,))) for v in values)
