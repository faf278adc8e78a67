"""The keys that `headrace keys` made: a file of salted hashes, which only its owner may read.

A secret is made here from 256 random bits, so one round of BLAKE2b is as hard to turn back as scrypt would
be: slow hashes are for secrets that people choose.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.errors import ConfigError, StoreError
from headrace.core.files import replace_file
from headrace.core.lock import RoleLock
from headrace.core.registry import suggest
from headrace.layout import keys_file, run_directory
from headrace.settings import Scope

FORMAT: Final = 1
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
SECRET_BYTES: Final = 32


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is kept; `salt` and `hash` in hexadecimal, `created` in unix time."""

    id: str
    name: str
    scopes: list[Scope]
    indexes: list[str]
    created: float
    salt: str
    hash: str

    def fits(self, secret: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(self.hash, hashed(secret, self.salt))


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    format: int = FORMAT
    keys: list[StoredKey] = []


def hashed(secret: str, salt: str) -> str:
    return blake2b(secret.encode(), salt=bytes.fromhex(salt), digest_size=32).hexdigest()


def stored(
    name: str, secret: str, scopes: Sequence[Scope], indexes: Sequence[str], key_id: str = ""
) -> StoredKey:
    salt = secrets.token_hex(blake2b.SALT_SIZE)
    return StoredKey(
        id=key_id or name,
        name=name,
        scopes=list(scopes),
        indexes=list(indexes),
        created=round(time.time(), 3),
        salt=salt,
        hash=hashed(secret, salt),
    )


def read(path: Path) -> list[StoredKey] | None:
    """The keys; None where there is no file. Raises StoreError, the file untouched."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read the keys {path}: {error.strerror}") from error
    try:
        found = msgspec.json.decode(text, type=KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is damaged: {error}; restore it from a backup, or delete it and make new keys"
        ) from error
    if found.format != FORMAT:
        raise StoreError(
            f"{path} has format {found.format}, this version knows {FORMAT}; "
            "use the version of headrace that wrote it (nothing was changed)"
        )
    return found.keys


def create(
    data_dir: Path, name: str, scopes: Sequence[Scope], indexes: Sequence[str]
) -> tuple[StoredKey, str]:
    """A new key and its secret, which is nowhere else. Raises ConfigError, StoreError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"a key's name has letters, digits and . _ - (at most 100), found {name!r}")
    with _changing(data_dir):
        known = read(keys_file(data_dir)) or []
        if name in {key.name for key in known} | {key.id for key in known}:
            raise ConfigError(f"there is a key {name!r}; revoke it first, or choose another name")
        secret = secrets.token_urlsafe(SECRET_BYTES)
        key = stored(name, secret, scopes, indexes, secrets.token_hex(8))
        _write(data_dir, [*known, key])
    return key, secret


def revoke(data_dir: Path, name: str) -> StoredKey:
    """Take a key away, by its name or id. Raises ConfigError where there is none, StoreError."""
    with _changing(data_dir):
        known = read(keys_file(data_dir)) or []
        found = [key for key in known if name in (key.name, key.id)]
        if not found:
            raise ConfigError(f"there is no key {name!r}, {suggest(name, [key.name for key in known])}")
        # The file stays, however empty: without it the doors would stand open.
        _write(data_dir, [key for key in known if key is not found[0]])
    return found[0]


def _changing(data_dir: Path) -> RoleLock:
    if not data_dir.parent.is_dir():
        raise ConfigError(f"there is no folder {data_dir.parent}")
    return RoleLock(run_directory(data_dir), "keys")


def _write(data_dir: Path, keys: list[StoredKey]) -> None:
    path = keys_file(data_dir)
    content = msgspec.json.format(msgspec.json.encode(KeyFile(keys=keys)), indent=2) + b"\n"
    try:
        replace_file(path, content, mode=0o600)
    except OSError as error:
        raise StoreError(f"cannot write the keys {path}: {error.strerror}; nothing was changed") from error
