"""One answer as records: bytes cut at record boundaries, ready for a decoder of `ingest/formats`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from msgspec.structs import replace

from headrace.core.errors import Fatal, Retryable
from headrace.ingest.formats.base import BOM, KEPT_BYTES, CsvLayout, Hints
from headrace.ingest.formats.dialect import infer
from headrace.ingest.formats.split import quoting, record_ends
from headrace.ingest.http_pull.body import Document, Malformed, Truncated, steps
from headrace.ingest.http_pull.exchange import NOT_MODIFIED, Answer, joined, shown
from headrace.ingest.http_pull.options import Settings
from headrace.ingest.http_pull.place import Validators, fingerprint
from headrace.ingest.http_pull.trouble import excerpt
from headrace.model import Decoded, Decoder, Json, RawBatch, Rejection

_NOT_RECORDS: Final = re.compile(r"text/html|application/xhtml|image/|audio/|video/|font/|application/pdf")
_LINK: Final = re.compile(r"<([^>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]*))*)")
_REL: Final = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*))", re.IGNORECASE)


@dataclass
class Answered:
    """The page of one answer; `asked` is the digest of the request. Reading it raises Retryable, Fatal."""

    answer: Answer
    asked: str
    settings: Settings
    hints: Hints
    layout: CsvLayout | None = None
    missing: bool = False
    _values: dict[str, Json] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        return self.answer.status == NOT_MODIFIED

    @property
    def url(self) -> str:
        return self.answer.url

    @cached_property
    def records(self) -> list[bytes]:
        if self.missing or self.unchanged or self.answer.status == 204:
            return []
        self._check_type()
        if self.settings.format == "json":
            return self._in_json()
        body = self.answer.body.removeprefix(BOM)
        if self.settings.format == "csv":
            return self._in_csv(body)
        return [line.removesuffix(b"\r") for line in body.split(b"\n") if line and not line.isspace()]

    @cached_property
    def digest(self) -> str:
        return fingerprint(b"\n".join(self.records))

    def read(self) -> None:
        """Look at everything that will be asked for, now: an error in the body belongs to its request."""
        _ = self.digest
        for path in (self.settings.pagination.path, self.settings.pagination.more):
            if path is not None:
                self.value(path)

    @property
    def validators(self) -> Validators:
        headers = self.answer.headers
        etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
        return Validators(of=self.asked, etag=etag, modified=modified) if etag or modified else Validators()

    @property
    def next_link(self) -> str | None:
        """The `Link` of relation `next` (RFC 8288), absolute."""
        for target, attributes in _LINK.findall(self.answer.headers.get("link", "")):
            rel = _REL.search(attributes)
            if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                return joined(self.url, str(target))
        return None

    def value(self, path: str) -> Json:
        if self.missing or self.unchanged or self.answer.status == 204:
            return None
        if path not in self._values:
            try:
                self._values[path] = self._document.value(steps(path))
            except (Truncated, Malformed) as error:
                raise self._unreadable(error) from None
        return self._values[path]

    @cached_property
    def _document(self) -> Document:
        return Document(self.answer.body)

    def _in_json(self) -> list[bytes]:
        try:
            return self._document.records(steps(self.settings.records), single=self.settings.one_record)
        except (Truncated, Malformed) as error:
            raise self._unreadable(error) from None

    def _in_csv(self, body: bytes) -> list[bytes]:
        """Data records; header and types are those of the first page for ever."""
        if not body.strip():
            return []
        layout = self.layout or infer(body, self.settings, self.hints)
        first = self.layout is None
        records = _csv_records(body, layout)
        if len(records) > layout.header:
            self.layout = layout  # a header alone says nothing about types
        if not layout.header:
            return records
        names = layout.columns if first else self._header(records[0], layout)
        if names != layout.columns and self.settings.header is not False:
            said = ", ".join(names)
            raise Fatal(f"{shown(self.url)}: the columns are no longer those of the first page: {said}")
        return records[1:]

    def _header(self, record: bytes, layout: CsvLayout) -> tuple[str, ...]:
        known = replace(self.settings, delimiter=layout.delimiter, quote=layout.quote, header=True)
        return infer(record, known, self.hints).columns

    def _check_type(self) -> None:
        """A page for people in place of records is a wrong address, a login or a proxy: not our data."""
        kind = self.answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        xml = self.settings.format != "lines" and (kind.endswith(("/xml", "+xml")))
        if xml or _NOT_RECORDS.match(kind):
            raise Fatal(
                f"{shown(self.url)}: answered {kind}, expected {self.settings.format}: check `url`"
                f"{excerpt(self.answer.body)}"
            )

    def _unreadable(self, error: Truncated | Malformed) -> Retryable | Fatal:
        if isinstance(error, Truncated):
            return Retryable(
                f"{shown(self.url)}: the body ends in the middle ({len(self.answer.body):,} bytes)"
            )
        return Fatal(f"{shown(self.url)}: {error}{excerpt(self.answer.body)}")


@dataclass(frozen=True, slots=True)
class WithoutLarge:
    """A decoder of a batch some of whose records are over `max_record_bytes`; their lines are empty."""

    inner: Decoder
    large: dict[int, bytes]
    where: str
    limit: int

    def decode(self, raw: RawBatch) -> Decoded:
        decoded = self.inner.decode(raw)
        rejections = [
            Rejection(
                number,
                "decode",
                "record_too_large",
                f"{self.where}: record {number} of {len(record):,} bytes is over max_record_bytes "
                f"({self.limit:,})",
                record[:KEPT_BYTES],
            )
            for number, record in self.large.items()
        ]
        every = (*decoded.rejections, *rejections)
        return Decoded(decoded.frames, every, decoded.records + len(rejections), decoded.texts)

    def original(self, raw: RawBatch, record: int) -> bytes | None:
        if record in self.large:
            return self.large[record][:KEPT_BYTES]
        return self.inner.original(raw, record)


def _csv_records(body: bytes, layout: CsvLayout) -> list[bytes]:
    if not layout.quote:
        pieces = body.split(b"\n")
    else:
        ends = record_ends(body, quoting(layout.delimiter, layout.quote), final=True)
        pieces = [body[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    bare = (piece.removesuffix(b"\n").removesuffix(b"\r") for piece in pieces)
    return [piece for piece in bare if piece and not piece.isspace()]
