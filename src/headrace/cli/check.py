"""`headrace check`: make everything a configuration names, without running it, and say what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from headrace.core.errors import ConfigError, HeadraceError, Retryable
from headrace.units import human

if TYPE_CHECKING:
    import polars as pl

    from headrace.app.memory import Part
    from headrace.core.clock import Clock
    from headrace.index.base import Index
    from headrace.ingest.base import Guarantee
    from headrace.pipeline.plan import Plan
    from headrace.settings import IndexConfig, PipelineConfig, Settings

SAMPLE_TIMEOUT: Final = 30.0
"""Seconds to wait for the first records of a source."""

NOTHING: Final = "nothing"


class PipelineReport(msgspec.Struct, frozen=True):
    """What one pipeline promises.

    delivery: exactly once, or at least once and why; losses: what a `kill -9` can lose
    """

    name: str
    source: str
    steps: list[str]
    index: str
    index_type: str
    delivery: str
    losses: str
    full_disk: str
    fields: list[str]
    notes: list[str] = []


class Report(msgspec.Struct, frozen=True):
    """What `check` found out; `memory` adds up to `worst_case`, which is at most `limit`."""

    file: str
    pipelines: list[PipelineReport]
    memory: list[Part]
    worst_case: int
    limit: int


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Check a configuration: files, expressions, guarantees and memory.

    Makes every component of FILE, opens every local file and reads its first records, compiles every
    expression against them, and prints what each pipeline promises. Changes nothing.
    """
    from headrace.cli.app import write_json
    from headrace.settings import load

    report = examine(load(file))
    if as_json:
        write_json(report)
    else:
        click.echo("\n".join(lines(report)))


def examine(settings: Settings) -> Report:
    """Make and try everything. Raises SettingsError with the problems of all pipelines."""
    from headrace.app.memory import memory_parts, too_much, worst_case
    from headrace.core.clock import SystemClock
    from headrace.pipeline.rollout import flag_problems
    from headrace.settings import SettingsError

    clock = SystemClock()
    problems: list[ConfigError] = []
    with _noted(settings, problems, ()):
        _check_doors(settings)
    indexes: dict[str, Index] = {}
    for config in settings.indexes.values():
        with _noted(settings, problems, ("indexes", config.name)):
            indexes[config.name] = _index(config, settings, clock)
    reports: list[PipelineReport] = []
    tables = 0
    for pipeline in settings.pipelines.values():
        if pipeline.index in indexes:
            with _noted(settings, problems, ("pipelines", pipeline.name)):
                report, plan = anyio.run(_pipeline, pipeline, settings, indexes[pipeline.index], clock)
                reports.append(report)
                tables += plan.worst_case_bytes
                plan.close()
    problems.extend(settings.origin.blame(problem) for problem in flag_problems(settings, clock.time()))
    memory = memory_parts(settings, indexes, tables)
    worst = worst_case(memory)
    if worst > settings.memory.limit and not problems:
        problems.append(too_much(settings, memory))
    if problems:
        raise SettingsError(problems)
    return Report(settings.origin.name, reports, memory, worst, int(settings.memory.limit))


def _check_doors(settings: Settings) -> None:
    """Whether the server may stand where it is to. Raises ConfigError, StoreError."""
    from headrace.layout import keys_file
    from headrace.serve.doors import Keyring, check_exposed
    from headrace.serve.doors.tls import Certificate

    server = settings.server
    keyring = Keyring(server.keys, keys_file(settings.data_dir))
    check_exposed(server.host, has_keys=keyring.locked, insecure=server.insecure)
    if server.tls is not None:
        Certificate(server.tls)


def _index(config: IndexConfig, settings: Settings, clock: Clock) -> Index:
    from headrace.app import is_pushed, make_index

    return make_index(config, settings, clock, settled=True, pushed=is_pushed(settings, config.name))


