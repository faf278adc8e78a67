"""Requests that name an index, an alias or a thing of an index elsewhere than as the index of their path.

Each is asked by one key, once with a name of its own and once with one of another's. `docs/security.md` has
the table; `python tests/serve/doors/table.py` writes both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.serve.doors import Door, Doors, Keyring
from serve.doors.table import EVERYTHING, application, client, header, key

if TYPE_CHECKING:
    import httpx2

OWN: Final = "fresh-1"
OTHER: Final = "secret-1"
NAME: Final = "NAME"
DOORS: Final = Doors(Door(Keyring([key("whole", EVERYTHING), key("right", EVERYTHING, ["fresh-*"])])))


@dataclass(frozen=True)
class Case:
    """`place` is the endpoint as the table of endpoints has it; NAME stands in `path` and in `body`."""

    place: str
    where: str
    path: str
    body: Any = None
    lines: tuple[Any, ...] = ()

    @property
    def method(self) -> str:
        return self.place.partition(" ")[0]

    def content(self, name: str) -> str:
        if self.lines:
            return "".join(json.dumps(line) + "\n" for line in self.lines).replace(NAME, name)
        return "" if self.body is None else json.dumps(self.body).replace(NAME, name)


def _action(kind: str, **more: Any) -> dict[str, Any]:
    return {"actions": [{kind: more}]}


CASES: Final = (
    Case("POST /_aliases", "`index` of `add`", "/_aliases", _action("add", index=NAME, alias="fresh-x")),
    Case("POST /_aliases", "`alias` of `add`", "/_aliases", _action("add", index=OWN, alias=f"{NAME}-x")),
    Case(
        "POST /_aliases", "`alias` of `remove`", "/_aliases",
        _action("remove", index=OWN, alias=f"{NAME}-x", must_exist=False),
    ),
    Case("POST /_aliases", "`index` of `remove_index`", "/_aliases", _action("remove_index", index=f"{NAME}-0")),
    Case("PUT /{index}/_alias/{name}", "the alias", f"/{OWN}/_alias/{NAME}-y"),
    Case("DELETE /{index}/_alias/{name}", "the alias", f"/{OWN}/_alias/{NAME}-y"),
    Case("PUT /{index}", "`aliases`", "/fresh-made", {"aliases": {f"{NAME}-z": {}}}),
    Case("POST /{index}/_rollover", "`aliases`", "/fresh-roll/_rollover", {"aliases": {f"{NAME}-r": {}}}),
    Case("POST /{index}/_rollover/{new}", "the new index", f"/fresh-roll/_rollover/{NAME}-000009"),
    Case(
        "POST /_reindex", "`source`", "/_reindex",
        {"source": {"index": NAME}, "dest": {"index": "fresh-copy"}},
    ),
    Case("POST /_reindex", "`dest`", "/_reindex", {"source": {"index": OWN}, "dest": {"index": f"{NAME}-c"}}),
    Case("POST /_bulk", "`_index` of `index`", "/_bulk", lines=({"index": {"_index": NAME}}, {"n": 1})),
    Case("POST /_bulk", "`_index` of `create`", "/_bulk", lines=({"create": {"_index": f"{NAME}-n"}}, {"n": 1})),
    Case(
        "POST /{index}/_bulk", "`_index` of a line", f"/{OWN}/_bulk",
        lines=({"index": {"_index": NAME}}, {"n": 1}),
    ),
    Case("POST /_msearch", "`index` of a header", "/_msearch", lines=({"index": NAME}, {})),
    Case("POST /{index}/_msearch", "`index` of a header", f"/{OWN}/_msearch", lines=({"index": NAME}, {})),
    Case("POST /_mget", "`_index` of a document", "/_mget", {"docs": [{"_index": NAME, "_id": "1"}]}),
    Case(
        "POST /{index}/_mget", "`_index` of a document", f"/{OWN}/_mget", {"docs": [{"_index": NAME, "_id": "1"}]}
    ),
    *(
        case
        for kind, aliases, first in (
            ("_index_template", {"template": {"aliases": {f"{NAME}-t": {}}}}, {"priority": 7}),
            ("_template", {"aliases": {f"{NAME}-t": {}}}, {"order": 7}),
        )
        for case in (
            Case(f"PUT /{kind}/{{name}}", "`index_patterns`", f"/{kind}/new", {"index_patterns": [f"{NAME}*"], **first}),
            Case(
                f"PUT /{kind}/{{name}}", "one of several `index_patterns`", f"/{kind}/new",
                {"index_patterns": ["fresh-*", f"{NAME}-*"], **first},
            ),
            Case(
                f"PUT /{kind}/{{name}}", "`aliases`", f"/{kind}/new", {"index_patterns": ["fresh-q*"], **aliases}
            ),
            Case(
                f"PUT /{kind}/{{name}}", "a template of those patterns is there", f"/{kind}/{NAME}-kept",
                {"index_patterns": ["fresh-v*"]},
            ),
            Case(f"POST /{kind}/{{name}}", "`index_patterns`", f"/{kind}/new", {"index_patterns": [f"{NAME}*"], **first}),
            Case(f"GET /{kind}/{{name}}", "its patterns", f"/{kind}/{NAME}-kept"),
            Case(f"DELETE /{kind}/{{name}}", "its patterns", f"/{kind}/{NAME}-kept"),
        )
    ),
    Case(
        "PUT /_index_template/{name}", "`aliases` of `composed_of`", "/_index_template/new",
        {"index_patterns": ["fresh-w*"], "composed_of": [f"{NAME}-part"]},
    ),
    Case("GET /_component_template/{name}", "patterns of templates", f"/_component_template/{NAME}-used"),
    Case(
        "POST /_index_template/_simulate_index/{name}", "the index",
        f"/_index_template/_simulate_index/{NAME}",
    ),
    Case("GET /api/pipelines/{name}", "its index", f"/api/pipelines/push:{NAME}"),
    Case("DELETE /api/pipelines/{name}/dead-letters", "its index", f"/api/pipelines/push:{NAME}/dead-letters"),
    Case("GET /api/breakers/{name}", "the pipeline's index", f"/api/breakers/source:push:{NAME}"),
    Case("POST /api/breakers/{name}", "the index", f"/api/breakers/index:{NAME}", {"force": None}),
    Case("DELETE /api/buffer/subscribers/{name}", "its index", f"/api/buffer/subscribers/push:{NAME}"),
)  # fmt: skip

NAMELESS: Final = frozenset(
    {
        "DELETE /_pit", "DELETE /_search/point_in_time", "DELETE /_search/point_in_time/_all",
        "DELETE /_search/scroll", "DELETE /_search/scroll/{scroll_id}", "POST /_search/scroll",
        "POST /_search/scroll/{scroll_id}", "POST /_search", "POST /_count", "POST /_field_caps",
        "POST /_validate/query", "POST /_search_shards", "POST /_analyze", "POST /_mtermvectors", "POST /_rank_eval",
        "POST /_refresh", "POST /_flush", "POST /_forcemerge", "PUT /_settings", "PUT /_cluster/settings",
        "POST /_ilm/start", "DELETE /_ingest/pipeline/{name}", "PUT /_ingest/pipeline/{name}", "PUT /_bulk",
    }
)  # fmt: skip
"""Other endpoints without an index in the path that change something, or take a body: all they mean is what
the key may use, or they name nothing. What is added here has been thought about."""

_NO_ALIAS: dict[str, Any] = {}
SETUP: Final = (
    *((f"/{name}/_doc/1", {"n": 1}) for name in (OWN, OTHER)),
    *(("/" + name + "-0", {}) for name in (OWN, OTHER)),
    ("/fresh-000001", {"aliases": {"fresh-roll": {"is_write_index": True}}}),
    *(
        (f"/_component_template/{name}-{word}", {"template": {"aliases": aliases}})
        for name, alias in ((OWN, "fresh-p"), (OTHER, "secret-p"))
        for word, aliases in (("part", {alias: {}}), ("used", _NO_ALIAS))
    ),
    *(
        (f"/{kind}/{name}-kept", {"index_patterns": [f"{name}-kept-*"], **parts})
        for name in (OWN, OTHER)
        for kind, parts in (
            ("_index_template", {"composed_of": [f"{name}-used"]}),
            ("_template", {}),
        )
    ),
    ("/_index_template/streams", {"index_patterns": ["secret-stream*"], "data_stream": {}}),
    ("/_data_stream/secret-stream", None),
    ("/secret-1/_alias/secret-alias", None),
    ("/_ilm/policy/days", {"policy": {"phases": {}}}),
)

Found = tuple[Case, int, int]


async def found(folder: Path) -> list[Found]:
    """Of each case the worst status for a name of its own, and for one of another's."""
    async with application(folder, DOORS) as app, client(app) as asked:
        await set_up(asked)
        return [(case, await _status(asked, case, OWN), await _status(asked, case, OTHER)) for case in CASES]


async def set_up(asked: httpx2.AsyncClient) -> None:
    for path, body in SETUP:
        content = "" if body is None else json.dumps(body)
        headers = {**header("whole"), "content-type": "application/json"}
        answer = await asked.put(path, content=content, headers=headers)
        assert answer.status_code in (200, 201), (path, answer.text)


async def _status(asked: httpx2.AsyncClient, case: Case, name: str) -> int:
    """That of the answer, or 403 where one of its parts is refused."""
    headers = {**header("right"), "content-type": "application/json"}
    path = case.path.replace(NAME, name) + "?timeout=0"
    answer = await asked.request(case.method, path, content=case.content(name), headers=headers)
    return 403 if b'"security_exception"' in answer.content else answer.status_code


def table(found: Sequence[Found]) -> str:
    """Requests with the same place of the name share a line."""
    lines = ["| Request | Where the name stands | Its own | Another's |", "|---|---|---|---|"]
    for case, own, other in found:
        refused = str(other) if other in (403, 404) else "answered"
        lines.append(f"| `{case.place}` | {case.where} | {'answered' if own != 403 else own} | {refused} |")
    return "\n".join(dict.fromkeys(lines))
