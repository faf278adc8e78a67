"""`headrace search`: ask an index directory, or a running service, and print what it found."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
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
@click.option("--size", type=click.IntRange(0), help="How many hits; 10 if not given.")
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
    size: int | None,
    sort: tuple[str, ...],
    key: str | None,
    as_json: bool,
    arrow: Path | None,
) -> None:
    """Search an index directory or a running service.

    QUERY is in the query string syntax, such as 'origin:JFK AND dep_delay:>60', or a query as JSON, or a
    whole search body: '{"query": …, "aggs": …, "size": 0}'.
    """
    from headrace.api import open as open_index

    if as_json and arrow is not None:
        raise click.UsageError("--json and --arrow are two forms of one answer: give one of them")
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


def request_body(query: str, *, size: int | None, sort: Sequence[str]) -> dict[str, Any]:
    """The body of a `_search` request. Raises ConfigError where an option and the body say the same."""
    body = parse_query(query)
    if sort:
        order = [{name: {"order": order or "asc"}} for name, _, order in (key.partition(":") for key in sort)]
        _put(body, "sort", order)
    if size is not None:
        _put(body, "size", size)
    return {"size": 10, **body}


def _put(body: dict[str, Any], option: str, value: object) -> None:
    if option in body:
        raise ConfigError(f"the body has a {option!r} of its own; leave --{option} out, or that")
    body[option] = value


def parse_query(text: str) -> dict[str, Any]:
    """What is typed, as a search body: a query string, a query as JSON, or the body itself."""
    if not text.lstrip().startswith("{"):
        everything = text.strip() in {"", "*"}
        return {"query": {"match_all": {}} if everything else {"query_string": {"query": text}}}
    from headrace.serve.requests import BODY

    try:
        given: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the query is not JSON: {error.msg} in column {error.colno}") from None
    return given if not given or given.keys() & BODY else {"query": given}


def found(answer: Mapping[str, Any]) -> Found:
    hits = answer["hits"]
    total = hits["total"]["value"] if isinstance(hits.get("total"), Mapping) else len(hits["hits"])
    return Found(int(total), hits["hits"], answer)


def write_arrow(answer: Mapping[str, Any], target: Path) -> None:
    """The hits as one Arrow IPC stream, with their ids; a field of several types is text."""
    from headrace.result import Result

    stream = io.BytesIO()
    Result.from_response(answer).to_polars().write_ipc_stream(stream)
    if str(target) != "-":
        target.write_bytes(stream.getbuffer())
        return
    sys.stdout.buffer.write(stream.getbuffer())
    sys.stdout.buffer.flush()


def show(result: Found) -> None:
    """A table of the fields, as wide as the terminal, then the aggregations; the total on stderr."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sources: list[Mapping[str, Any]] = [hit.get("_source", {}) for hit in result.hits]
    names = list(dict.fromkeys(name for source in sources for name in source))
    width = None if sys.stdout.isatty() else max(shutil.get_terminal_size().columns, 200)
    console = Console(width=width, highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names[:MOST_COLUMNS]:
        table.add_column(Text(name), overflow="ellipsis", no_wrap=True)
    for source in sources:
        table.add_row(*(Text(cell(source.get(name))) for name in names[:MOST_COLUMNS]))
    if names:
        console.print(table)
    for line in aggregation_lines(result.body.get("aggregations", {})):
        click.echo(line)
    more = f", {len(names) - MOST_COLUMNS} more fields in --json" if len(names) > MOST_COLUMNS else ""
    click.echo(f"{len(result.hits)} of {result.total:,} hits{more}", err=True)


def aggregation_lines(found: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each metric and each bucket, what is inside of a bucket below it."""
    for name, answer in found.items():
        if "buckets" not in answer and "doc_count" not in answer:
            yield f"{indent}{cell(name)}: {_metric(answer)}"
            continue
        yield f"{indent}{cell(name)}" + (f": {answer['doc_count']:,}" if "doc_count" in answer else "")
        yield from aggregation_lines(_inside(answer), indent + "  ")
        buckets = answer.get("buckets", [])
        keyed = buckets.items() if isinstance(buckets, Mapping) else ((_key(each), each) for each in buckets)
        for key, bucket in keyed:
            yield f"{indent}  {cell(key)}: {bucket['doc_count']:,}"
            yield from aggregation_lines(_inside(bucket), indent + "    ")


def _inside(bucket: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: answer
        for name, answer in bucket.items()
        if isinstance(answer, Mapping) and name not in ("buckets", "key", "after_key")
    }


def _key(bucket: Mapping[str, Any]) -> object:
    return bucket.get("key_as_string", bucket.get("key"))


def _metric(answer: Mapping[str, Any]) -> str:
    if "value" in answer:
        return cell(answer.get("value_as_string", answer["value"]))
    return cell({name: value for name, value in answer.items() if value is not None})


def cell(value: object) -> str:
    """A value on one line that cannot move the cursor or colour the terminal."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else " " for char in text)
