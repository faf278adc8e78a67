"""An index behind HTTP, asked as any client would."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from headrace.core.errors import ConfigError, Fatal, RequestError

if TYPE_CHECKING:
    import httpx2

    from headrace.model import Json

TIMEOUT_SECONDS: Final = 30.0
KEY_VARIABLE: Final = "HEADRACE_API_KEY"


class RemoteIndex:
    """One index of a running service; `name` may be left out where there is only one.

    key: an API key's secret, or its encoded form; of the environment's HEADRACE_API_KEY if not given
    """

    def __init__(self, url: str, name: str | None = None, *, key: str | None = None) -> None:
        import httpx2

        self._base = url.rstrip("/")
        key = os.environ.get(KEY_VARIABLE, "") if key is None else key
        headers = {"authorization": f"ApiKey {key.strip()}"} if key.strip() else {}
        self._client = httpx2.Client(base_url=self._base, timeout=TIMEOUT_SECONDS, headers=headers)
        try:
            self._name = quote(name or self._only_index(), safe="")
        except BaseException:
            self._client.close()
            raise

    def answer(self, body: Mapping[str, Json]) -> Mapping[str, Any]:
        """The decoded `_search` answer. Raises RequestError (it said no) or Fatal (it said nothing)."""
        answer = self._ask("POST", f"/{self._name}/_search", msgspec.json.encode(body))
        decoded: dict[str, Any] = msgspec.json.decode(_checked(answer, self._base))
        return decoded

    def document(self, id: str) -> Json:  # noqa: A002  the word users know
        answer = self._ask("GET", f"/{self._name}/_doc/{quote(id, safe='')}")
        if answer.status_code == 404 and b'"found":false' in answer.content:
            return None
        source: Json = msgspec.json.decode(_checked(answer, self._base))["_source"]
        return source

    def close(self) -> None:
        self._client.close()

    def _only_index(self) -> str:
        listed = msgspec.json.decode(_checked(self._ask("GET", "/_cat/indices?format=json"), self._base))
        names = sorted(str(each["index"]) for each in listed)
        if len(names) == 1:
            return names[0]
        raise ConfigError(f"{self._base} has {len(names)} indexes, choose one: {', '.join(names)}")

    def _ask(self, method: str, path: str, content: bytes | None = None) -> httpx2.Response:
        import httpx2

        headers = {"content-type": "application/json"}
        try:
            return self._client.request(method, path, content=content, headers=headers)
        except httpx2.TransportError as error:
            raise Fatal(f"no answer from {self._base}: {error}; is the service running?") from error


def _checked(answer: httpx2.Response, base: str) -> bytes:
    if answer.is_success:
        return answer.content
    reason = f"{base} answered {answer.status_code}: {_reason(answer.text)}"
    if answer.status_code == 401:
        reason += f"; give a key with --key, `key=`, or in {KEY_VARIABLE}"
    raise RequestError(answer.status_code, "search", reason)


def _reason(text: str) -> str:
    """The reason in an Elasticsearch-shaped error body, or its beginning."""
    try:
        return str(msgspec.json.decode(text)["error"]["reason"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return text[:300]
