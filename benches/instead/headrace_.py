"""Headrace itself: a file is read as `append` does; pushes and questions go to the running service over HTTP.

The others are asked in the process, so their latencies hold no connection, no HTTP and no JSON.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import headrace
from benches import measure_pipeline
from benches import records as made
from benches.instead import Question, Record
from benches.records import encode
from benches.service import Service, free_port


class Headrace:
    def __init__(self, folder: Path) -> None:
        self.told = f"headrace {headrace.__version__}, over HTTP"
        self._folder = folder
        self._port = free_port()
        self._service: Service | None = None
        self._connection: http.client.HTTPConnection | None = None

    def load(self, source: Path) -> None:
        config = made.write_config(self._folder, source, pushed=True, port=self._port)
        measure_pipeline.run(config, made.INDEX, made.PIPELINE)

    def add(self, records: Sequence[Record]) -> None:
        body = "".join(f'{{"index":{{}}}}\n{encode(record)}\n' for record in records)
        answer = self._post("_bulk?refresh=wait_for", body, "application/x-ndjson")
        if answer["errors"]:
            raise RuntimeError(f"refused: {json.dumps(answer)[:500]}")

    def ask(self, question: Question) -> int:
        answer = self._post("_search", json.dumps(_body(question)), "application/json")
        if question.kind == "terms":
            return len(answer["aggregations"]["by"]["buckets"])
        return len(answer["hits"]["hits"])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._service is not None:
            self._service.stop()

    def _post(self, action: str, body: str, kind: str) -> Any:
        connection = self._connected()
        connection.request("POST", f"/{made.INDEX}/{action}", body.encode(), {"Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{action} answered {answer.status}: {content[:500]!r}")
        return json.loads(content)

    def _connected(self) -> http.client.HTTPConnection:
        """At the first request the service is started: that is measured elsewhere."""
        if self._connection is None:
            self._service = Service(self._folder / "headrace.yaml", self._port)
            self._service.__enter__()
            self._connection = self._service.connect()
        return self._connection


def _body(question: Question) -> dict[str, Any]:
    if question.kind == "term":
        return {"query": {"term": {"id": question.value}}}
    if question.kind == "phrase":
        return {"query": {"match_phrase": {"message": question.value}}}
    if question.kind == "terms":
        mean = {"mean": {"avg": {"field": "dur"}}}
        return {
            "size": 0,
            "query": {"range": {"status": {"gte": question.value}}},
            "aggs": {"by": {"terms": {"field": "service"}, "aggs": mean}},
        }
    wanted = [{"term": {"service": question.service}}, {"term": {"level": "error"}}]
    before = [{"range": {"ts": {"lt": question.value}}}]
    return {"query": {"bool": {"must": wanted, "filter": before}}, "sort": [{"ts": "desc"}]}


def create(folder: Path) -> Headrace:
    return Headrace(folder)