async def _pipeline(
    config: PipelineConfig, settings: Settings, index: Index, clock: Clock
) -> tuple[PipelineReport, Plan]:
    from headrace.app import make_source
    from headrace.pipeline.plan import compile_steps

    with _inside(("pipelines", config.name, "source")):
        source = make_source(config, settings, index, clock)
        try:
            with anyio.fail_after(SAMPLE_TIMEOUT):
                sample = await source.sample()
        except TimeoutError:
            raise ConfigError(f"no answer within {SAMPLE_TIMEOUT:.0f} s") from None
        finally:
            await source.close()
    plan = compile_steps(config, settings, sample, fields=index.fields, clock=clock, dynamic=index.dynamic)
    declared = bool(_id_fields(settings.indexes[config.index]))
    if sample is not None and not sample.numbered:  # what was pushed first says little of what comes
        _check_id(settings.indexes[config.index], settings, plan.schema)
    notes = (
        [] if sample else ["the source has no records yet: expressions were tried on declared fields only"]
    )
    notes.extend(_flag_notes(config, settings))
    report = PipelineReport(
        name=config.name,
        source=config.source_kind,
        steps=[step.name for step in config.steps],
        index=config.index,
        index_type=settings.indexes[config.index].kind,
        delivery=delivery(source.guarantee, declared_id=declared),
        losses=source.guarantee.losses or NOTHING,
        full_disk=full_disk(settings),
        fields=[f"{name}: {dtype}" for name, dtype in plan.schema.items() if not name.startswith("_")],
        notes=notes,
    )
    return report, plan


def _id_fields(config: IndexConfig) -> list[str]:
    given: str | list[str] | None = getattr(config.options, "id", None)
    return [given] if isinstance(given, str) else list(given or ())


def _check_id(config: IndexConfig, settings: Settings, schema: pl.Schema) -> None:
    """Raises ConfigError where a field of the id is in none of the first records: all would be rejected."""
    from headrace.core.registry import suggest
    from headrace.fields import located

    known = [name for name in schema if not name.startswith("_")]
    for name in _id_fields(config):
        if located(schema, name) is None:
            message = f"id {name!r} is no field of the first records and not declared, {suggest(name, known)}"
            raise settings.origin.blame(ConfigError(message, path=("indexes", config.name, "id")))


def _flag_notes(config: PipelineConfig, settings: Settings) -> Iterator[str]:
    flagged = config.when is not None or any(step.when is not None for step in config.steps)
    if flagged and settings.flags is not None and not settings.flags.exists():
        yield f"the flag file {settings.flags.name} is missing: every flag is off until it is there"


def delivery(guarantee: Guarantee, *, declared_id: bool) -> str:
    """How often a record ends in the index, in words (PROTOCOL 11)."""
    if not guarantee.replayable:
        return "at least once from the client, exactly once from there on: the source cannot be read again"
    if guarantee.stable_ids:
        return "exactly once"
    if declared_id:
        return "exactly once: a repeated record replaces itself, by the declared id"
    return (
        "at least once: the source may number records anew; declare `id` in the index to make it exactly once"
    )


def full_disk(settings: Settings) -> str:
    return (
        f"below {human(settings.disk_reserve)} free the pipeline pauses and says so; it goes on by itself "
        "when there is room; searches go on; nothing is lost"
    )


@contextmanager
def _inside(path: tuple[str | int, ...]) -> Iterator[None]:
    """Put `path` before that of an error without a place; say what a failing source means for `check`."""
    try:
        yield
    except ConfigError as error:
        raise error.inside(*path) from None
    except Retryable as error:
        raise ConfigError(f"cannot be reached now: {error}", path=path) from error
    except HeadraceError as error:
        raise ConfigError(str(error), path=path) from error


@contextmanager
def _noted(settings: Settings, problems: list[ConfigError], path: tuple[str | int, ...]) -> Iterator[None]:
    """Note a problem and go on with the next component; paths in it are whole or of options at `path`."""
    try:
        yield
    except ConfigError as error:
        whole = error.where or error.path[: len(path)] == path
        problems.append(settings.origin.blame(error if whole else error.inside(*path)))


def lines(report: Report) -> Iterator[str]:
    """The report for people."""
    yield f"{report.file}: {len(report.pipelines)} pipelines, no problems found"
    for pipeline in report.pipelines:
        steps = ", ".join(pipeline.steps) or "no steps"
        yield ""
        yield f"{pipeline.name}: {pipeline.source} → {steps} → {pipeline.index} ({pipeline.index_type})"
        yield f"  delivery        {pipeline.delivery}"
        yield f"  kill -9 loses   {pipeline.losses}"
        yield f"  full disk       {pipeline.full_disk}"
        yield from (f"  note            {note}" for note in pipeline.notes)
    yield ""
    yield f"memory: {human(report.worst_case)} at worst, of {human(report.limit)} allowed"
    yield from (f"  {human(part.bytes):>8}  {part.what}" for part in report.memory)
