"""The options of `files`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.ingest.formats.base import FormatOptions

FormatName = Literal["auto", "ndjson", "json", "csv", "lines", "parquet", "arrow"]


class Settings(FormatOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    paths: Annotated[
        tuple[str, ...],
        msgspec.Meta(min_length=1, description="files, globs (`**` too), folders, or `-` for standard input"),
    ]
    format: Annotated[
        FormatName, msgspec.Meta(description="`auto` decides by content, then by the name's ending")
    ] = "auto"
    follow: Annotated[
        bool, msgspec.Meta(description="go on with what is appended and with new files, for ever")
    ] = False

    @property
    def options(self) -> FormatOptions:
        return self
