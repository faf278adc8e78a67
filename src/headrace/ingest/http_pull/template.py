"""Partitions: names in braces replaced by values, and what each of the pulls is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from headrace.ingest.http_pull.options import NAMED, Scalar, Settings
from headrace.ingest.http_pull.place import digest

Values = Mapping[str, str | int]


def address(settings: Settings, values: Values) -> str:
    """The URL of one partition; a value is one segment, whatever it holds."""
    return NAMED.sub(lambda found: quote(str(values[found[1]]), safe=""), settings.url)


def parameters(settings: Settings, values: Values) -> dict[str, str]:
    """The query parameters of one partition."""
    return {name: _text(value, values) for name, value in settings.params.items()}


def name(settings: Settings, values: Values) -> str:
    """A partition's name, without its epoch: the same whatever the order of its values."""
    given = urlencode(sorted((key, str(value)) for key, value in values.items()))
    return f"{settings.url}|{given}" if given else settings.url


def query(settings: Settings) -> str:
    """A digest of all options that say which records come in which order: others are another log.

    Not among them: what is only about how they are asked for (headers, auth, rates), and the page size where
    the position does not count in pages.
    """
    paging = settings.pagination
    counts_pages = paging.type == "page"
    watermark = settings.watermark
    said: dict[str, Any] = {
        "method": settings.method,
        "params": settings.params,
        "body": settings.body,
        "records": [settings.records, settings.one_record, settings.format],
        "paging": [paging.type, paging.parameter, paging.path, paging.start],
        "size": paging.size if counts_pages else None,
        "watermark": None if watermark is None else [watermark.field, watermark.parameter],
        "append_only": settings.append_only,
        "epoch": settings.epoch,
    }
    return digest(said)


def plain(value: Scalar) -> str:
    """A parameter as text: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: Scalar, values: Values) -> str:
    if isinstance(value, str):
        return NAMED.sub(lambda found: str(values.get(found[1], found[0])), value)
    return plain(value)
