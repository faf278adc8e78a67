"""Pagination: which page comes next, and which records of an answer were delivered before.

Pages that are counted may shift while they are read: what is deleted in front moves unread records into pages
that are done. So each look at the next page overlaps with the last one, and `place.first_unread` finds where
to go on. Cursors and next links are the server's own, and trusted to stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from headrace.core.errors import Fatal
from headrace.ingest.http_pull.options import Pagination
from headrace.ingest.http_pull.place import Cursor, Place, first_unread
from headrace.model import Json

STEP_BACK: Final = 100
"""Records to go back where pages have shifted and no page size is known."""


MOST_RESTLESS: Final = 3
"""Looks in a row that may find pages shifting: a list that never rests is read all the same."""


class Page(Protocol):
    """What is needed of an answer with records."""

    @property
    def records(self) -> list[bytes]: ...
    @property
    def digest(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def unchanged(self) -> bool:
        """The server says (304) that it is as it was."""
        ...

    @property
    def missing(self) -> bool:
        """404, where that is the end."""
        ...

    @property
    def next_link(self) -> str | None: ...
    def value(self, path: str) -> Json: ...


class Fetch(Protocol):
    """Asks for a page: by parameters, or by a whole URL."""

    async def __call__(self, parameters: Mapping[str, Json], url: str | None = None) -> Page: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one step saw.

    records: in order, perhaps with delivered ones in front
    known:   how many in front should be delivered ones; None: none are
    page, count: see `Place`, once these records are delivered
    asked, newest: what was asked for, and the page that was new
    loop:    what follows was asked for before
    repeats: the new page is the last one once more
    again:   pages were shifting meanwhile: nothing is to be concluded, look again
    """

    records: list[bytes]
    known: int | None
    page: Cursor
    count: int
    asked: Cursor
    newest: Page
    ended: bool
    loop: bool = False
    repeats: bool = False
    again: bool = False


class Paging(Protocol):
    async def look(self, place: Place, fetch: Fetch) -> Look: ...

    def back(self, place: Place) -> Cursor:
        """The page before the place's; None where it is the first."""
        ...


class _Options:
    def __init__(self, options: Pagination, *, append_only: bool) -> None:
        self.options = options
        self.append_only = append_only
        self.parameter = options.parameter or options.type
        usual = "per_page" if options.type == "page" else "limit"
        self.size = {} if options.size is None else {options.size_parameter or usual: options.size}

    def is_end(self, page: Page) -> bool:
        """The last, or one without records where nothing else says where the end is."""
        return self.is_last(page) or (self.options.more is None and not page.records)

    def is_repeated(self, page: Page, digest: str) -> bool:
        return bool(page.records) and page.digest == digest and not self.options.allow_repeats

    def is_last(self, page: Page) -> bool:
        """Whether the options say that nothing comes after this page."""
        options = self.options
        if page.unchanged or page.missing:
            return True
        if options.stop == "short_page" and options.size is not None and len(page.records) < options.size:
            return True
        if options.more is None:
            return False
        more = page.value(options.more)
        if more is None or isinstance(more, bool):
            return not more
        raise Fatal(f"pagination.more: {options.more!r} is {more!r} in the answer, expected true or false")


class ByPage(_Options):
    """`?page=2`. The page before is asked for again after each new one, unless it is known to be settled.

    In this order, because what is deleted between the two then shows in the later answer. Where pages have
    shifted, the two belong together only if the new one is still the same afterwards.
    """

    def __init__(self, options: Pagination, *, append_only: bool) -> None:
        super().__init__(options, append_only=append_only)
        self._restless = 0

    @property
    def first(self) -> int:
        return 1 if self.options.start is None else self.options.start

    async def look(self, place: Place, fetch: Fetch) -> Look:
        if not isinstance(place.page, int):
            page = await fetch(self._ask(self.first))
            ended = self.is_end(page)
            return Look(page.records, None, self.first, len(page.records), self.first, page, ended)
        number = place.page + 1
        new = await fetch(self._ask(number))
        before: list[bytes] = []
        known, digest = None, place.digest
        if not self._settled(place):
            old = await fetch(self._ask(place.page))
            if not old.unchanged:
                before, known, digest = old.records, place.count, old.digest
        # Unless it was a shift by just one page: then asked once more, it gives something else.
        repeats = self.is_repeated(new, digest) and (await fetch(self._ask(number))).digest == digest
        ended = self.is_end(new)
        records = [*before, *new.records]
        if await self._moving(records, known, place, new, fetch):
            return Look([], None, place.page, place.count, place.asked, new, ended=False, again=True)
        if new.records or not ended:
            return Look(records, known, number, len(new.records), number, new, ended, repeats=repeats)
        count = len(before) if known is not None else place.count
        return Look(records, known, place.page, count, number, new, ended)

    def back(self, place: Place) -> Cursor:
        assert isinstance(place.page, int)
        return place.page - 1 if place.page > self.first else None

    async def _moving(
        self, records: list[bytes], known: int | None, place: Place, new: Page, fetch: Fetch
    ) -> bool:
        """Whether pages are shifting at this very moment, so that it is better to look again, a few times."""
        shifted = known is not None and first_unread(records, known, place.tail) != known
        if not shifted or self._restless >= MOST_RESTLESS or not isinstance(place.page, int):
            self._restless = 0
            return False
        again = await fetch(self._ask(place.page + 1))
        moving = again.digest != new.digest
        self._restless = self._restless + 1 if moving else 0
        return moving

    def _settled(self, place: Place) -> bool:
        """A full page of a log that only grows."""
        size = self.options.size
        return self.append_only and size is not None and place.count >= size

    def _ask(self, number: int) -> dict[str, Json]:
        return {self.parameter: number, **self.size}


