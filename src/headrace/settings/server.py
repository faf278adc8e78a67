"""The options of the server: where it answers, whom, and how much one client may ask of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.units import Duration, Secret, Size

T = TypeVar("T")

Scope: TypeAlias = Literal["read", "write", "admin", "monitor"]
Pattern: TypeAlias = Annotated[str, Meta(min_length=1)]

ES_VERSION = "8.17.0"
"""All that is asked of a client's server is in it, and the clients of 8 and 9 know it."""

_VERSION = re.compile(r"[789]\.\d{1,3}\.\d{1,3}")

SHORTEST_SECRET = 16
"""Characters: a secret that can be guessed is none, and the door does not stop guessing for long."""


def default(value: T) -> T:
    """A default of one of our own types, which msgspec cannot write into a schema by itself."""
    made: T = msgspec.field(default_factory=lambda: value)
    return made


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key of the configuration; others are made by `headrace keys create`."""

    name: Annotated[
        str,
        Meta(
            description="Name of the key: the user of `Basic`, the id of `ApiKey`.",
            pattern=r"^[A-Za-z0-9._-]+$",
        ),
    ]
    secret: Annotated[
        Secret, Meta(description="At least 16 characters; write `${NAME}` to keep it elsewhere.")
    ]
    scopes: Annotated[
        list[Scope], Meta(description="What it may do: `read`, `write`, `admin`, `monitor`.", min_length=1)
    ]
    indexes: Annotated[
        list[Pattern],
        Meta(description="Names and patterns (`logs-*`) of the indexes it may use.", min_length=1),
    ] = default(["*"])

    def __post_init__(self) -> None:
        if len(self.secret.reveal()) < SHORTEST_SECRET:
            raise ConfigError(
                f"the secret of key {self.name!r} is shorter than {SHORTEST_SECRET} characters; "
                "`openssl rand -hex 32` makes one",
                path=("secret",),
            )


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HTTPS: a certificate and its key, read again when they change."""

    certificate: Annotated[
        Path, Meta(description="PEM file: the certificate, and after it those of its issuers.")
    ]
    key: Annotated[Path, Meta(description="PEM file of the private key, without a passphrase.")]


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which web pages of other origins may ask from a browser."""

    origins: Annotated[
        list[Pattern],
        Meta(description="Origins such as `https://shop.example`; `*` is every one.", min_length=1),
    ]
    headers: Annotated[list[Pattern], Meta(description="Request headers allowed beside the usual ones.")] = []
    credentials: Annotated[
        bool, Meta(description="Whether browsers may send cookies and stored passwords; not with `*`.")
    ] = False
    max_age: Annotated[Duration, Meta(description="How long a browser may remember the permission.")] = (
        default(Duration("10m"))
    )

    def __post_init__(self) -> None:
        if self.credentials and "*" in self.origins:
            raise ConfigError(
                "with `credentials` every origin has to be named; `*` would let any page ask as its visitor",
                path=("origins",),
            )


class SearchLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one search may cost; beyond it the answer is an error that says which bound."""

    clauses: Annotated[int, Meta(description="Clauses of a query, all levels together.", ge=1)] = 16_384
    depth: Annotated[int, Meta(description="Levels of queries within queries.", ge=1, le=40)] = 40
    terms: Annotated[int, Meta(description="Values of one `terms` or `ids` query.", ge=1, le=65_536)] = 65_536
    aggregations: Annotated[
        int, Meta(description="Aggregations of one request, all levels together.", ge=1)
    ] = 1000
    buckets: Annotated[int, Meta(description="Buckets of one request's aggregations.", ge=1, le=65_536)] = (
        65_536
    )
    memory: Annotated[
        Size,
        Meta(description="Bytes that one request holds of hits and buckets until it is answered."),
    ] = default(Size("256MiB"))
    time: Annotated[
        Duration | None, Meta(description="Time for one search, waiting for its turn included; answered 503.")
    ] = default(Duration("60s"))

    def __post_init__(self) -> None:
        if self.memory < 1 << 20:
            raise ConfigError(f"expected at least 1MiB, got {self.memory}", path=("memory",))


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where HTTP is answered, whom, and how much one client may ask."""

    host: Annotated[
        str, Meta(description="Address to listen on; 0.0.0.0 is every interface.", min_length=1)
    ] = "127.0.0.1"
    port: Annotated[int, Meta(description="TCP port; 0 takes any free one.", ge=0, le=65_535)] = 7223
    auto_create: Annotated[
        bool,
        Meta(description="Whether a write to an index that does not exist makes it, as Elasticsearch does."),
    ] = True
    version: Annotated[
        str,
        Meta(
            description="Version of Elasticsearch that clients are told; some want one as new as themselves."
        ),
    ] = ES_VERSION
    keys: Annotated[
        list[KeySettings], Meta(description="API keys, beside those of `headrace keys create`.")
    ] = []
    insecure: Annotated[
        bool,
        Meta(description="Answer everybody on any address without a key; only behind a door of your own."),
    ] = False
    tls: Annotated[TlsSettings | None, Meta(description="HTTPS; plain HTTP if not given.")] = None
    cors: Annotated[
        CorsSettings | None, Meta(description="Web pages of other origins; none if not given.")
    ] = None
    rate_limit: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Requests a second for each key (each address without keys); beyond it 429."),
    ] = None
    max_concurrent: Annotated[
        int, Meta(description="Requests under way at once, all clients together; beyond it 429.", ge=1)
    ] = 1024
    slow_client_timeout: Annotated[
        Duration,
        Meta(description="Time for a request's headers, and for each 1 kB of a body; then it is closed."),
    ] = default(Duration("30s"))
    max_body: Annotated[
        Size, Meta(description="Bytes of the body of a write, decompressed; beyond it 413.")
    ] = default(Size("100MiB"))
    search: Annotated[SearchLimits, Meta(description="What one search may cost.")] = SearchLimits()

    def __post_init__(self) -> None:
        if self.max_body < 1 << 20:
            raise ConfigError(f"expected at least 1MiB, got {self.max_body}", path=("max_body",))
        if self.slow_client_timeout < 0.1:
            raise ConfigError(
                f"expected at least 100ms, got {self.slow_client_timeout}", path=("slow_client_timeout",)
            )
        if _VERSION.fullmatch(self.version) is None:
            raise ConfigError(
                f"expected a version from 7.0.0 to 9.x, such as {ES_VERSION}, got {self.version!r}",
                path=("version",),
            )
        names = [key.name for key in self.keys]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise ConfigError(f"key {name!r} is there twice", path=("keys", place, "name"))

    def located(self, base: Path) -> ServerSettings:
        """With the paths that are relative begun at `base`."""
        if self.tls is None:
            return self
        tls = TlsSettings(certificate=base / self.tls.certificate, key=base / self.tls.key)
        return msgspec.structs.replace(self, tls=tls)
