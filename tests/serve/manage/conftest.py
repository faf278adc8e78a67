"""The management alone, over a catalogue of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace.catalogue.store import Keeper
from headrace.core.health import State
from headrace.layout import catalogue_file
from headrace.model import Json
from headrace.serve.indices import ServerIndices
from headrace.serve.manage import Surroundings, routes


async def ready() -> tuple[State, Json]:
    return State.READY, {}


@pytest.fixture
def indices(tmp_path: Path) -> ServerIndices:
    return ServerIndices({}, Keeper(catalogue_file(tmp_path)), tmp_path)


@pytest.fixture
def client(indices: ServerIndices) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(Surroundings(indices, ready)))) as client:
        yield client
