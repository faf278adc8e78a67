"""`headrace index`: files into a searchable folder, without a configuration."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from headrace.job import Job, Summary

REFRESH_SECONDS = 0.1


@click.command("index")
@click.argument("files", nargs=-1, required=True, metavar="FILES…")
@click.option(
    "--into", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the index."
)
@click.option(
    "--id", "key", multiple=True, metavar="FIELD", help="Field that identifies a record; repeatable."
)
@click.option(
    "--field", "fields", multiple=True, metavar="NAME=TYPE", help="Declare a field's type; repeatable."
)
@click.option("--format", "format_", default="auto", show_default=True, help="Format of the files.")
@click.option(
    "--null", "nulls", multiple=True, metavar="TEXT", help="Text that stands for no value; repeatable."
)
@click.option("--name", help="Name of the index; made from the folder's name if not given.")
@click.option("--strict", is_flag=True, help="Exit with 3 when records were rejected.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def index(
    context: click.Context,
    files: tuple[str, ...],
    into: Path,
    key: tuple[str, ...],
    fields: tuple[str, ...],
    format_: str,
    nulls: tuple[str, ...],
    name: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Index FILES (paths, globs, folders, or - for standard input) into a folder.

    The fields are inferred from the first records. Run again with the same files it adds nothing; with
    more files it adds what is new.
    """
    from headrace.core.errors import ConfigError
    from headrace.job import Job

    declared = {}
    for each in fields:
        field, equals, kind = each.partition("=")
        if not equals:
            raise ConfigError(f"--field {each!r}: write NAME=TYPE, such as origin=keyword")
        declared[field] = kind
    options: dict[str, object] = {"format": format_}
    if nulls:
        options["null_values"] = list(nulls)
    identity = list(key) if len(key) > 1 else key[0] if key else None
    job = Job(list(files), into=into, id=identity, name=name, fields=declared, options=options)
    summary = _run_with_progress(job) if sys.stderr.isatty() and not as_json else job.run()
    if as_json:
        click.echo(msgspec.json.encode(_as_json(job, summary)).decode())
    else:
        _print(job, into, summary)
    context.exit(3 if summary.rejected and strict else 0)


def _run_with_progress(job: Job) -> Summary:
    """Run while a thread draws records, rate and time left on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    done = threading.Event()
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, records=0, rate=0.0)

        def draw() -> None:
            started, total = time.monotonic(), 0
            while not done.wait(REFRESH_SECONDS):
                now = job.progress()
                total = max(total, now.left or 0)
                rate = now.records / (time.monotonic() - started)
                finished = total - now.left if now.left is not None and total else None
                bar.update(task, total=total or None, completed=finished, records=now.records, rate=rate)

        painter = threading.Thread(target=draw, name="progress", daemon=True)
        painter.start()
        try:
            return job.run()
        finally:
            done.set()
            painter.join()


def _as_json(job: Job, summary: Summary) -> dict[str, object]:
    return {
        "index": job.name,
        "directory": str(job.directory),
        "read": summary.read,
        "indexed": summary.indexed,
        "rejected": summary.rejected,
        "documents": summary.documents,
        "size_bytes": summary.size,
        "seconds": round(summary.seconds, 3),
        "records_per_second": round(summary.rate),
        "fields": {name: field.type for name, field in summary.fields.items()},
    }


def _print(job: Job, into: Path, summary: Summary) -> None:
    from headrace.units import human

    click.echo(
        f"{summary.read:,} records read in {summary.seconds:.1f} s ({summary.rate:,.0f}/s), "
        f"{summary.indexed:,} indexed, {summary.rejected:,} rejected"
    )
    click.echo(f"index {job.name}: {summary.documents:,} documents, {human(summary.size)} in {into}")
    if summary.rejected:
        click.echo(f"see why: headrace dlq list {into}")
    click.echo(f"try:     headrace search {into} 'YOUR WORDS'")
