"""Options of `http_lookup`, and what must fit together among them."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest
from headrace.fields import Field, FieldType, parse_field
from headrace.model import RESERVED
from headrace.units import Duration, Secret, Size

Scalar: TypeAlias = bool | int | float | str | None

ENTRY_BYTES: Final = 500
"""What a cached key costs beside its text and values (measured: 480 bytes with short ones)."""

DECODED: Final = 6
"""Memory of an answer per byte of its body while it is read: the body, its objects, the values taken out."""


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is remembered, and how long."""

    size: Annotated[
        int, Meta(description="Keys remembered; the one not used for longest goes first.", ge=1)
    ] = 100_000
    bytes: Annotated[Size, Meta(description="Memory for them; the other bound, whichever is met first.")] = (
        msgspec.field(default_factory=lambda: Size("64MB"))
    )
    ttl: Annotated[
        Duration, Meta(description="How long a found answer is used; `0` asks in every batch.")
    ] = msgspec.field(default_factory=lambda: Duration("1h"))
    negative_ttl: Annotated[
        Duration, Meta(description="How long a key that was not found is not asked for again.")
    ] = msgspec.field(default_factory=lambda: Duration("1m"))


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `http_lookup`."""

    url: Annotated[
        str,
        Meta(
            description="Where to ask; for `get_each` with the key field's name in braces.",
            pattern=r"^https?://[^/]+",
        ),
    ]
    mode: Annotated[
        Literal["get_each", "post_batch"],
        Meta(description="`get_each`: a GET per distinct key; `post_batch`: a POST of many keys at once."),
    ] = "get_each"
    key: Annotated[
        str | Annotated[list[str], Meta(min_length=1)], Meta(description="Field(s) to look up by.")
    ]
    add: Annotated[
        Annotated[list[str], Meta(min_length=1)] | Annotated[dict[str, str], Meta(min_length=1)],
        Meta(
            description="Fields to add; `{field: path.in.the.answer}` where the answer calls them otherwise."
        ),
    ]
    types: Annotated[
        dict[str, str],
        Meta(description="Types of added fields the index does not declare; `keyword` if not given."),
    ] = {}
    results: Annotated[
        str, Meta(description="Path to the record (`get_each`) or the records (`post_batch`) in the answer.")
    ] = ""
    body_key: Annotated[
        str, Meta(description="Name of the list of keys in the body of `post_batch`.", min_length=1)
    ] = "keys"
    item_key: Annotated[
        str,
        Meta(description="`post_batch` answered with a list: path of the key in each item; else by key."),
    ] = ""
    batch_keys: Annotated[int, Meta(description="Keys per POST.", ge=1, le=10_000)] = 500
    headers: Annotated[
        dict[str, Secret], Meta(description="Sent with every request; values are never shown.")
    ] = {}
    on_miss: Annotated[
        Literal["keep", "reject", "default"],
        Meta(description="What to do with a record whose key the service does not know."),
    ] = "keep"
    default: Annotated[
        dict[str, Scalar], Meta(description="Values of the added fields for `on_miss: default`.")
    ] = {}
    on_outage: Annotated[
        Literal["hold", "keep_marked", "reject"],
        Meta(
            description="While the service cannot be asked: `hold` the pipeline, keep records unenriched and "
            "marked, or make them dead letters (`lookup_unavailable`)."
        ),
    ] = "hold"
    marker: Annotated[
        str,
        Meta(
            description="Field that `keep_marked` sets: true if the service answered, else false.",
            min_length=1,
        ),
    ] = "enriched"
    cache: Annotated[CacheSettings, Meta(description="What is remembered.")] = msgspec.field(
        default_factory=CacheSettings
    )
    timeout: Annotated[Duration, Meta(description="Time for one request.")] = msgspec.field(
        default_factory=lambda: Duration("5s")
    )
    patience: Annotated[
        Duration, Meta(description="Time without any answer, retries included, that makes an outage.")
    ] = msgspec.field(default_factory=lambda: Duration("10s"))
    concurrency: Annotated[
        int, Meta(description="Requests at once at most; fewer while the service is slow.", ge=1, le=64)
    ] = 8
    max_body: Annotated[Size, Meta(description="Largest answer taken.")] = msgspec.field(
        default_factory=lambda: Size("2MB")
    )


def names(given: str | list[str] | dict[str, str]) -> dict[str, str]:
    if isinstance(given, dict):
        return given
    return {name: name for name in ([given] if isinstance(given, str) else given)}


def placeholders(url: str) -> list[str]:
    """Names in braces. Raises ConfigError for braces that are none."""
    try:
        parts = list(string.Formatter().parse(url))
    except ValueError as error:
        raise ConfigError(f"the braces do not match: {error}", path=("url",)) from None
    for _, name, form, conversion in parts:
        if name == "" or form or conversion:
            raise ConfigError("write a key field's name in the braces, such as {customer}", path=("url",))
    return [name for _, name, _, _ in parts if name]


def check(settings: Settings) -> None:
    """Raises ConfigError with the path of the option."""
    added = names(settings.add)
    for name in (*added, settings.marker):
        if name in RESERVED:
            path = ("add", name) if name in added else ("marker",)
            raise ConfigError(f"the field name {name!r} belongs to headrace", path=path)
    if settings.on_outage == "keep_marked" and settings.marker in {*added, *names(settings.key)}:
        raise ConfigError(f"{settings.marker!r} is the name of another field", path=("marker",))
    if (settings.on_miss == "default") != bool(settings.default):
        raise ConfigError("on_miss: default and default: {field: value} go together", path=("on_miss",))
    for option in ("default", "types"):
        for name in getattr(settings, option):
            if name not in added:
                message = f"{option} for {name!r}, which is not added, {suggest(name, list(added))}"
                raise ConfigError(message, path=(option, name))
    _check_mode(settings)
    try:
        urlsplit(settings.url).port  # noqa: B018  raises for what is no address
    except ValueError as error:
        raise ConfigError(f"not a URL: {error}", path=("url",)) from None
    if settings.patience < settings.timeout:
        raise ConfigError("patience must be at least timeout", path=("patience",))


def _check_mode(settings: Settings) -> None:
    keys, used = list(names(settings.key)), placeholders(settings.url)
    if settings.mode == "get_each":
        for name in used:
            if name not in keys:
                raise ConfigError(f"{{{name}}} is no key field, {suggest(name, keys)}", path=("url",))
        for name in keys:
            if name not in used:
                raise ConfigError(f"the url does not say where {{{name}}} goes", path=("url",))
        return
    if used:
        raise ConfigError("post_batch sends keys in the body: no braces in the url", path=("url",))
    if len(keys) > 1:
        raise ConfigError("post_batch takes one key field; use get_each for several", path=("key",))


def added_fields(settings: Settings, declared: Mapping[str, Field]) -> dict[str, Field]:
    """The added fields with their types: the step's own, else the index's, else keyword."""
    fields = {}
    for name in names(settings.add):
        try:
            own = parse_field(settings.types[name]) if name in settings.types else None
        except ConfigError as error:
            raise error.inside("types", name) from None
        field = own or declared.get(name) or Field("keyword")
        if field.kind is FieldType.JSON:
            message = f"{name!r} is of type json, which an answer cannot fill; name the paths you want"
            raise ConfigError(message, path=("add",))
        fields[name] = field
    return fields
