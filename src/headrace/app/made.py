"""Runs what the catalogue names: an owner and a push pipeline for each index made at run time.

The server writes the catalogue, this follows it: an entry that appears is run, one that is gone is stopped,
and the folders of dropped identities are deleted. What a catalogue does not name is never deleted.
"""

from __future__ import annotations

import logging
import shutil
from functools import partial

import anyio
import anyio.to_thread

from headrace.app.parts import Parts, make_index, make_source
from headrace.catalogue.entry import Catalogue, Made
from headrace.catalogue.store import Watcher
from headrace.core.errors import ConfigError, HeadraceError, StoreError
from headrace.core.health import State
from headrace.core.log import event
from headrace.core.registry import kind
from headrace.layout import catalogue_file, index_directory
from headrace.pipeline import capacities
from headrace.pipeline.supervise import PipelineKeeper, Supervisor
from headrace.settings import IndexConfig, PipelineConfig
from headrace.settings.convert import convert
from headrace.units import Size

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How soon a new index runs without being told; whoever waits for a write to it tells at once."""


class MadeIndexes:
    """The running side of the catalogue."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watcher = Watcher(catalogue_file(parts.settings.data_dir))
        self._running: dict[str, tuple[Made, PipelineKeeper]] = {}
        self._told = anyio.Event()
        self._looked = anyio.Event()
        self._first = self._watcher.changed()
        self._starting = True

    def feeding(self, index: str) -> list[PipelineConfig]:
        """The push pipelines that the catalogue gives a configured index."""
        made = self._first.indexes.get(index) if self._first is not None else None
        return [self._pipeline(made)] if made is not None and made.configured else []

    async def follow(self, supervisor: Supervisor) -> None:
        """Start and stop what the catalogue says, until told to stop; in a single pass, once."""
        if self._first is not None:
            await self._apply(self._first, supervisor)
        self._starting = False
        while not (supervisor.stopping or supervisor.once):
            looked, self._looked = self._looked, anyio.Event()
            try:
                changed = self._watcher.changed()
                if changed is not None:
                    await self._apply(changed, supervisor)
                self._parts.health.remove("catalogue")
            except StoreError as error:
                self._parts.health.set("catalogue", State.DEGRADED, str(error))
            looked.set()
            with anyio.move_on_after(LOOK_SECONDS):
                await self._next(supervisor)

    def keeper(self, uuid: str) -> PipelineKeeper | None:
        """What runs the pipeline of one entry."""
        found = self._running.get(uuid)
        return None if found is None else found[1]

    async def look(self) -> None:
        """Return when everything the catalogue says at this moment is done."""
        for _ in range(2):  # one look may be under way, and have read the file before
            self._told.set()
            await self._looked.wait()

    async def _next(self, supervisor: Supervisor) -> None:
        async with anyio.create_task_group() as either:

            async def told() -> None:
                await self._told.wait()
                self._told = anyio.Event()
                either.cancel_scope.cancel()

            async def stopped() -> None:
                await supervisor.stopped()
                either.cancel_scope.cancel()

            either.start_soon(told)
            either.start_soon(stopped)

    async def _apply(self, catalogue: Catalogue, supervisor: Supervisor) -> None:
        wanted = {made.uuid: made for made in catalogue.indexes.values()}
        for uuid in [uuid for uuid in self._running if uuid not in wanted]:
            made, keeper = self._running.pop(uuid)
            await supervisor.remove(keeper, with_owner=not made.configured)
            event(log.info, "index.dropped", index=made.name, uuid=uuid)
        for uuid in catalogue.dropped:
            folder = index_directory(self._parts.settings.data_dir, uuid)
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        for uuid in [uuid for uuid in wanted if uuid not in self._running]:
            try:
                self._start(wanted[uuid], supervisor)
            except HeadraceError as error:
                # One entry that cannot be run costs no other; it is tried again when the catalogue changes.
                name = wanted[uuid].name
                self._parts.health.set(f"index:{name}", State.FAILED, str(error))
                event(log.error, "index.failed", index=name, error=str(error))

    def _start(self, made: Made, supervisor: Supervisor) -> None:
        parts, settings = self._parts, self._parts.settings
        pipeline = self._pipeline(made)
        if made.configured:
            owner = supervisor.owners.get(made.name)
            if owner is None:
                raise ConfigError(
                    f"index {made.name!r} has pushed records, but the configuration has it no more"
                )
        else:
            options = convert(
                kind("index", made.kind).settings_type, made.options, ("catalogue", made.name), {}
            )
            config = IndexConfig(made.name, made.kind, options)
            index = make_index(config, settings, parts.clock, folder=made.uuid)
            owner = parts.owner(made.name, index, [pipeline])
        source = make_source(pipeline, settings, owner.index, parts.clock, once=supervisor.once)
        keeper = parts.keeper(pipeline, source, owner)
        supervisor.add(keeper)
        if not self._starting:
            # One more index does not take a service that is up out of rotation.
            parts.health.set(keeper.component, State.READY, "opening")
            parts.health.set(f"index:{made.name}", State.READY, "opening")
        self._running[made.uuid] = made, keeper
        event(log.info, "index.started", index=made.name, uuid=made.uuid)

    def _pipeline(self, made: Made) -> PipelineConfig:
        settings = self._parts.settings
        return PipelineConfig(
            name=made.pipeline,
            source_kind="http_push",
            source_options=kind("ingest", "http_push").settings_type(log=made.log, ack=made.ack),
            steps=(),
            index=made.name,
            commit_interval=settings.commit_interval,
            batch_bytes=Size(capacities.BATCH_BYTES),
            channel_records=settings.memory.channel_records,
            channel_bytes=settings.memory.channel_bytes,
            dead_letter_limit=capacities.DEAD_LETTER_LIMIT,
        )
