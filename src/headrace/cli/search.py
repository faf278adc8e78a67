"""`headrace search`: ask an index directory, or a running service, and print what it found."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from headrace.core.errors import ConfigError

HTTP_TIMEOUT: Final = 30.0
MOST_COLUMNS: Final = 12
"""More do not fit any terminal; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gave, wherever it was asked; `hits` have `_id`, `_score` and `_source`."""

    total: int
    hits: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]


@click.command()
@click.argument("where", metavar="DIR|URL")
@click.argument("query", default="*")
@click.option("--index", help="Name of the index, where there are several.")
@click.option("--size", type=click.IntRange(0), default=10, show_default=True, help="How many hits.")
@click.option("--sort", multiple=True, metavar="FIELD[:desc]", help="Order of the hits; may be repeated.")
@click.option("--key", envvar="HEADRACE_API_KEY", help="API key of a service that asks for one.")
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
    key: str | None,
    as_json: bool,
    arrow: Path | None,
) -> None:
    """Search an index directory or a running service.

    QUERY is in the query string syntax, such as 'origin:JFK AND dep_delay:>60', or a query as JSON.
    """
    from headrace.api import open as open_index

    with open_index(where, name=index, key=key) as opened:
        answer = opened.answer(request_body(query, size=size, sort=sort))
    if not found(answer).total and not is_url(where):
        refuse_damaged(Path(where), index)
    if as_json:
        from headrace.cli.app import write_json

        write_json(answer)
    elif arrow is not None:
        write_arrow(answer, arrow)
    else:
        show(found(answer))


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def refuse_damaged(directory: Path, index: str | None) -> None:
    """Raises StoreError where "nothing found" may be the fault of a damaged file."""
    from headrace.api import find_index
    from headrace.index.tantivy import verify

    verify.refuse_damaged(find_index(directory, index))


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
