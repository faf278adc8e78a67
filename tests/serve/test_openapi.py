"""The document of the API: whole, valid, and true of every route there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from described import Nothing, made, server
from headrace.core.metrics import Metrics
from headrace.index.query import parse
from headrace.index.tantivy.aggregations import request as aggregations
from headrace.serve import forwarding, requests
from headrace.serve.app import server_app
from headrace.serve.local import ingester_app
from headrace.serve.openapi import parameters, schemas, service
from headrace.serve.openapi.document import DESCRIBED, document, places, undescribed


def operations() -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in made()["paths"].items()
        for method, operation in item.items()
        if method != "servers"
    ]


def test_it_is_valid() -> None:
    """By the official validator of OpenAPI 3.1."""
    errors = list(OpenAPIV31SpecValidator(cast("Any", made())).iter_errors())
    assert [] == [f"{list(error.path)}: {error.message}" for error in errors]


def test_every_route_is_described_and_nothing_else() -> None:
    """A new route needs its line in `serve/openapi`, one that is gone has to lose it."""
    assert [] == undescribed(server().routes)
    assert set(DESCRIBED) == {place for place, _ in operations()}


def test_a_route_that_nothing_describes_is_named() -> None:
    """It fails here, and costs users no more than its words."""

    async def nothing(_: Any) -> Response:
        raise NotImplementedError

    routes = [Route("/surprise/{name}", nothing, methods=["GET"])]
    assert ["GET /surprise/{name}"] == undescribed(routes)
    assert "GET /surprise/{name}" == document(routes)["paths"]["/surprise/{name}"]["get"]["summary"]


def test_what_is_forwarded_is_what_the_ingester_serves() -> None:
    nothing = cast("Any", Nothing())
    own = ingester_app(nothing, nothing, nothing, Metrics())
    served = {f"{method} {path}" for method, path in places(own.routes) if path.startswith("/api/")}
    assert served == set(service.FORWARDED)
    passed = places(forwarding.routes(nothing, nothing, dict))
    assert served == {f"{method} {path}" for method, path in passed}


def test_operations_have_names_of_their_own_and_words() -> None:
    identities = [operation["operationId"] for _, operation in operations()]
    assert sorted(set(identities)) == sorted(identities)
    tags = {tag["name"] for tag in made()["tags"]}
    for place, operation in operations():
        assert operation["summary"], place
        assert set(operation["tags"]) <= tags, place
        answers = operation["responses"]
        assert any(status[0] in "24" for status in answers), place


def test_errors_have_one_shape() -> None:
    """But for those that Elasticsearch answers in its own."""
    for place, operation in operations():
        for status in ("400", "413", "415", "429"):
            answer = operation["responses"].get(status)
            if answer is not None:
                shown = answer["content"]["application/json"]["schema"]
                assert {"$ref": "#/components/schemas/Error"} == shown, (place, status)


def test_the_data_api_is_also_under_its_prefix() -> None:
    paths = made()["paths"]
    assert [{"url": "/"}, {"url": "/es"}] == paths["/{index}/_search"]["servers"]
    assert "servers" not in paths["/api/buffer"]


def test_what_is_below_the_prefix_are_the_same_routes() -> None:
    """So whatever is shown of one is shown of the other."""
    routes = server().routes
    (mount,) = (route for route in routes if isinstance(route, Mount))
    assert "/es" == mount.path
    assert 100 < len(mount.routes)
    own = {id(route) for route in routes}
    assert [] == [route for route in mount.routes if id(route) not in own]


def test_every_key_of_a_search_is_described() -> None:
    assert set(requests.BODY) == set(schemas.SEARCH_BODY["properties"])  # type: ignore[arg-type]


def test_every_kind_of_query_is_described() -> None:
    known = {*parse._COMPOUND, *parse._ON_FIELDS, *parse._LEAVES}
    assert known == set(schemas.QUERIES)


def test_every_kind_of_aggregation_is_described() -> None:
    known = {*aggregations.OPTIONS, *aggregations.FREE, *aggregations.PARENTS, *aggregations.SIBLINGS}
    assert known == set(schemas.AGGREGATIONS) - {"aggs", "aggregations"}


def test_every_parameter_that_is_described_is_taken_somewhere() -> None:
    taken = {name for operation in DESCRIBED.values() for name in operation.parameters}
    assert taken == set(parameters.QUERY)
    in_paths = {name for place in DESCRIBED for name in re.findall(r"\{(\w+)\}", place)}
    assert in_paths == set(parameters.PATH)


def test_every_schema_is_used() -> None:
    text = msgspec.json.encode(made()).decode()
    used = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert used == set(made()["components"]["schemas"])


def test_a_folder_that_is_only_read_describes_only_reads() -> None:
    nothing = cast("Any", Nothing())
    routes: list[BaseRoute] = server_app(nothing, nothing, Metrics()).routes
    paths = document(routes)["paths"]
    assert "/{index}/_search" in paths
    assert not {"/_bulk", "/ingest/{pipeline}", "/api/pipelines"} & set(paths)
