"""HTTPS: the certificate is loaded before anything listens, and again when its file changes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from headrace.core.errors import ConfigError
from headrace.core.log import event
from headrace.settings import TlsSettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
"""A renewed certificate is used by the connections that begin after this."""


class Certificate:
    """An SSL context that follows its files. Raises ConfigError."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._seen = self._state()
        self._load()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Load the files again if they changed; what cannot be loaded is told, and the old ones stay."""
        try:
            seen = self._state()
            if seen == self._seen:
                return
            self._seen = seen
            # Tried apart: a certificate without its key would spoil the context in use.
            Certificate(self._settings)
            self._load()
            event(log.info, "tls.reloaded", certificate=str(self._settings.certificate))
        except ConfigError as error:
            event(log.error, "tls.not_reloaded", error=str(error))

    def _load(self) -> None:
        certificate, key = self._settings.certificate, self._settings.key
        try:
            # A passphrase cannot be asked for: without this OpenSSL would, on the terminal.
            self.context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{certificate} and {key} are no certificate with its key: {error}; both are PEM, "
                "and the key has no passphrase",
                path=("server", "tls"),
            ) from error
        except OSError as error:
            raise ConfigError(
                f"cannot read {certificate} and {key}: {error.strerror}", path=("server", "tls")
            ) from error

    def _state(self) -> list[tuple[int, int]]:
        return [_state(self._settings.certificate, "certificate"), _state(self._settings.key, "key")]


def _state(path: Path, option: str) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", path=("server", "tls", option)) from error
    return stat.st_ino, stat.st_mtime_ns


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
