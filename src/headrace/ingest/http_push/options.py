"""The options of `http_push`: how bodies are read, how far back an answer waits, whose log is read."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.ingest.formats.base import Character, FormatOptions


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    log: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="the pipeline whose pushes are read; if not given: those to this pipeline itself"),
    ] = None
    ack: Annotated[
        Literal["durable", "indexed"],
        Meta(
            description="when a push is answered, unless it says so itself (`?ack=`): `durable`, once it "
            "is safe on disk; `indexed`, once it can be searched"
        ),
    ] = "durable"
    max_record_bytes: Annotated[
        int, Meta(ge=1, description="larger records are rejected (`record_too_large`)")
    ] = 16 << 20
    delimiter: Annotated[
        Character | None, Meta(description="of CSV bodies: inferred from each body if not given")
    ] = None
    quote: Annotated[
        Annotated[str, Meta(max_length=1)] | None,
        Meta(description='of CSV bodies: `"` if not given; empty for none'),
    ] = None
    header: Annotated[
        bool | None,
        Meta(
            description="of CSV bodies: whether the first line of each names the columns; if not given: it "
            "does, unless `columns` are declared"
        ),
    ] = None
    columns: Annotated[
        tuple[str, ...] | None, Meta(description="of CSV bodies: column names, where there is no header")
    ] = None
    null_values: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="of CSV bodies: texts that mean null; if not given, the usual ones, in typed "
            "columns only"
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.header is False and self.columns is None:
            raise ConfigError("`header: false` needs `columns`: their names", path=("header",))

    @property
    def format(self) -> FormatOptions:
        """What the formats are told. A body stands alone, so nothing about its header is guessed."""
        return FormatOptions(
            max_record_bytes=self.max_record_bytes,
            delimiter=self.delimiter,
            quote=self.quote,
            header=self.columns is None if self.header is None else self.header,
            columns=self.columns,
            null_values=self.null_values,
        )