class ByOffset(_Options):
    """`?offset=200`. Each page starts a few records early: one request sees both sides of the seam."""

    @property
    def first(self) -> int:
        return self.options.start or 0

    async def look(self, place: Place, fetch: Fetch) -> Look:
        after = place.page if isinstance(place.page, int) else self.first
        # Half a page at most, so that each page brings something new; their real size, not the one asked for.
        overlap = min(len(place.tail), after - self.first, place.count // 2)
        offset = after - overlap
        page = await fetch({self.parameter: offset, **self.size})
        count = len(page.records)
        ended = self.is_end(page) or count <= overlap
        if ended and await self._goes_on(page, overlap, place, fetch):
            # Nothing new, for this page is small for reasons of its own: again, with a smaller overlap.
            return Look([], None, after, count, offset, page, ended=False)
        reached = after if page.unchanged or page.missing else offset + count
        most = max(count, place.count)
        repeats = await self._repeats(page, offset, place, fetch)
        return Look(page.records, overlap or None, reached, most, offset, page, ended, repeats=repeats)

    def back(self, place: Place) -> Cursor:
        assert isinstance(place.page, int)
        step = self.options.size or STEP_BACK
        return max(self.first, place.page - step) if place.page > self.first else None

    async def _goes_on(self, page: Page, overlap: int, place: Place, fetch: Fetch) -> bool:
        """Whether something follows a page that holds nothing but what was read."""
        if not overlap or self.is_last(page):
            return False
        if first_unread(page.records, overlap, place.tail) != len(page.records):
            return False
        beyond = await fetch({self.parameter: place.page, **self.size})
        return bool(beyond.records)

    async def _repeats(self, page: Page, offset: int, place: Place, fetch: Fetch) -> bool:
        """Whether another offset gives what the last one gave, and still gives: it may have been a shift."""
        last = place.asked
        if not isinstance(last, int) or offset <= last or not self.is_repeated(page, place.digest):
            return False
        again = await fetch({self.parameter: last, **self.size})
        return again.unchanged or again.digest == page.digest


class ByNext(_Options):
    """A cursor in the body, a `Link` header, or a URL in the body: the answer says what to ask for next."""

    def __init__(self, options: Pagination, *, append_only: bool) -> None:
        super().__init__(options, append_only=append_only)
        self._seen: set[Cursor] = set()

    async def look(self, place: Place, fetch: Fetch) -> Look:
        asked = place.page
        page = await self._fetch(asked, fetch)
        following = self._next(page)
        if place.pages == 0:
            self._seen.clear()
        self._seen |= {asked, page.url}
        caught_up = not page.records and (following == asked or self.options.stop == "empty_page")
        ended = following is None or caught_up or self.is_last(page)
        # A log that grows is asked again for its last page, or by the cursor that came with it.
        again = following is None or not page.records
        onwards = asked if ended and again else following
        count = len(page.records) if onwards == asked and not page.unchanged else 0
        count = place.count if page.unchanged else count
        loop = not ended and following in self._seen
        repeats = asked != place.asked and self.is_repeated(page, place.digest)
        return Look(page.records, place.count or None, onwards, count, asked, page, ended, loop, repeats)

    def back(self, place: Place) -> Cursor:  # noqa: ARG002  a server's cursors lead forward only
        return None

    async def _fetch(self, asked: str | float | None, fetch: Fetch) -> Page:
        if asked is None:
            return await fetch(self.size)
        if self.options.type == "cursor":
            return await fetch({self.parameter: asked, **self.size})
        return await fetch({}, str(asked))

    def _next(self, page: Page) -> Cursor:
        if page.unchanged or self.options.type == "none":
            return None
        if self.options.type == "link":
            return page.next_link
        assert self.options.path is not None
        found = page.value(self.options.path)
        if isinstance(found, dict | list | bool):
            raise Fatal(
                f"pagination.path: {self.options.path!r} is no cursor or URL in the answer but {found!r}"
            )
        return None if found == "" else found


def paging(options: Pagination, *, append_only: bool) -> Paging:
    """The pagination that the options describe."""
    kinds: dict[str, type[ByPage | ByOffset | ByNext]] = {"page": ByPage, "offset": ByOffset}
    kind = kinds.get(options.type, ByNext)
    return kind(options, append_only=append_only)
