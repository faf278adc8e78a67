"""What went wrong with a request, and which of the fates it has."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from headrace.core.errors import Fatal, HeadraceError, Retryable

LONGEST_WAIT: Final = 86_400.0
"""Seconds a peer may make us wait: daily quotas are real, longer ones are mistakes."""

BUSY: Final = frozenset({408, 425, 429})

EXCERPT: Final = 200


class NotFound(Fatal):
    """404 or 410: the end of some paginations, the end of the pipeline otherwise."""


def of_transport(error: Exception, where: str) -> HeadraceError:
    """The fate of an exception of the client library."""
    import httpx2

    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause, where)
        if isinstance(cause, socket.gaierror):
            return Retryable(f"{where}: the name does not resolve: check `url`, and this machine's DNS")
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return Fatal(f"{where}: cannot be asked: {error}")
    if isinstance(error, httpx2.ConnectError):
        return Retryable(f"{where}: cannot connect: {error}")
    return Retryable(f"{where}: the connection failed: {type(error).__name__}: {error}")


def of_status(status: int, headers: Mapping[str, str], body: bytes, where: str, now: float) -> HeadraceError:
    """The fate of an answer that is no success."""
    after = wait_asked_for(headers, now)
    if status >= 500 or status in BUSY:
        return Retryable(f"{where}: answered {status}{excerpt(body)}", after=after)
    if status == 403 and (after is not None or headers.get("x-ratelimit-remaining") == "0"):
        # GitHub's way to say 429.
        return Retryable(f"{where}: answered 403 because of its rate limit", after=after)
    if status in {401, 403}:
        return Fatal(f"{where}: answered {status}, not allowed: check `auth`{excerpt(body)}")
    if status in {404, 410}:
        return NotFound(f"{where}: answered {status}, there is nothing here: check `url`{excerpt(body)}")
    return Fatal(f"{where}: answered {status}, the request is not as it should be{excerpt(body)}")


def wait_asked_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds by `Retry-After` (a number or a date) or by a rate limit's reset; None where neither says."""
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        return min(float(after), LONGEST_WAIT)
    if after:
        return _until(after, now)
    reset = headers.get("x-ratelimit-reset", "").strip()
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return min(max(0.0, float(reset) - now), LONGEST_WAIT)
    return None


def excerpt(body: bytes) -> str:
    """`: it begins '<html>…'`, or nothing of an empty body."""
    text = " ".join(body[: 4 * EXCERPT].decode("utf-8", "replace").split())
    return f"; it says {text[:EXCERPT]!r}" if text else ""


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, moment.timestamp() - now), LONGEST_WAIT)


def _of_tls(error: ssl.SSLError, where: str) -> HeadraceError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fatal(
            f"{where}: its certificate is not to be trusted: {error.verify_message}; if the authority "
            "is your own, name its certificate in `tls.ca_file`"
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Retryable(f"{where}: the encrypted connection was cut")
    return Fatal(f"{where}: no encrypted connection: {error.reason or error}; is this an https address?")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
