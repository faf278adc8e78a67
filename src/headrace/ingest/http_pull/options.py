"""The options of `http_pull`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.ingest.formats.base import FormatOptions
from headrace.units import Duration, Secret, Size

PAGING_OPTIONS: Final = {
    "page": {"parameter", "start", "size", "size_parameter", "more", "stop"},
    "offset": {"parameter", "start", "size", "size_parameter", "more", "stop"},
    "cursor": {"parameter", "path", "size", "size_parameter", "more", "stop"},
    "link": {"size", "size_parameter", "more", "stop"},
    "next_url": {"path", "size", "size_parameter", "more", "stop"},
    "none": set[str](),
}
AUTH_OPTIONS: Final = {
    "basic": ({"username", "password"}, set[str]()),
    "bearer": ({"token"}, set[str]()),
    "api_key": ({"name", "key"}, {"place"}),
    "oauth2": ({"token_url", "client_id", "client_secret"}, {"scope", "send"}),
}

NAMED: Final = re.compile(r"\{(\w+)\}")
"""A name in braces: replaced by each partition's value."""

Scalar: TypeAlias = str | int | float | bool


class Pagination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the API hands out its records in pieces."""

    type: Annotated[
        Literal["page", "offset", "cursor", "link", "next_url", "none"],
        Meta(
            description="`page` and `offset` count; `cursor` is taken from the body; `link` from the `Link` "
            "header (rel=next); `next_url` from the body; `none`: one request has everything"
        ),
    ] = "none"
    parameter: Annotated[
        str | None, Meta(description="query parameter; if not given: `page`, `offset` or `cursor`")
    ] = None
    path: Annotated[
        str | None, Meta(description="of `cursor` and `next_url`: where it is in the body, `meta.next`")
    ] = None
    start: Annotated[
        int | None, Meta(description="of the first page; if not given: 1 of `page`, 0 of `offset`")
    ] = None
    size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="records asked for at once; the API's own if not given"),
    ] = None
    size_parameter: Annotated[
        str | None,
        Meta(description="query parameter of `size`; if not given: `per_page` of `page`, else `limit`"),
    ] = None
    more: Annotated[
        str | None, Meta(description="path of a boolean in the body that says whether there are more pages")
    ] = None
    stop: Annotated[
        Literal["empty_page", "short_page", "not_found"] | None,
        Meta(
            description="which page is the last, beside one without a next: one before an empty page "
            "(always so of `page` and `offset`), one of fewer records than `size`, or the one before a 404"
        ),
    ] = None
    max_pages: Annotated[
        int, Meta(ge=1, description="pages of one pull at most: beyond, the pipeline stops and says so")
    ] = 100_000
    allow_repeats: Annotated[
        bool,
        Meta(description="two pages may hold the same records; if not, that is a pagination that goes round"),
    ] = False

    def __post_init__(self) -> None:
        given = {name for name in PAGING_OPTIONS["page"] | {"path"} if getattr(self, name) is not None}
        stray = sorted(given - PAGING_OPTIONS[self.type])
        if stray:
            raise ConfigError(f"{stray[0]!r} means nothing with type {self.type!r}", path=(stray[0],))
        if self.type in {"cursor", "next_url"} and not self.path:
            raise ConfigError(f"type {self.type!r} needs `path`: where in the body it is")
        if self.stop == "short_page" and self.size is None:
            raise ConfigError("`stop: short_page` needs `size`", path=("stop",))
        if self.stop == "not_found" and self.type not in {"page", "offset"}:
            raise ConfigError(f"`stop: not_found` means nothing with type {self.type!r}", path=("stop",))


class Watermark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for what has changed since the last pull."""

    field: Annotated[
        str,
        Meta(
            min_length=1,
            description="field of a record that grows with every change: `updated_at`, `meta.seq`",
        ),
    ]
    parameter: Annotated[
        str, Meta(min_length=1, description="query parameter that asks for what is newer: `since`")
    ]
    initial: Annotated[
        str | int | float | None, Meta(description="value of the first pull; not given: everything")
    ] = None
    overlap: Annotated[
        str | int | float,
        Meta(
            description="how far to go back: a duration (`5m`) where the field is a date, "
            "a number where it is one"
        ),
    ] = 0

    def __post_init__(self) -> None:
        try:
            back = Duration(self.overlap) if isinstance(self.overlap, str) else self.overlap
        except ValueError as error:
            raise ConfigError(str(error), path=("overlap",)) from None
        if back < 0:
            raise ConfigError("expected an overlap of at least 0", path=("overlap",))


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who we are; sent to the origin of `url` only."""

    type: Annotated[
        Literal["basic", "bearer", "api_key", "oauth2"],
        Meta(
            description="`oauth2` asks for a token by client credentials, and again when it expires "
            "or is refused"
        ),
    ]
    username: Annotated[str | None, Meta(description="of `basic`")] = None
    password: Annotated[Secret | None, Meta(description="of `basic`")] = None
    token: Annotated[Secret | None, Meta(description="of `bearer`")] = None
    name: Annotated[str | None, Meta(description="of `api_key`: the header or parameter")] = None
    key: Annotated[Secret | None, Meta(description="of `api_key`: its value")] = None
    place: Annotated[
        Literal["header", "query"] | None, Meta(description="of `api_key`; `header` if not given")
    ] = None
    token_url: Annotated[str | None, Meta(description="of `oauth2`: where tokens are given")] = None
    client_id: Annotated[str | None, Meta(description="of `oauth2`")] = None
    client_secret: Annotated[Secret | None, Meta(description="of `oauth2`")] = None
    scope: Annotated[str | None, Meta(description="of `oauth2`: scopes to ask for, separated by spaces")] = (
        None
    )
    send: Annotated[
        Literal["header", "body"] | None,
        Meta(description="of `oauth2`: how client id and secret are sent; `header` (basic) if not given"),
    ] = None

    def __post_init__(self) -> None:
        needed, possible = AUTH_OPTIONS[self.type]
        names = [name for name in self.__struct_fields__ if name != "type"]
        given = {name for name in names if getattr(self, name) is not None}
        missing, stray = sorted(needed - given), sorted(given - needed - possible)
        if missing:
            raise ConfigError(f"auth of type {self.type!r} needs {missing[0]!r}")
        if stray:
            raise ConfigError(f"{stray[0]!r} means nothing with auth of type {self.type!r}", path=(stray[0],))
        if self.token_url is not None:
            check_url(self.token_url, "token_url")


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to trust."""

    ca_file: Annotated[
        Path | None, Meta(description="certificates (PEM) of authorities to trust, instead of the system's")
    ] = None
    verify: Annotated[
        bool, Meta(description="false trusts anybody who answers: for tries only, and logged as a warning")
    ] = True


class Settings(FormatOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: Annotated[
        str, Meta(min_length=1, description="where the records are; `{name}` is replaced by `partitions`")
    ]
    method: Annotated[Literal["GET", "POST"], Meta(description="of every request")] = "GET"
    headers: Annotated[dict[str, str], Meta(description="sent with every request to the origin of `url`")] = (
        msgspec.field(default_factory=dict)
    )
    params: Annotated[
        dict[str, Scalar],
        Meta(description="query parameters; `{name}` in a text is replaced by `partitions`"),
    ] = msgspec.field(default_factory=dict)
    body: Annotated[
        dict[str, Any] | None,
        Meta(
            description="JSON object to send with POST; page, size and watermark then go into it, "
            "not into the query"
        ),
    ] = None
    records: Annotated[
        str,
        Meta(
            description="where the list of records is in the body: `data.items` or `/data/items`; "
            "empty: it is the body"
        ),
    ] = ""
    one_record: Annotated[
        bool, Meta(description="what `records` leads to is a single record, not a list")
    ] = False
    format: Annotated[
        Literal["json", "ndjson", "csv", "lines"], Meta(description="how the body is written")
    ] = "json"
    pagination: Annotated[Pagination, Meta(description="how the API hands out its records in pieces")] = (
        Pagination()
    )
    append_only: Annotated[
        bool,
        Meta(
            description="records keep their order for ever and new ones come at the end: each poll goes on "
            "after the last record, and every record keeps its number (exactly once without a declared `id`)"
        ),
    ] = False
    watermark: Annotated[
        Watermark | None,
        Meta(description="ask for what has changed since the last pull; not with `append_only`"),
    ] = None
    interval: Annotated[
        Duration | None,
        Meta(
            description="time from the start of one pull to the start of the next; "
            "not given: one pull, then the end"
        ),
    ] = None
    auth: Annotated[Auth | None, Meta(description="who we are; sent to the origin of `url` only")] = None
    rate_limit: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="requests per second at most, over all partitions"),
    ] = None
    timeout: Annotated[Duration, Meta(description="of one request, from connecting to the last byte")] = (
        msgspec.field(default_factory=lambda: Duration("30s"))
    )
    max_body: Annotated[
        Size, Meta(description="largest body (decompressed); a page is held in memory whole")
    ] = msgspec.field(default_factory=lambda: Size("16MiB"))
    tls: Annotated[Tls, Meta(description="whom to trust")] = Tls()
    allow_redirects_to: Annotated[
        list[str],
        Meta(
            description="origins (`https://files.example.com`) that redirects and next URLs may lead to "
            "beside that of `url`; they are sent neither `auth` nor `headers`"
        ),
    ] = msgspec.field(default_factory=list)
    partitions: Annotated[
        list[dict[str, str | int]],
        Meta(
            description="one pull each, with these values for the names in braces; each has its own order "
            "and position"
        ),
    ] = msgspec.field(default_factory=list)
    concurrency: Annotated[int, Meta(ge=1, le=64, description="partitions read at once")] = 4
    epoch: Annotated[
        int, Meta(ge=0, description="raise it to read everything from the start again, as a new log")
    ] = 0

    def __post_init__(self) -> None:
        check_url(self.url, "url")
        for number, origin in enumerate(self.allow_redirects_to):
            check_url(origin, "allow_redirects_to", number)
        if self.body is not None and self.method != "POST":
            raise ConfigError("`body` needs `method: POST`", path=("body",))
        if self.append_only and self.watermark is not None:
            raise ConfigError(
                "`append_only` goes on after the last record: it takes no `watermark`", path=("watermark",)
            )
        if self.timeout <= 0 or self.max_body < 1 or (self.interval is not None and self.interval <= 0):
            raise ConfigError("`timeout`, `max_body` and `interval` must be more than 0")
        self._check_format()
        self._check_partitions()

    @property
    def once(self) -> bool:
        """One pull, and what was pulled is never asked for again."""
        return self.interval is None and self.watermark is None and not self.append_only

    def _check_format(self) -> None:
        if self.format == "json":
            return
        if self.records or self.one_record or self.pagination.more or self.pagination.path:
            raise ConfigError(
                f"a body of format {self.format!r} holds records only: no path leads into it",
                path=("format",),
            )
        if self.watermark is not None and self.format != "ndjson":
            raise ConfigError("a watermark needs `format: json` or `ndjson`", path=("watermark",))

    def _check_partitions(self) -> None:
        texts = [self.url, *(value for value in self.params.values() if isinstance(value, str))]
        named = sorted({name for text in texts for name in NAMED.findall(text)})
        if named and not self.partitions:
            raise ConfigError(f"{{{named[0]}}} has no value: list them in `partitions`", path=("url",))
        for number, values in enumerate(self.partitions):
            missing = [name for name in named if name not in values]
            if missing:
                raise ConfigError(
                    f"{missing[0]!r} is missing, it is used in braces", path=("partitions", number)
                )
            if values in self.partitions[:number]:
                raise ConfigError("this partition is there twice", path=("partitions", number))


def check_url(url: str, *path: str | int) -> None:
    """Raise ConfigError unless it is an absolute http(s) URL without a password in it."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ConfigError(f"not a URL: {error}", path=path) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise ConfigError(f"expected a URL such as https://api.example.com/v1/items, got {url!r}", path=path)
    if parts.password is not None or parts.username is not None:
        raise ConfigError(
            "a URL must not hold a user name or password: use `auth` of type `basic`", path=path
        )
