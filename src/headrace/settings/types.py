"""The types of the configuration: what a file may hold, and what the rest of the program is given.

`SettingsFile` and its parts describe the file (and make the JSON Schema and the documentation); `Settings`
is the result, in which every component's own options have the type its kind declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from headrace.core.errors import ConfigError
from headrace.pipeline import capacities
from headrace.settings.origin import Origin, Path_
from headrace.settings.server import ServerSettings, default
from headrace.units import Duration, Size

OnReject: TypeAlias = Literal["dead_letter", "drop", "fail"]

STEP_KEYS: Final = ("name", "on_reject", "when")
"""Reserved keys of a step, beside its kind."""

LATER_STEP_KEYS: Final = ("shadow",)
"""Reserved for shadow runs, which are not there yet."""


LEAST_BYTES: Final = 64_000
"""Smaller batches and channels would hold less than one common record, and stand still."""


class MemorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be held at once; `headrace check` adds it all up."""

    limit: Annotated[
        Size,
        Meta(description="Worst case of what the process holds; `headrace check` and `run` refuse more."),
    ] = default(Size("1GB"))
    in_flight: Annotated[
        Size, Meta(description="Bytes read and not yet committed or refused, over all pipelines together.")
    ] = default(Size("128MB"))
    live: Annotated[
        Size,
        Meta(description="Files that indexes keep in memory before they are settled on disk, all together."),
    ] = default(Size(capacities.LIVE_BYTES))
    channel_records: Annotated[
        int, Meta(description="Records that wait between two stages of a pipeline.", ge=1)
    ] = capacities.RAW_CHANNEL_RECORDS
    channel_bytes: Annotated[Size, Meta(description="Bytes that wait between two stages of a pipeline.")] = (
        default(Size(capacities.RAW_CHANNEL_BYTES))
    )

    def __post_init__(self) -> None:
        _check_sizes(self, "limit", "in_flight", "channel_bytes")


class BufferSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is accepted over HTTP and not yet durable in its index waits on disk, within these bounds."""

    max_bytes: Annotated[
        Size, Meta(description="Bytes on disk, all logs together; beyond it requests are answered 429.")
    ] = default(Size("4GB"))
    log_bytes: Annotated[
        Size | None, Meta(description="The same for each log (pipeline or index); `max_bytes` if not given.")
    ] = None
    max_age: Annotated[
        Duration | None,
        Meta(description="While a log holds records older than this, requests to it are answered 429."),
    ] = None
    file_bytes: Annotated[
        Size, Meta(description="Size of one file of the chain; a file is deleted whole, once all read it.")
    ] = default(Size("256MB"))


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, always on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe level that is written.")
    ] = "info"
    style: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="`json` for machines, `text` for people, `auto`: text on a terminal."),
    ] = "auto"


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Under which flag a step runs, and what a percentage splits by."""

    flag: Annotated[str, Meta(description="Name of a flag in the flag file.", min_length=1)]
    key: Annotated[
        str | Annotated[list[str], Meta(min_length=1)] | None,
        Meta(
            description="Field or fields whose value a percentage splits by; the index's `id` if not given."
        ),
    ] = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields to split by; empty: those of the index's id."""
        if self.key is None:
            return ()
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)


FlagName: TypeAlias = Annotated[str, Meta(min_length=1)]


class PipelineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pipeline as written: a source, steps, an index."""

    source: Annotated[
        dict[str, Any], Meta(description="Where records come from: `type` and that kind's options.")
    ]
    transform: Annotated[
        list[dict[str, Any]], Meta(description="Steps in order, each one kind with its options.")
    ] = []
    index: Annotated[str, Meta(description="Name of the index, one of `indexes`.")]
    when: Annotated[
        FlagName | None, Meta(description="Flag under which the pipeline reads; it pauses while that is off.")
    ] = None
    commit_interval: Annotated[
        Duration | None, Meta(description="Longest time between two commits; the top level's if not given.")
    ] = None
    batch_bytes: Annotated[
        Size, Meta(description="How large a batch becomes when there is enough to read.")
    ] = default(Size(capacities.BATCH_BYTES))
    channel_records: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="`memory.channel_records` for this pipeline."),
    ] = None
    channel_bytes: Annotated[Size | None, Meta(description="`memory.channel_bytes` for this pipeline.")] = (
        None
    )
    dead_letter_limit: Annotated[
        int, Meta(description="Dead letters kept; when they are full the pipeline pauses.", ge=0)
    ] = capacities.DEAD_LETTER_LIMIT

    def __post_init__(self) -> None:
        _check_sizes(self, "batch_bytes", "channel_bytes")


def _check_sizes(given: msgspec.Struct, *names: str) -> None:
    for name in names:
        size = getattr(given, name)
        if size is not None and size < LEAST_BYTES:
            raise ConfigError(f"expected at least {Size(LEAST_BYTES)}, got {size}", path=(name,))


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file."""

    data_dir: Annotated[
        Path, Meta(description="Folder of indexes and state, relative to this file; made if it is missing.")
    ] = default(Path("data"))
    server: Annotated[ServerSettings, Meta(description="Where HTTP is answered.")] = ServerSettings()
    memory: Annotated[MemorySettings, Meta(description="How much may be held at once.")] = default(
        MemorySettings()
    )
    buffer: Annotated[BufferSettings, Meta(description="The durable buffer of pushes.")] = default(
        BufferSettings()
    )
    disk_reserve: Annotated[
        Size, Meta(description="Free space of the disk of `data_dir` below which intake pauses.")
    ] = default(Size("256MB"))
    drain_timeout: Annotated[
        Duration, Meta(description="Time to finish what is in flight when told to stop.")
    ] = default(Duration("30s"))
    commit_interval: Annotated[
        Duration, Meta(description="Longest time between two commits, unless a pipeline says otherwise.")
    ] = default(Duration("1s"))
    log: Annotated[LogSettings, Meta(description="What is logged.")] = LogSettings()
    flags: Annotated[
        Path | None, Meta(description="Feature flags: a file in flagd's format, read again when it changes.")
    ] = None
    indexes: Annotated[
        dict[str, dict[str, Any]], Meta(description="Indexes by name: `type` and that kind's options.")
    ] = {}
    pipelines: Annotated[dict[str, PipelineFile], Meta(description="Pipelines by name.")] = {}


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """One index; `options` is the `Settings` of its kind."""

    name: str
    kind: str
    options: Any

    @property
    def is_live(self) -> bool:
        """Whether it may work in memory, and so needs a settler."""
        return getattr(self.options, "live", "never") != "never"


@dataclass(frozen=True, slots=True)
class StepConfig:
    """One step; `options` is the `Settings` of its kind; `name` is unique within its pipeline."""

    kind: str
    name: str
    options: Any
    on_reject: OnReject = "dead_letter"
    when: When | None = None


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One pipeline with everything it inherits from the top level filled in.

    commit_interval: seconds; batch_bytes, channel_bytes: bytes; dead_letter_limit: records
    """

    name: str
    source_kind: str
    source_options: Any
    steps: tuple[StepConfig, ...]
    index: str
    commit_interval: Duration
    batch_bytes: Size
    channel_records: int
    channel_bytes: Size
    dead_letter_limit: int
    when: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Equal settings come from equal configurations, whatever their format.

    data_dir and flags are absolute; `base` is the folder that relative paths in options start from.
    """

    data_dir: Path
    base: Path
    server: ServerSettings = field(default_factory=ServerSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    buffer: BufferSettings = field(default_factory=BufferSettings)
    disk_reserve: Size = Size("256MB")  # noqa: RUF009  immutable
    drain_timeout: Duration = Duration("30s")  # noqa: RUF009  immutable
    commit_interval: Duration = Duration("1s")  # noqa: RUF009  immutable
    log: LogSettings = field(default_factory=LogSettings)
    flags: Path | None = None
    indexes: dict[str, IndexConfig] = field(default_factory=dict)
    pipelines: dict[str, PipelineConfig] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, compare=False, repr=False)

    @property
    def source_file(self) -> Path | None:
        """The file it was read from; None for text and for settings made in Python."""
        return self.origin.file

    def locate(self, path: Path_) -> str:
        """`flights.yaml:14` for ("pipelines", "flights", "source"); the file alone without lines."""
        return self.origin.locate(path)
