"""Runs what the catalogue names: an owner and a push pipeline for each index made at run time.

The server writes the catalogue, this follows it: an entry that appears is run, one that is gone is stopped,
and the folders of dropped identities are deleted. What a catalogue does not name is never deleted.
"""

from __future__ import annotations

import logging
import math
import shutil
from functools import partial

import anyio
import anyio.to_thread

from headrace.app.parts import Parts, make_index, make_source
from headrace.app.regenerate import Regeneration
from headrace.catalogue.entry import Catalogue, Made
from headrace.catalogue.store import Watcher
from headrace.core.errors import ConfigError, Fatal, HeadraceError, StoreError
from headrace.core.health import State
from headrace.core.log import event
from headrace.core.registry import kind
from headrace.core.together import first_of
from headrace.layout import catalogue_file, index_directory
from headrace.model import Position
from headrace.pipeline import capacities
from headrace.pipeline.supervise import PipelineKeeper, Supervisor
from headrace.settings import IndexConfig, PipelineConfig
from headrace.settings.convert import convert
from headrace.units import Size

log = logging.getLogger(__name__)

DECIDE_SECONDS = 10.0
"""A server that was killed decides nothing: the old generation goes on."""

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
        self._wanted: dict[str, Made] = {}
        self._failed: dict[str, Made] = {}
        self._paused: dict[str, float] = {}

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
                elif self._paused:
                    self._start_all(supervisor)
                self._parts.health.remove("catalogue")
            except StoreError as error:
                self._parts.health.set("catalogue", State.DEGRADED, str(error))
            looked.set()
            with anyio.move_on_after(LOOK_SECONDS):
                await first_of([self._told.wait, supervisor.stopped])
            if self._told.is_set():
                self._told = anyio.Event()

    def keeper(self, uuid: str) -> PipelineKeeper | None:
        """What runs the pipeline of one entry."""
        found = self._running.get(uuid)
        return None if found is None else found[1]

    async def settled(self, uuid: str) -> None:
        """Wait until it is decided which generation of an index is run."""
        while uuid in self._paused:
            await self._looked.wait()

    async def look(self) -> None:
        """Return when everything the catalogue says at this moment is done."""
        for _ in range(2):  # one look may be under way, and have read the file before
            self._told.set()
            await self._looked.wait()

    async def regenerate(self, uuid: str, supervisor: Supervisor) -> None:
        """Make the generation that the catalogue says is `building`; on return the old one is paused.

        Then the catalogue decides which of them is run; the old one goes on if it says nothing in time.
        Raises Fatal: nothing was changed."""
        found = self._running.get(uuid)
        building = None if found is None else found[0].building
        if found is None or building is None:
            raise Fatal("the catalogue has no such index, or nothing is being made for it")
        made, keeper = found

        async def pause() -> Position:
            self._paused[uuid] = math.inf
            del self._running[uuid]
            await supervisor.remove(keeper, with_owner=True)
            return next(iter(keeper.owner.positions(made.pipeline).values()), Position(0))

        try:
            await Regeneration(self._parts, made, building, self._pipeline(made)).run(keeper.owner, pause)
        except BaseException:
            self._paused.pop(uuid, None)
            raise
        self._paused[uuid] = self._parts.clock.monotonic() + DECIDE_SECONDS
        event(log.info, "index.regenerated", index=made.name, uuid=uuid, generation=building.generation)

    async def _apply(self, catalogue: Catalogue, supervisor: Supervisor) -> None:
        wanted = {made.uuid: made for made in catalogue.indexes.values()}
        for uuid, (made, keeper) in list(self._running.items()):
            now = wanted.get(uuid)
            if now is not None and now.folder == made.folder:
                self._running[uuid] = now, keeper
                continue
            del self._running[uuid]
            await supervisor.remove(keeper, with_owner=not made.configured)
            event(log.info, "index.dropped", index=made.name, folder=made.folder)
        for name in catalogue.dropped:
            folder = index_directory(self._parts.settings.data_dir, name)
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        self._wanted = wanted
        self._start_all(supervisor)

    def _start_all(self, supervisor: Supervisor) -> None:
        """Run what is wanted and does not run; not what is paused until the catalogue has decided."""
        for uuid, made in self._wanted.items():
            until = self._paused.get(uuid)
            if until is not None and made.building is not None and self._parts.clock.monotonic() < until:
                continue
            self._paused.pop(uuid, None)
            if uuid in self._running or self._failed.get(uuid) == made:
                continue
            try:
                self._start(made, supervisor)
            except HeadraceError as error:
                # One entry that cannot be run costs no other; it is tried again when it changes.
                self._failed[uuid] = made
                self._parts.health.set(f"index:{made.name}", State.FAILED, str(error))
                event(log.error, "index.failed", index=made.name, error=str(error))

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
            index = make_index(config, settings, parts.clock, made.folder, settled=parts.settled)
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
