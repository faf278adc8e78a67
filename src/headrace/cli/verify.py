"""`headrace verify`: check an index directory while nothing writes to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.units import human

if TYPE_CHECKING:
    from headrace.index.tantivy.verify import Report


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--index", help="Name of the index, where DIR is a data directory with several.")
@click.option("--repair", is_flag=True, help="Delete leftovers of a kill and correct the engine's file list.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def verify(ctx: click.Context, directory: Path, index: str | None, repair: bool, as_json: bool) -> None:
    """Check an index directory offline, and repair what is safe.

    Compares files with their checksums, and documents, positions and counts with each other. Exits with
    1 if a problem is left.
    """
    from headrace.api import find_index
    from headrace.index.tantivy.verify import verify as examine

    report = examine(find_index(directory, index), repair=repair)
    if as_json:
        from headrace.cli.app import write_json

        write_json(report)
    else:
        show(report)
    if not report.sound:
        ctx.exit(1)


def show(report: Report) -> None:
    click.echo(
        f"{report.directory}: {report.documents:,} documents, {report.segments} segments, {size(report)}"
    )
    ledger = report.ledger
    click.echo(
        f"  {report.partitions} partitions: {ledger.read:,} read = {ledger.indexed:,} indexed + "
        f"{ledger.rejected:,} rejected + {ledger.dropped:,} dropped"
    )
    for problem in report.problems:
        click.echo(f"  {'repaired' if problem.repaired else 'PROBLEM'}: {problem.what}")
    click.echo("sound" if report.sound else "not sound; `--repair` removes what a kill left behind", err=True)


def size(report: Report) -> str:
    files = Path(report.directory).rglob("*")
    return human(sum(path.stat().st_size for path in files if path.is_file()))
