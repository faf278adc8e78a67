"""One partition: asks for its next page, finds what is new in it, and makes a batch of that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio.to_thread
from msgspec.structs import replace

from headrace.core.errors import Fatal, Retryable
from headrace.core.log import event
from headrace.ingest.base import SourceContext
from headrace.ingest.formats import create
from headrace.ingest.http_pull import template, watermark
from headrace.ingest.http_pull.body import high_values, steps
from headrace.ingest.http_pull.exchange import NOT_MODIFIED, Answer, Ask, Exchange, joined, shown
from headrace.ingest.http_pull.options import Settings
from headrace.ingest.http_pull.page import Answered, WithoutLarge
from headrace.ingest.http_pull.paging import Look, paging
from headrace.ingest.http_pull.place import TAIL, Place, Validators, digest, fingerprint, first_unread
from headrace.ingest.http_pull.trouble import NotFound
from headrace.model import Decoder, Json, Position, RawBatch

log = logging.getLogger(__name__)

LARGE: Final = 100_000
"""Bytes of a body that are cut into records in a worker thread: it may take longer than the loop can wait."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins: its name with its epoch, the records done, and the place after them."""

    partition: str
    record: int
    place: Place


class Pull:
    """`due` is when it may be asked again (monotonic; None: never); `fault` what keeps it from going on."""

    def __init__(
        self,
        settings: Settings,
        values: template.Values,
        start: Start,
        exchange: Exchange,
        context: SourceContext,
    ) -> None:
        self.partition = start.partition
        self.record = start.record
        self.place = start.place
        self.due: float | None = context.clock.monotonic()
        self.fault: Fatal | None = None
        self._settings = settings
        self._exchange = exchange
        self._context = context
        self._address = template.address(settings, values)
        self._params = template.parameters(settings, values)
        self._paging = paging(settings.pagination, append_only=settings.append_only)
        self._decoder: Decoder | None = None
        self._started = context.clock.monotonic()
        if self.place.ended and settings.once:
            self.due = None

    async def step(self) -> RawBatch | None:
        """Ask for one page; None if it has nothing new. Raises Retryable, Fatal; then nothing has changed."""
        if self.place.ended:
            self._begin()
        self._check_pages()
        look = await self._paging.look(self.place, self._fetch)
        fresh = self._fresh(look)
        if fresh is None:
            return None
        first = self.record
        self.place = self._after(look, fresh)
        self.record += len(fresh)
        if look.loop:
            self.fault = self._round(f"what follows {look.asked!r} was asked for before")
        if self.place.ended:
            interval = self._settings.interval
            self.due = None if interval is None else self._started + interval
        return self._batch(first, fresh, look) if fresh else None

    def _begin(self) -> None:
        """Start the next pull: after the last record, from the watermark, or from the start."""
        self._started = self._context.clock.monotonic()
        place, options = self.place, self._settings.watermark
        if self._settings.append_only:
            self.place = replace(place, ended=False, pages=0)
            return
        self.place = Place(
            query=place.query,
            since=None if options is None else watermark.back(options, place.high),
            high=place.high,
            validators=place.validators,
            layout=place.layout,
        )

    def _fresh(self, look: Look) -> list[bytes] | None:
        """The records that were not delivered; None where pages shifted so far that we go back."""
        if look.again:
            return None
        if look.newest.unchanged:
            return []
        if look.repeats:
            raise self._round(f"{look.asked!r} gives the same records as {self.place.asked!r}")
        start = first_unread(look.records, look.known, self.place.tail)
        if self._settings.append_only and look.known is not None and start != look.known:
            raise Fatal(
                f"{self._where}: records that were read before have changed or are gone: this is not "
                "`append_only`; leave it out, and declare an `id` in the index"
            )
        if start is not None:
            return look.records[start:]
        event(log.info, "http_pull.pages_shifted", partition=self.partition, page=self.place.page)
        before = self._paging.back(self.place)
        if before is None:
            return look.records
        self.place = replace(self.place, page=before)
        return None

    def _after(self, look: Look, fresh: list[bytes]) -> Place:
        place, newest = self.place, look.newest
        assert isinstance(newest, Answered)
        has_records = bool(newest.records)
        options = self._settings.watermark
        high = place.high
        if options is not None and fresh:
            high = watermark.highest(options, high, high_values(fresh, steps(options.field)))
        return replace(
            place,
            page=look.page,
            count=look.count,
            tail=(*place.tail, *map(fingerprint, fresh[-TAIL:]))[-TAIL:],
            asked=look.asked if has_records else place.asked,
            digest=newest.digest if has_records else place.digest,
            high=high,
            validators=self._validators(newest),
            pages=place.pages + 1,
            ended=look.ended,
            layout=newest.layout or place.layout,
        )

    def _validators(self, newest: Answered) -> Validators:
        """Those of a pull's only page, or of the last page of a log: no others say that all is as it was."""
        if newest.unchanged:
            return self.place.validators
        if self.place.pages == 0 or (self._settings.append_only and newest.records):
            return newest.validators
        return Validators() if newest.records else self.place.validators

    async def _fetch(self, parameters: Mapping[str, Json], url: str | None = None) -> Answered:
        ask = self._ask(parameters, url)
        asked = digest([ask.url, ask.params, ask.body])
        known = self.place.validators
        conditions = {}
        if known.of == asked:
            given = {"if-none-match": known.etag, "if-modified-since": known.modified}
            conditions = {name: value for name, value in given.items() if value}
        try:
            answer = await self._exchange.ask(ask, conditions)
        except NotFound:
            if self._settings.pagination.stop != "not_found" or self.place.page is None:
                raise
            answer = Answer(ask.url, 404, {}, b"")
        if answer.status == NOT_MODIFIED and not conditions:
            raise Retryable(f"{self._where}: answered 304 to a request without a condition")
        page = Answered(answer, asked, self._settings, self._context.hints, self.place.layout)
        page.missing = answer.status == 404
        if len(answer.body) > LARGE:
            await anyio.to_thread.run_sync(page.read)
        else:
            page.read()
        return page

    def _ask(self, parameters: Mapping[str, Json], url: str | None) -> Ask:
        body = self._settings.body
        if url is not None:
            return Ask(joined(self._address, url), {}, body)
        added = dict(parameters)
        if self._settings.watermark is not None and self.place.since is not None:
            added[self._settings.watermark.parameter] = self.place.since
        if body is not None:
            return Ask(self._address, self._params, {**body, **added})
        return Ask(self._address, {**self._params, **{name: str(value) for name, value in added.items()}})

    def _batch(self, first: int, fresh: list[bytes], look: Look) -> RawBatch:
        limit = self._settings.max_record_bytes
        decoder = self._decoder_of_all()
        large = {first + at: record for at, record in enumerate(fresh) if len(record) > limit}
        if large:
            decoder = WithoutLarge(decoder, large, self._where, limit)
            fresh = [b"" if first + at in large else record for at, record in enumerate(fresh)]
        payload = b"\n".join(fresh) + b"\n"
        asked = "" if look.asked is None or isinstance(look.asked, str) else f" {look.asked}"
        return RawBatch(
            partition=self.partition,
            first_record=first,
            position=Position(self.record, self.place.to_state()),
            payload=payload,
            decoder=decoder,
            size=len(payload),
            origin=self._where + asked,
            accepted_at=self._context.clock.time(),
            caught_up=self.place.ended,
        )

    def _decoder_of_all(self) -> Decoder:
        if self._decoder is None:
            layout = self.place.layout
            self._decoder = create(self._settings.format, self._settings, self._context.hints, layout)
        return self._decoder

    def _check_pages(self) -> None:
        most = self._settings.pagination.max_pages
        if self.place.pages >= most:
            raise Fatal(
                f"{self._where}: {most:,} pages were read and there is no end: if that is right, raise "
                "`pagination.max_pages`, and it goes on after the last one"
            )

    def _round(self, why: str) -> Fatal:
        return Fatal(
            f"{self._where}: the pagination goes round: {why}; all records before are kept, "
            "check `pagination`"
        )

    @property
    def _where(self) -> str:
        return shown(self._address)
