"""Asks the service, through the step's dependency; what comes back is classified and never raised.

Retryable: no connection, no answer in time, 408, 425, 429, 5xx, an answer that is no JSON. A miss: 404, 410,
204. Of one key alone: 400, 414, 422 to its GET. Everything else (401, a redirect) says that the service
refuses us: an outage that no retry ends, and no failure of the peer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import msgspec

from headrace.core.dependency import Dependency, Failed
from headrace.core.errors import Retryable, TimedOut
from headrace.fields import Field
from headrace.model import Json
from headrace.transform.http_lookup.answers import (
    MISSED,
    Answer,
    Key,
    Refused,
    Unavailable,
    typed,
    walk,
)
from headrace.transform.http_lookup.options import Settings, names

if TYPE_CHECKING:
    import httpx2

MISSING: Final = frozenset({204, 404, 410})
BUSY: Final = frozenset({408, 425, 429})
OWN_FAULT: Final = frozenset({400, 414, 422})

LONGEST_KEY: Final = 2000
"""Characters of a key in a URL; servers refuse more than about 8,000 bytes in all."""

LONGEST_WAIT: Final = 300.0
"""Seconds that a `Retry-After` is believed at most: a peer's mistake must not stop a pipeline for a day."""

REFUSED_WAIT: Final = 30.0
"""Seconds after which a service that refuses us is asked again: somebody has to correct something first."""


class Service:
    """One service; `close` ends its connections."""

    def __init__(self, settings: Settings, fields: Mapping[str, Field], dependency: Dependency) -> None:
        self._settings = settings
        self._fields = fields
        self._paths = names(settings.add)
        self._dependency = dependency
        self._host = urlsplit(settings.url).netloc.rpartition("@")[2]
        self._client: httpx2.Client | None = None

    def ask(self, keys: Sequence[Key]) -> dict[Key, Answer]:
        """An answer for each of the distinct keys."""
        self._client = self._client or self._opened()
        if self._settings.mode == "get_each":
            answers = self._dependency.map(self._get, keys)
            return {key: _answered(answer) for key, answer in zip(keys, answers, strict=True)}
        size = self._settings.batch_keys
        chunks = [keys[at : at + size] for at in range(0, len(keys), size)]
        found: dict[Key, Answer] = {}
        for chunk, answer in zip(chunks, self._dependency.map(self._post, chunks), strict=True):
            if isinstance(answer, Failed):
                found |= dict.fromkeys(chunk, Unavailable(answer.error))
            else:
                found |= answer
        return found

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _get(self, key: Key, timeout: float) -> Answer:
        if any(text.strip(".") == "" or len(text) > LONGEST_KEY for text in key):
            # Dots would lead to another path than the one that was meant.
            return Refused("lookup_refused", "the key cannot be part of a URL")
        parts = {
            name: quote(text, safe="") for name, text in zip(names(self._settings.key), key, strict=True)
        }
        status, body = self._send("GET", self._settings.url.format_map(parts), timeout)
        if status in OWN_FAULT:
            return Refused("lookup_refused", f"{self._host} answered {status}")
        if status not in MISSING and not _is_good(status):
            return self._refusal(status)
        if body is None:
            return Refused("lookup_refused", f"{self._host} answered {self._too_much}")
        item = None if status in MISSING else walk(self._decoded(body), self._settings.results)
        return MISSED if item is None else typed([item], self._paths, self._fields)[0]

    def _post(self, keys: Sequence[Key], timeout: float) -> dict[Key, Answer]:
        content = msgspec.json.encode({self._settings.body_key: [key[0] for key in keys]})
        status, body = self._send("POST", self._settings.url, timeout, content)
        if not _is_good(status):
            return dict.fromkeys(keys, self._refusal(status))
        if body is None:
            error = Retryable(
                f"{self._host} answered {self._too_much}, or lower batch_keys", after=REFUSED_WAIT
            )
            return dict.fromkeys(keys, Unavailable(error))
        items = self._by_key(walk(self._decoded(body), self._settings.results))
        known = [key for key in keys if items.get(key[0]) is not None]
        made = typed([items[key[0]] for key in known], self._paths, self._fields)
        return {**dict.fromkeys(keys, MISSED), **dict(zip(known, made, strict=True))}

    def _by_key(self, results: Json) -> Mapping[str, Json]:
        path = self._settings.item_key
        if isinstance(results, dict) and not path:
            return results
        if isinstance(results, list) and path:
            keyed = ((walk(item, path), item) for item in results)
            return {_text(key): item for key, item in keyed if key is not None}
        wanted = "a list of items" if path else "an object by key"
        raise Retryable(f"{self._host} answered no {wanted} at {self._settings.results or 'the top'}")

    def _refusal(self, status: int) -> Unavailable:
        where = " (redirects are not followed: correct the url)" if 300 <= status < 400 else ""
        return Unavailable(Retryable(f"{self._host} refuses us: {status}{where}", after=REFUSED_WAIT))

    @property
    def _too_much(self) -> str:
        return f"more than {self._settings.max_body}: raise max_body"

    def _decoded(self, body: bytes) -> Json:
        try:
            decoded: Json = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Retryable(f"{self._host} answered no JSON: {error}") from None
        return decoded

    def _send(
        self, method: str, url: str, timeout: float, content: bytes | None = None
    ) -> tuple[int, bytes | None]:
        """Status and whole body. Raises Retryable."""
        import httpx2

        assert self._client is not None, "opened before asking"
        headers = {} if content is None else {"content-type": "application/json"}
        end = time.monotonic() + timeout
        try:
            with self._client.stream(
                method, url, content=content, headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code in BUSY or answer.status_code >= 500:
                    after = _retry_after(answer.headers.get("retry-after"))
                    raise Retryable(f"{self._host} answered {answer.status_code}", after=after)
                return answer.status_code, self._body(answer, end)
        except httpx2.TimeoutException as error:
            raise TimedOut(f"{self._host} did not answer within {timeout:.3g} s") from error
        except httpx2.RequestError as error:
            what = str(error) or type(error).__name__
            raise Retryable(f"{self._host} cannot be asked: {what}") from error

    def _body(self, answer: httpx2.Response, end: float) -> bytes | None:
        """None where it is more than `max_body`. The client's time-out is for each read: a drip has none."""
        coding = answer.headers.get("content-encoding", "identity")
        if coding != "identity":  # asked not to: what is small here may be large unpacked
            raise Retryable(f"{self._host} answered in the coding {coding!r}, which was not asked for")
        body = bytearray()
        for part in answer.iter_raw():
            body += part
            if len(body) > self._settings.max_body:
                return None
            if time.monotonic() > end:
                raise TimedOut(f"{self._host} did not end its answer in time")
        return bytes(body)

    def _opened(self) -> httpx2.Client:
        import httpx2

        secrets = {name: secret.reveal() for name, secret in self._settings.headers.items()}
        return httpx2.Client(
            headers={"accept": "application/json", "accept-encoding": "identity", **secrets},
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=self._settings.concurrency),
        )


def _answered(answer: Answer | Failed) -> Answer:
    return Unavailable(answer.error) if isinstance(answer, Failed) else answer


def _is_good(status: int) -> bool:
    return 200 <= status < 300


def _text(key: Json) -> str:
    return key if isinstance(key, str) else msgspec.json.encode(key).decode()


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a number or an HTTP date; None where nothing (usable) is said."""
    if value is None:
        return None
    try:
        seconds = (
            float(value)
            if value.strip().isdecimal()
            else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), LONGEST_WAIT)
