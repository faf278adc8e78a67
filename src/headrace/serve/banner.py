"""The banner, which clients ask for first: they start only where they know the version."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from headrace import __version__
from headrace.serve.responses import json_response
from headrace.settings.server import ES_VERSION

__all__ = ["ES_VERSION", "banner"]

OLDEST: Final = {"7": ("6.8.0", "6.0.0-beta1"), "8": ("7.17.0", "7.0.0"), "9": ("8.18.0", "8.0.0")}
"""By the major version: the oldest that Elasticsearch of it speaks with, and whose indexes it reads."""


async def banner(request: Request, version: str = ES_VERSION) -> Response:
    """What Elasticsearch of that version says of itself."""
    wire, index = OLDEST[version[0]]
    known: dict[str, Any] = {
        "number": version,
        "build_flavor": "default",
        "build_type": "headrace",
        "build_hash": f"headrace-{__version__}",
        "lucene_version": "9.12.0",
        "minimum_wire_compatibility_version": wire,
        "minimum_index_compatibility_version": index,
    }
    body = {
        "name": "headrace",
        "cluster_name": "headrace",
        "cluster_uuid": "headrace",
        "version": known,
        "tagline": "You Know, for Search",
    }
    return json_response(request, body)
