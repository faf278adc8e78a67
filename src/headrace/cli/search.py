"""`headrace search`: ask an index directory, or a running service, and print what it found."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from headrace.core.errors import ConfigError, Fatal, RequestError
from headrace.core.registry import suggest

if TYPE_CHECKING:
    from headrace.index.base import SearchRequest
    from headrace.model import Json

HTTP_TIMEOUT: Final = 30.0
MOST_COLUMNS: Final = 12
"""More do not fit any terminal; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave, wherever it was asked; `hits` have `_id`, `_score` and `_source`."""

    total: int
    hits: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]


class Asked(Protocol):
    """A directory or a service that answers searches."""

    def __call__(self, body: dict[str, Any]) -> Mapping[str, Any]: ...


@click.command()
@click.argument("where", metavar="DIR|URL")
@click.argument("query", default="*")
@click.option("--index", help="Name of the index, where there are several.")
@click.option("--size", type=click.IntRange(0), default=10, show_default=True, help="How many hits.")
@click.option("--sort", multiple=True, metavar="FIELD[:desc]", help="Order of the hits; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as the HTTP interface gives it.")
@click.option(
    "--arrow",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write hits as Arrow IPC to a file or -.",
)
def search(
    where: str,
    query: str,
    index: str | None,
    size: int,
    sort: tuple[str, ...],
    as_json: bool,
    arrow: Path | None,
) -> None:
    """Search an index directory or a running service.

    QUERY is in the query string syntax, such as 'origin:JFK AND dep_delay:>60', or a query as JSON.
    """
    body = request_body(query, size=size, sort=sort)
    answer = ask_service(where, index, body) if is_url(where) else ask_directory(Path(where), index, body)
    if as_json:
        from headrace.cli.app import write_json

        write_json(answer)
    elif arrow is not None:
        write_arrow(answer, arrow)
    else:
        show(found(answer))


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def request_body(query: str, *, size: int, sort: Sequence[str]) -> dict[str, Any]:
    """The body of a `_search` request."""
    body: dict[str, Any] = {"query": parse_query(query), "size": size}
    if sort:
        body["sort"] = [
            {name: {"order": order or "asc"}} for name, _, order in (key.partition(":") for key in sort)
        ]
    return body


def parse_query(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {"match_all": {}} if text.strip() in {"", "*"} else {"query_string": {"query": text}}
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the query is not JSON: {error.msg} in column {error.colno}") from None
    query: dict[str, Any] = given.get("query", given)
    return query


def ask_service(url: str, index: str | None, body: dict[str, Any]) -> Mapping[str, Any]:
    """The answer of a service. Raises RequestError (it said no) or Fatal (it said nothing)."""
    import httpx2

    base = url.rstrip("/")
    try:
        name = index or _only_index(
            httpx2.get(f"{base}/_cat/indices?format=json", timeout=HTTP_TIMEOUT).json(), base
        )
        response = httpx2.post(f"{base}/{name}/_search", json=body, timeout=HTTP_TIMEOUT)
    except (httpx2.TransportError, ValueError) as error:
        raise Fatal(f"no answer from {base}: {error}; is the service running?") from error
    if response.status_code != httpx2.codes.OK:
        reason = _reason(response.text)
        raise RequestError(
            response.status_code, "search", f"{base} answered {response.status_code}: {reason}"
        )
    answer: Mapping[str, Any] = response.json()
    return answer


def _only_index(listed: Sequence[Mapping[str, Any]], base: str) -> str:
    """The name of the one index of a service. Raises ConfigError if there are more."""
    names = sorted(str(each["index"]) for each in listed)
    if len(names) == 1:
        return names[0]
    raise ConfigError(f"{base} has {len(names)} indexes, choose one by --index: {', '.join(names)}")


def _reason(text: str) -> str:
    """The reason in an Elasticsearch-shaped error body, or its beginning."""
    try:
        return str(json.loads(text)["error"]["reason"])
    except (ValueError, KeyError, TypeError):
        return text[:300]


def ask_directory(directory: Path, index: str | None, body: dict[str, Any]) -> Mapping[str, Any]:
    """The answer of an index on this disk, in the shape the HTTP interface gives it."""
    import msgspec

    from headrace.index.tantivy import open_reader
    from headrace.serve.search import search_body

    folder = index_folder(directory, index)
    reader = open_reader(folder)
    started = time.perf_counter()
    try:
        result = reader.search(_request(body))
    finally:
        reader.close()
    took = round((time.perf_counter() - started) * 1000)
    # Through JSON, so that what is printed is the HTTP interface's answer to the letter.
    answer: Mapping[str, Any] = json.loads(msgspec.json.encode(search_body(folder.name, result, took)))
    return answer


def _request(body: dict[str, Any]) -> SearchRequest:
    from headrace.index.base import SearchRequest, SortKey

    keys = [
        SortKey(name, descending=order["order"] == "desc")
        for key in body.get("sort", ())
        for name, order in key.items()
    ]
    query: Json = body["query"]
    return SearchRequest(query=query, size=body["size"], sort=keys)


def index_folder(directory: Path, index: str | None) -> Path:
    """The folder of the index: DIR itself, or the named (or only) one in a data directory."""
    if not directory.is_dir():
        raise ConfigError(f"there is no index directory {directory}")
    inside = directory / "indexes"
    if not inside.is_dir():
        return directory
    names = sorted(path.name for path in inside.iterdir() if path.is_dir())
    if index is None and len(names) == 1:
        return inside / names[0]
    if index is None:
        raise ConfigError(f"{directory} has several indexes, choose one by --index: {', '.join(names)}")
    if index not in names:
        raise ConfigError(f"{directory} has no index {index!r}, {suggest(index, names)}")
    return inside / index


def found(answer: Mapping[str, Any]) -> Found:
    hits = answer["hits"]
    total = hits["total"]["value"] if isinstance(hits.get("total"), Mapping) else len(hits["hits"])
    return Found(int(total), hits["hits"], answer)


def write_arrow(answer: Mapping[str, Any], target: Path) -> None:
    """The hits' sources as one Arrow IPC stream, with their ids."""
    import polars as pl

    rows = [{"_id": hit["_id"], **hit["_source"]} for hit in found(answer).hits]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame.write_ipc_stream(sys.stdout.buffer if str(target) == "-" else target)


def show(result: Found) -> None:
    """A table of the fields, as wide as the terminal; the total on stderr."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for hit in result.hits for name in hit["_source"]))
    width = None if sys.stdout.isatty() else max(shutil.get_terminal_size().columns, 200)
    console = Console(width=width, highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names[:MOST_COLUMNS]:
        table.add_column(Text(name), overflow="ellipsis", no_wrap=True)
    for hit in result.hits:
        table.add_row(*(Text(cell(hit["_source"].get(name))) for name in names[:MOST_COLUMNS]))
    if result.hits:
        console.print(table)
    more = f", {len(names) - MOST_COLUMNS} more fields in --json" if len(names) > MOST_COLUMNS else ""
    click.echo(f"{len(result.hits)} of {result.total:,} hits{more}", err=True)


def cell(value: object) -> str:
    """A value on one line that cannot move the cursor or colour the terminal."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else " " for char in text)
