"""`headrace dlq`: read the dead letters of a service, running or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.core.errors import ConfigError, Fatal

if TYPE_CHECKING:
    from headrace.pipeline.deadletter import DeadLetter, DeadLetterView

DETAIL_CHARS = 60


@click.group()
def dlq() -> None:
    """List, show and delete rejected records.

    DIR is the data directory, or the configuration file that names it.
    """


@dlq.command(name="list")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--pipeline", help="Only those of one pipeline.")
@click.option("--reason", help="Only those with this reason code.")
@click.option("--stage", help="Only those rejected by this stage.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--after", type=int, default=0, help="Go on after this id, the last of the page before.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(
    directory: Path,
    pipeline: str | None,
    reason: str | None,
    stage: str | None,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """List rejected records, oldest first."""
    view = open_view(directory)
    letters = view.list(pipeline=pipeline, reason=reason, stage=stage, limit=limit, after=after)
    if as_json:
        for letter in letters:
            click.echo(as_line(letter))
        return
    if not letters:
        click.echo("no dead letters", err=True)
        return
    click.echo("\n".join(table(letters)))
    if len(letters) == limit:
        click.echo(f"more: --after {letters[-1].id}", err=True)
    counts = ", ".join(f"{count} {code}" for code, count in view.reasons(pipeline).items())
    click.echo(f"{view.count(pipeline)} dead letters: {counts}", err=True)


@dlq.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.argument("letter_id", metavar="ID", type=int)
@click.option("--original", is_flag=True, help="Write only the record's own bytes, as they were read.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(directory: Path, letter_id: int, original: bool, as_json: bool) -> None:
    """Show one rejected record with everything known about it."""
    letter = open_view(directory).show(letter_id)
    if letter is None:
        raise Fatal(
            f"there is no dead letter {letter_id}, `headrace dlq list {directory}` shows those there are"
        )
    if original:
        sys.stdout.buffer.write(letter.original or b"")
        return
    click.echo(as_line(letter) if as_json else "\n".join(details(letter)))


@dlq.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.argument("pipeline")
@click.option("--reason", help="Only those with this reason code.")
def purge(directory: Path, pipeline: str, reason: str | None) -> None:
    """Delete dead letters of a pipeline for good, while no ingester runs.

    Beside a running one, ask it: DELETE /api/pipelines/PIPELINE/dead-letters
    """
    from headrace.core.lock import RoleLock
    from headrace.layout import dead_letter_file, run_directory
    from headrace.pipeline.deadletter import DeadLetters

    data_dir = data_directory(directory)
    with RoleLock(run_directory(data_dir), "ingester"):
        letters = DeadLetters(dead_letter_file(data_dir))
        letters.open({}, ())
        try:
            click.echo(f"{letters.purge(pipeline, reason)} dead letters deleted", err=True)
        finally:
            letters.close()


def open_view(path: Path) -> DeadLetterView:
    """The dead letters of a data directory, or of the one a configuration names."""
    from headrace.layout import dead_letter_file
    from headrace.pipeline.deadletter import DeadLetterView

    return DeadLetterView(dead_letter_file(data_directory(path)))


def data_directory(path: Path) -> Path:
    """A data directory, or the one that a configuration names."""
    if path.is_file():
        from headrace.settings import load

        return load(path).data_dir
    if not path.is_dir():
        raise ConfigError(f"{path} is neither a data directory nor a configuration file")
    return path


def as_line(letter: DeadLetter) -> str:
    """A letter as JSON; its bytes as text where they are text, else escaped."""
    import msgspec

    told = msgspec.structs.asdict(letter)
    told["original"] = None if letter.original is None else text_of(letter.original)
    told["time"] = moment(letter.time)
    return msgspec.json.encode(told).decode()


def text_of(original: bytes) -> str:
    return original.decode("utf-8", errors="backslashreplace")


def moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def table(letters: Sequence[DeadLetter]) -> Iterator[str]:
    """Columns aligned by their widest value."""
    rows = [("ID", "TIME", "PIPELINE", "STAGE", "REASON", "DETAIL")]
    for letter in letters:
        detail = letter.detail if len(letter.detail) <= DETAIL_CHARS else f"{letter.detail[:DETAIL_CHARS]}…"
        rows.append(
            (
                str(letter.id),
                moment(letter.time),
                letter.pipeline,
                letter.stage,
                letter.reason,
                printable(detail),
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def details(letter: DeadLetter) -> Iterator[str]:
    yield f"id         {letter.id}"
    yield f"pipeline   {letter.pipeline}"
    yield f"rejected   by {letter.stage}: {letter.reason}"
    yield f"detail     {printable(letter.detail)}"
    place = letter.position or f"record {letter.record}"
    yield f"from       {letter.origin}, {place} (partition {letter.partition})"
    yield f"time       {moment(letter.time)}"
    yield ""
    yield (
        "(the record's own bytes are not known)"
        if letter.original is None
        else printable(text_of(letter.original))
    )


def printable(text: str) -> str:
    """Text that cannot move the cursor or colour the terminal: records come from strangers."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )
