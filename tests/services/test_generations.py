"""The next generation of an index, made while it is written to, and whatever is killed meanwhile (PROTOCOL 27)."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from headrace.catalogue.store import read as read_catalogue
from headrace.index.tantivy import open_reader
from headrace.layout import catalogue_file, index_directory
from services.running import Running, service

CONFIGURATION = """\
data_dir: data
server: { port: PORT }
disk_reserve: 1MB
commit_interval: 50ms
"""

KEYWORDS = {"properties": {"word": {"type": "keyword"}, "n": {"type": "long"}}}
WORDS = {"properties": {"word": {"type": "text"}, "n": {"type": "long"}, "more": {"type": "keyword"}}}


class Pushing(threading.Thread):
    """Pushes until told to stop; remembers what was acknowledged."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self.running = running
        self.stopping = threading.Event()
        self.acknowledged: set[int] = set()
        self.next = 100_000

    def run(self) -> None:
        while not self.stopping.is_set():
            numbers = range(self.next, self.next + 20)
            self.next += 20
            try:
                status, _, answer = self.running.push("/books/_bulk", lines(numbers))
            except (OSError, ValueError, HTTPException):  # killed, perhaps between the head and the body
                status = 0
            if status == 200 and not answer["errors"]:
                self.acknowledged.update(numbers)
            else:
                time.sleep(0.05)


def lines(numbers: range) -> str:
    made: list[Any] = []
    for number in numbers:
        made += [{"index": {}}, {"n": number, "word": f"Mill {number}"}]
    return "".join(json.dumps(line) + "\n" for line in made)


def stored(folder: Path) -> Counter[int]:
    data = folder / "data"
    made = read_catalogue(catalogue_file(data)).indexes["books"]
    found: Counter[int] = Counter()
    with closing(open_reader(index_directory(data, made.folder))) as reader:
        for frame in reader.scan(None, 10_000):
            found.update(json.loads(source)["n"] for source in frame["_source"])
    return found


@pytest.mark.timeout(120)
def test_a_mapping_is_changed_under_a_running_index(tmp_path: Path) -> None:
    """Old documents and new ones follow the new mapping; updates and deletes meanwhile are in it as well."""
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.ask("/books", {"mappings": KEYWORDS}, method="PUT")
        running.push("/books/_bulk?refresh=true", lines(range(3000)))
        running.ask("/books/_doc/given?refresh=true", {"n": -1, "word": "Given"}, method="PUT")
        assert running.ask("/books/_count?q=word:mill")["count"] == 0
        pushing = Pushing(running)
        pushing.start()
        made = running.ask("/api/indexes/books/generations", {"mappings": WORDS}, method="POST")
        assert made == {"acknowledged": True, "index": "books", "generation": 1}
        time.sleep(0.3)
        pushing.stopping.set()
        pushing.join()
        assert running.ask("/books/_doc/given", method="DELETE")["result"] == "deleted"
        running.ask("/books/_refresh", {}, method="POST")
        expected = 3000 + len(pushing.acknowledged)
        assert running.ask("/books/_count?q=word:mill")["count"] == expected
        shown = running.ask("/books/_mapping")["books"]["mappings"]["properties"]
        assert shown["word"]["type"] == "text"
        running.until(lambda: len(list((tmp_path / "data" / "indexes").iterdir())) == 1)
    assert stored(tmp_path) == Counter([*range(3000), *pushing.acknowledged])


@pytest.mark.timeout(60)
def test_a_new_field_of_a_small_index_is_there_when_it_is_answered(tmp_path: Path) -> None:
    """Also for the documents that had it before it was declared; and for an index that is still empty."""
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.ask("/books", {"mappings": {"properties": {"n": {"type": "long"}}}}, method="PUT")
        pages = {"properties": {"pages": {"type": "long"}}}
        assert running.ask("/books/_mapping", pages, method="PUT") == {"acknowledged": True}
        running.push("/books/_bulk?refresh=true", lines(range(10)))
        title = {"properties": {"word": {"type": "text", "analyzer": "english"}}}
        assert running.ask("/books/_mapping", title, method="PUT") == {"acknowledged": True}
        assert running.ask("/books/_count?q=word:mills")["count"] == 10
        running.push("/books/_bulk?refresh=true", lines(range(10, 12)))
        assert running.ask("/books/_count?q=word:mills")["count"] == 12


@pytest.mark.timeout(60)
def test_documents_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    """The answer names the first, and the index goes on as it was."""
    strict = {"dynamic": "strict", "properties": {"n": {"type": "long"}}}
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.push("/books/_bulk?refresh=true", lines(range(10)))
        status, body = running.raw("/api/indexes/books/generations", {"mappings": strict}, method="POST")
        assert (status, json.loads(body)["error"]["type"]) == (400, "illegal_argument_exception")
        assert "do not fit the new mapping" in json.loads(body)["error"]["reason"]
        running.push("/books/_bulk?refresh=true", lines(range(10, 20)))
        assert running.count("books") == 20


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_the_index_is_the_old_generation_or_the_new(tmp_path: Path, seed: int) -> None:
    """Never anything in between: each acknowledged record is there once, under one mapping."""
    dice = random.Random(seed)
    with service(tmp_path, CONFIGURATION) as running:
        running.until_ready()
        running.ask("/books", {"mappings": KEYWORDS}, method="PUT")
        running.push("/books/_bulk?refresh=true", lines(range(5000)))
        pushing = Pushing(running)
        pushing.start()
        for attempt in range(6):
            mappings = WORDS if attempt % 2 else KEYWORDS

            def ask(mappings: dict[str, Any] = mappings) -> None:
                with suppress(OSError, ValueError, HTTPException):
                    running.raw("/api/indexes/books/generations", {"mappings": mappings}, method="POST")

            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            time.sleep(dice.uniform(0.02, 0.8))
            with suppress(ProcessLookupError):  # it is just being started again
                os.kill(running.child(dice.choice(["ingester", "server"])), signal.SIGKILL)
            asking.join()
            running.until(lambda: running.raw("/health/ready")[0] == 200, 40)
        pushing.stopping.set()
        pushing.join()
        running.until(lambda: running.raw("/books/_refresh", {}, method="POST")[0] == 200, 40)
    found = stored(tmp_path)
    assert max(found.values()) == 1
    assert set(range(5000)) | pushing.acknowledged <= set(found)
