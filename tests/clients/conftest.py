"""The service as clients meet it, and the official clients themselves, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("clients")
    with service(folder, CONFIGURATION) as started:
        started.until_ready()
        yield started
