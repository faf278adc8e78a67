"""The index's folder: `index.json` says what it is, `engine/` is the engine's own.

Nothing in it is changed before its format is known: a newer version's index is refused untouched. The engine
is made first and the description last, so a folder without `index.json` holds nothing worth keeping, unless
the engine has segments.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import tantivy

from headrace.core.errors import Retryable, StoreError
from headrace.core.files import replace_file
from headrace.fields import Field
from headrace.index.tantivy.analysis import register_analyzers, tokenizers_of
from headrace.index.tantivy.damage import readable
from headrace.index.tantivy.schema import POSITION, EngineSchema, build, inexact_dates, patched

FORMAT: Final = 1
DESCRIPTION: Final = "index.json"
ENGINE: Final = "engine"
META: Final = "meta.json"


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an index is, as written when it was made. Only `format` is read before the version is known."""

    format: int
    uuid: str
    name: str
    fields: dict[str, Field]
    id: tuple[str, ...] = ()
    dynamic: str = "true"
    field_limit: int
    iso_dates: bool = False

    @property
    def schema(self) -> EngineSchema:
        return build(
            self.fields,
            field_limit=self.field_limit,
            open=self.dynamic == "true",
            iso_dates=self.iso_dates,
        )


class _Versioned(msgspec.Struct):
    format: int


def describe(
    name: str, fields: Mapping[str, Field], key: Sequence[str], dynamic: str, field_limit: int
) -> Description:
    """A new index's description, with an identity of its own."""
    return Description(
        format=FORMAT,
        uuid=str(uuid.uuid4()),
        name=name,
        fields=dict(fields),
        id=tuple(key),
        dynamic=dynamic,
        field_limit=field_limit,
        iso_dates=True,
    )


def exists(directory: Path) -> bool:
    return (directory / DESCRIPTION).exists()


def read_description(directory: Path) -> Description:
    """The description of the index in `directory`. Raises StoreError: no index, unknown format, damaged."""
    path = directory / DESCRIPTION
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(f"no index in {directory}: cannot read {DESCRIPTION}: {error.strerror}") from error
    try:
        found = msgspec.json.decode(text, type=_Versioned).format
        if found != FORMAT:
            raise StoreError(
                f"{path} has format {found}, this version knows {FORMAT}; "
                "use the version of headrace that wrote it (nothing was changed)"
            )
        return msgspec.json.decode(text, type=Description)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is damaged: {error}; restore it, or index again elsewhere") from error


def create(directory: Path, description: Description) -> None:
    """Make an empty index; a kill at any point leaves either it or nothing worth keeping."""
    engine, new = directory / ENGINE, directory / f"{ENGINE}.new"
    if engine.exists() and read_meta(engine)["segments"]:
        raise StoreError(f"{directory} holds an engine's documents but no {DESCRIPTION}; restore that file")
    for leftover in (engine, new):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    tantivy.Index(description.schema.schema, str(new))
    replace_file(new / META, json.dumps(patched(read_meta(new))).encode())
    new.rename(engine)
    replace_file(directory / DESCRIPTION, msgspec.json.format(msgspec.json.encode(description)))


def made(directory: Path, wanted: Description) -> Description:
    """The index in `directory`, made if there is none. Raises StoreError where its mapping is another one,
    Retryable where it cannot be made."""
    if not exists(directory):
        try:
            create(directory, wanted)
        except OSError as error:
            raise Retryable(f"cannot make an index in {directory}: {error.strerror}") from error
    stored = read_description(directory)
    changes = mapping_changes(stored, wanted)
    if changes:
        raise StoreError(
            f"the mapping of index {wanted.name!r} changed: {'; '.join(changes)}; "
            "a mapping never changes in place: change it back, or index again under another name"
        )
    return stored


def open_engine(directory: Path, engine: Path | None = None) -> tantivy.Index:
    """The engine's index with our analyzers, its dates known to be exact. Raises StoreError.

    `engine` is its folder where that is not in `directory` (see `live`)."""
    engine = directory / ENGINE if engine is None else engine
    meta = read_meta(engine)
    inexact = inexact_dates(meta)
    if inexact:
        raise StoreError(
            f"{engine / META} keeps whole seconds only for {', '.join(inexact)}; it was changed, index again"
        )
    index = readable(lambda: tantivy.Index.open(str(engine)), f"the index in {engine}")
    register_analyzers(index, tokenizers_of(meta))
    readable(lambda: index.config_reader("manual"), f"the index in {engine}")
    return index


def open_writer(index: tantivy.Index, engine: Path, memory: int, threads: int) -> tantivy.IndexWriter:
    """The one writer that the engine's index in this folder may have. Raises StoreError, Retryable."""
    try:
        writer = index.writer(heap_size=memory, num_threads=threads)
        _spend_first_number(writer)
    except (ValueError, OSError) as error:
        if "LockBusy" in str(error):
            raise StoreError(f"{engine} is in use by another process; stop that one first") from error
        raise Retryable(f"cannot open a writer in {engine}: {error}") from error
    return writer


def _spend_first_number(writer: tantivy.IndexWriter) -> None:
    """Let the first operation of a writer be one that matters to nobody.

    It gets the number (opstamp) of the last commit again. A merge of committed segments takes all deletes up
    to that number, so a real one would be in it before its commit; and a segment that the last commit deleted
    from counts as up to date and is left out, so what is deleted there comes back when the merge ends.
    """
    writer.delete_documents_by_term(POSITION, "")


def read_meta(engine: Path) -> dict[str, Any]:
    """The engine's `meta.json`: segments, schema, opstamp. Raises StoreError."""
    path = engine / META
    try:
        meta: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; restore it, or index again") from error
    return meta


def mapping_changes(stored: Description, wanted: Description) -> list[str]:
    """How a declared mapping differs from the one the index was made with, a line per difference."""
    changes = [
        f"{name}: {_told(stored.fields.get(name))} became {_told(wanted.fields.get(name))}"
        for name in sorted({*stored.fields, *wanted.fields})
        if stored.fields.get(name) != wanted.fields.get(name)
    ]
    for option in ("id", "dynamic"):
        was, now = getattr(stored, option), getattr(wanted, option)
        if was != now:
            changes.append(f"{option}: {_listed(was)} became {_listed(now)}")
    if not changes and set(stored.schema.columns) != set(wanted.schema.columns):
        changes.append(f"field_limit: {stored.field_limit} became {wanted.field_limit}")
    return changes


def _told(field: Field | None) -> str:
    if field is None:
        return "nothing"
    return " ".join(str(value) for value in msgspec.to_builtins(field).values())


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else f"[{', '.join(value)}]"
