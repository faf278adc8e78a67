"""The real clients, unmodified, against a service that wants a key: each way they have to say who they are."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import elasticsearch8
import elasticsearch8.helpers
import elasticsearch9
import elasticsearch9.helpers
import opensearchpy
import opensearchpy.helpers
import pytest

from services.running import Running, service

Client: TypeAlias = Any
"""Three packages with the same names and unrelated types."""

SECRET = "the-secret-of-app"
CONFIGURATION = """\
data_dir: data
server:
  port: PORT
  keys:
    - { name: app, secret: the-secret-of-app, scopes: [read, write], indexes: ["app-*"] }
disk_reserve: 1MB
"""
ENCODED = base64.b64encode(f"app:{SECRET}".encode()).decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with service(tmp_path_factory.mktemp("keys"), CONFIGURATION) as started:
        started.until_ready()
        yield started


def open_search(base: str, **how: Any) -> Client:
    return opensearchpy.OpenSearch(hosts=[base], timeout=30, **how)


WAYS: dict[str, tuple[Any, Callable[[str], Client]]] = {
    "8, an API key": (elasticsearch8, lambda base: elasticsearch8.Elasticsearch(base, api_key=ENCODED)),
    "8, an API key in two": (
        elasticsearch8, lambda base: elasticsearch8.Elasticsearch(base, api_key=("app", SECRET))
    ),
    "8, a password": (
        elasticsearch8, lambda base: elasticsearch8.Elasticsearch(base, basic_auth=("app", SECRET))
    ),
    "9, an API key": (elasticsearch9, lambda base: elasticsearch9.Elasticsearch(base, api_key=ENCODED)),
    "9, a password": (
        elasticsearch9, lambda base: elasticsearch9.Elasticsearch(base, basic_auth=("app", SECRET))
    ),
    "9, a bearer": (elasticsearch9, lambda base: elasticsearch9.Elasticsearch(base, bearer_auth=SECRET)),
    "OpenSearch, a password": (opensearchpy, lambda base: open_search(base, http_auth=("app", SECRET))),
    "OpenSearch, an API key": (
        opensearchpy, lambda base: open_search(base, headers={"Authorization": f"ApiKey {ENCODED}"})
    ),
}  # fmt: skip


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, running: Running) -> Iterator[tuple[Any, Client, str]]:
    """The library, a client of it, and an index of its own."""
    library, opened = WAYS[request.param]
    client = opened(running.base)
    yield library, client, f"app-{list(WAYS).index(request.param)}"
    client.close()


def body(library: Any, **parts: Any) -> dict[str, Any]:
    """Parts of a request as a library takes them."""
    return {"body": parts} if library is opensearchpy else parts


def test_a_client_with_a_key_writes_searches_and_is_told_its_errors(way: tuple[Any, Client, str]) -> None:
    """Bulk, search, scan, update and delete on the key's own indexes, made by the first write."""
    library, client, index = way
    actions = [{"_index": index, "_id": str(n), "n": n, "even": n % 2 == 0} for n in range(300)]
    assert (300, []) == library.helpers.bulk(client, actions, refresh="wait_for")
    found = client.search(index=index, **body(library, query={"term": {"even": True}}, size=1))
    assert 150 == found["hits"]["total"]["value"]
    seen = [hit["_source"]["n"] for hit in library.helpers.scan(client, index=index, size=64)]
    assert sorted(seen) == list(range(300))
    assert "updated" == client.update(index=index, id="1", **body(library, doc={"m": 2}))["result"]
    assert 2 == client.get(index=index, id="1")["_source"]["m"]
    assert "deleted" == client.delete(index=index, id="1")["result"]
    with pytest.raises(library.NotFoundError):
        client.get(index=index, id="1")
    with pytest.raises(library.ConflictError):
        client.create(index=index, id="2", body={}) if library is opensearchpy else client.create(
            index=index, id="2", document={}
        )


def test_what_the_key_may_not_is_told_as_that(way: tuple[Any, Client, str]) -> None:
    """Another index, and what needs the scope admin: 403, of the client's own kind."""
    library, client, index = way
    with pytest.raises(library.AuthorizationException) as raised:
        client.search(index="other")
    assert 403 == raised.value.status_code
    with pytest.raises(library.AuthorizationException):
        client.indices.delete(index=index)
    done, errors = library.helpers.bulk(
        client, [{"_index": "other", "n": 1}, {"_index": f"{index}-b", "n": 1}], raise_on_error=False
    )
    assert (1, [403]) == (done, [error["index"]["status"] for error in errors])


@pytest.mark.parametrize(
    "opened",
    [
        lambda base: elasticsearch8.Elasticsearch(base, api_key=("app", "a-wrong-secret-of-app")),
        lambda base: elasticsearch9.Elasticsearch(base, basic_auth=("nobody", SECRET)),
        elasticsearch9.Elasticsearch,
        lambda base: open_search(base, http_auth=("app", "a-wrong-secret-of-app")),
    ],
    ids=["8, a wrong secret", "9, an unknown name", "9, none", "OpenSearch, a wrong secret"],
)
def test_a_wrong_key_is_told_as_that(running: Running, opened: Callable[[str], Client]) -> None:
    """By every request, the first one too."""
    client = opened(running.base)
    kinds: Any = (
        elasticsearch8.AuthenticationException,
        elasticsearch9.AuthenticationException,
        opensearchpy.AuthenticationException,
    )
    with pytest.raises(kinds) as raised:
        client.info()
    assert 401 == raised.value.status_code
    client.close()
