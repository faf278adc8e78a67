"""All keys of a server, and whose a request's `Authorization` is.

The file of keys is looked at again at most twice a second, by the request that comes then. Once there was a
file, its absence or an empty one means that no key fits, not that none is needed.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import StoreError
from headrace.core.log import event
from headrace.serve.doors import keyfile
from headrace.serve.doors.keyfile import StoredKey
from headrace.serve.doors.principal import Principal
from headrace.settings import KeySettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
"""A revoked key is refused within a second; a look costs two microseconds."""

REMEMBERED: Final = 1024
"""Credentials known to be right; each would otherwise cost one hash for each key."""

_Seen = tuple[int, int, int] | None


class Keyring:
    """Raises StoreError at first where the file cannot be read; later it goes on with what it knew."""

    def __init__(
        self, configured: Sequence[KeySettings] = (), file: Path | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._configured = [
            keyfile.stored(key.name, key.secret.reveal(), key.scopes, key.indexes) for key in configured
        ]
        self._file = file
        self._keys: list[StoredKey] = list(self._configured)
        self._known: dict[bytes, Principal] = {}
        self._next_look = 0.0
        self._seen: _Seen = None
        self.locked = bool(self._configured)
        self.look()

    def look(self) -> None:
        """Read the file again if it changed. Raises StoreError."""
        self._next_look = self._clock.monotonic() + LOOK_SECONDS
        if self._file is None:
            return
        seen = _state(self._file)
        if seen == self._seen:
            return
        read = keyfile.read(self._file)
        self._seen = seen
        self._keys = [*self._configured, *(read or [])]
        self._known = {}
        self.locked = self.locked or read is not None

    def is_locked(self) -> bool:
        """Whether a key is needed; looks at the file when it is time."""
        if self._file is not None and self._clock.monotonic() >= self._next_look:
            try:
                self.look()
            except StoreError as error:
                event(log.error, "keys.unreadable", error=str(error))
        return self.locked

    def find(self, authorization: str) -> Principal | None:
        """The key that an `Authorization` header holds; None for a wrong one, and for none."""
        # What is remembered is a hash too: a dump of the process should not show the secrets in use.
        digest = blake2b(authorization.encode(errors="replace"), digest_size=16).digest()
        known = self._known.get(digest)
        if known is not None:
            return known
        for name, secret in credentials(authorization):
            found = self._fitting(name, secret)
            if found is not None:
                if len(self._known) >= REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[digest] = found
                return found
        return None

    def _fitting(self, name: str | None, secret: str) -> Principal | None:
        found = None
        for key in self._keys:
            # All are compared, in the same time each: how long it took says nothing.
            if key.fits(secret) and (name is None or name in (key.id, key.name)):
                found = found or Principal(key.name, frozenset(key.scopes), tuple(key.indexes))
        return found


def credentials(authorization: str) -> list[tuple[str | None, str]]:
    """What a header may mean, as (id or name, secret); a secret alone has no name."""
    scheme, _, rest = authorization.strip().partition(" ")
    scheme, rest = scheme.lower(), rest.strip()
    if not rest:
        return []
    if scheme == "bearer":
        return [(None, rest)]
    if scheme not in ("apikey", "basic"):
        return []
    found: list[tuple[str | None, str]] = []
    name, colon, secret = _decoded(rest).partition(":")
    if colon and secret:
        found.append((name, secret))
    if scheme == "apikey":
        found.append((None, rest))
    return found


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _state(path: Path) -> _Seen:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read the keys {path}: {error.strerror}") from error
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
