"""What `/openapi.json` says of keys: how one is given, and which scopes each operation asks it for."""

from __future__ import annotations

from typing import Final

from headrace.model import Json
from headrace.serve.doors.scopes import ANY, FORGOTTEN, OPEN, known
from headrace.serve.openapi.operation import Schema

SCHEMES: Final[dict[str, Schema]] = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`ApiKey `, and the base64 of the key's name, a colon and its secret; or the secret.",
    },
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The secret."},
    "Basic": {"type": "http", "scheme": "basic", "description": "The key's name, and its secret."},
}

WITHOUT_TOO: Final = frozenset({"GET /", "GET /metrics"})
"""Answered without a key to some: the search page to browsers, metrics on this machine."""

WORDS: Final = (
    "Where the server has keys, `security` names the scopes that a request's key needs; "
    "where it has none, nothing is asked for."
)


def required(method: str, template: str) -> Json:
    """Any one of them will do, `{}` is no key: of a route by its template, with the converters in it."""
    scope = known(method, template) or FORGOTTEN
    if scope == OPEN:
        return []
    needed = [[]] if scope == ANY else [each.split("+") for each in scope.split("|")]
    found: list[Json] = [{}] if f"{method} {template}" in WITHOUT_TOO else []
    # OpenAPI 3.1: of schemes that are not OAuth's, the list names the roles that are needed.
    found += [{name: list(scopes)} for scopes in needed for name in SCHEMES]
    return found
