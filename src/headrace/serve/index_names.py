"""What an index made at run time may be called: Elasticsearch's rules, and the paths that are our own."""

from __future__ import annotations

from typing import Final, NoReturn

from headrace.core.errors import RequestError

RESERVED: Final = ("api", "es", "health", "ingest", "metrics", "openapi.json", "ui")
"""First segments of the service's own paths: an index of that name could be reached under /es/ only."""

FORBIDDEN: Final = '\\/*?"<>| ,#:'
LONGEST: Final = 255


def check_index_name(name: str) -> None:
    """Refuses what no index may be called. Raises RequestError 400 `invalid_index_name_exception`."""
    found = _fault(name)
    if found is not None:
        refuse_index_name(name, found)
    if name in RESERVED:
        refuse_index_name(
            name,
            f"it is a path of the service itself (reserved: {' '.join(RESERVED)}); choose another name, and "
            "use the prefix /es/ to be rid of such clashes with paths",
        )


def check_alias_name(name: str) -> None:
    """The same for an alias, which may be in upper case. Raises RequestError 400."""
    found = _fault(name.lower())
    if found is None and name in RESERVED:
        found = f"it is a path of the service itself (reserved: {' '.join(RESERVED)})"
    if found is not None:
        refuse_alias_name(name, found)


def refuse_index_name(name: str, fault: str) -> NoReturn:
    raise RequestError(400, "invalid_index_name_exception", f"Invalid index name [{name}], {fault}")


def refuse_alias_name(name: str, fault: str) -> NoReturn:
    raise RequestError(400, "invalid_alias_name_exception", f"Invalid alias name [{name}], {fault}")


def _fault(name: str) -> str | None:
    if not name:
        return "must not be empty"
    if any(character in FORBIDDEN or ord(character) < 32 for character in name):
        listed = ", ".join(f"'{character}'" for character in FORBIDDEN)
        return f"must not contain the following characters [{listed}]"
    if name[0] in "-_+":
        return "must not start with '_', '-', or '+'"
    if name in (".", ".."):
        return "must not be '.' or '..'"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "must be valid Unicode"
    if size > LONGEST:
        return f"index name is too long, ({size} > {LONGEST})"
    return None if name == name.lower() else "must be lowercase"
