"""Configuration file → Settings; finds all independent problems and reports them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from headrace.core.errors import ConfigError
from headrace.core.registry import among, kind, kinds, suggest
from headrace.fields import parse_field
from headrace.settings import names
from headrace.settings.convert import convert
from headrace.settings.documents import Document, ParseError, parse
from headrace.settings.origin import Origin, Path_, SettingsError
from headrace.settings.references import holds_reference, is_one_reference, resolve
from headrace.settings.scalars import Scalar, read_scalar
from headrace.settings.types import (
    LATER_STEP_KEYS,
    STEP_KEYS,
    FlagName,
    IndexConfig,
    OnReject,
    PipelineConfig,
    PipelineFile,
    Settings,
    SettingsFile,
    StepConfig,
    When,
)

T = TypeVar("T")

FORMATS: Final = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a file. Raises SettingsError (a ConfigError) with every problem found.

    environ: what `${VAR}` refers to, the process's environment if not given
    """
    path = Path(path)
    style = FORMATS.get(path.suffix.lower())
    if style is None:
        raise ConfigError(f"unknown configuration format of {path}, name it {', '.join(FORMATS)}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: byte {error.start} is not UTF-8") from None
    file = path.absolute()
    return _Loading(Origin(str(path), file), file.parent, environ).settings(text, style)


def loads(
    text: str, style: str = "yaml", *, base: Path | str = ".", environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings of a text in `yaml`, `toml` or `json`; relative paths start from `base`."""
    return _Loading(Origin("<text>"), Path(base).absolute(), environ).settings(text, style)


class _Noting:
    """Adds ConfigErrors raised inside to a list, with `path` before theirs, and swallows them."""

    def __init__(self, problems: list[ConfigError], path: Path_) -> None:
        self.problems = problems
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, SettingsError):  # its paths are whole
            self.problems.extend(error.problems)
        elif isinstance(error, ConfigError):
            self.problems.append(error.inside(*self.path))
        return error is None or isinstance(error, ConfigError)


class _Loading:
    """One file on its way to settings, with the problems found so far."""

    def __init__(self, origin: Origin, base: Path, environ: Mapping[str, str] | None) -> None:
        self.origin = origin
        self.base = base
        self.environ = os.environ if environ is None else environ
        self.problems: list[ConfigError] = []
        self.unresolved: set[Path_] = set()
        self.others: dict[Path_, Scalar] = {}

    def settings(self, text: str, style: str) -> Settings:
        document = self.parse(text, style)
        tree = self.resolved(document.tree, document.quoted, ())
        if not isinstance(tree, Mapping):
            raise ConfigError("expected a mapping with 'indexes' and 'pipelines'", where=self.origin.name)
        file = self.try_(lambda: self.convert(SettingsFile, tree, ()))
        indexes = self.named(tree, "indexes", self.index)
        pipelines = self.named(tree, "pipelines", lambda path, raw: self.pipeline(path, raw, tree, file))
        if self.problems or file is None:
            raise self.error()
        return Settings(
            data_dir=self.base / file.data_dir,
            base=self.base,
            server=file.server.located(self.base),
            memory=file.memory,
            buffer=file.buffer,
            disk_reserve=file.disk_reserve,
            drain_timeout=file.drain_timeout,
            commit_interval=file.commit_interval,
            log=file.log,
            flags=None if file.flags is None else self.base / file.flags,
            indexes=indexes,
            pipelines=pipelines,
            origin=self.origin,
        )

    def parse(self, text: str, style: str) -> Document:
        try:
            document = parse(text, style)
        except ParseError as error:
            error.where = f"{self.origin.name}:{error.line}" if error.line else self.origin.name
            raise SettingsError([error]) from None
        self.origin = Origin(self.origin.name, self.origin.file, document.lines)
        return document

    # References

    def resolved(self, value: Any, quoted: set[Path_], path: Path_) -> Any:
        """The tree with the references in its values replaced."""
        if isinstance(value, dict):
            return {key: self.resolved(inner, quoted, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolved(inner, quoted, (*path, at)) for at, inner in enumerate(value)]
        if isinstance(value, str) and holds_reference(value):
            return self.resolved_text(value, path, plain=path not in quoted)
        return value

    def resolved_text(self, text: str, path: Path_, *, plain: bool) -> Any:
        try:
            given = resolve(text, self.environ, self.base)
        except ConfigError as error:
            self.problems.append(error.inside(*path))
            self.unresolved.add(path)
            return text
        value = read_scalar(given) if is_one_reference(text) else given
        if value is None or value == given:  # a null could unset what the file's author meant to be set
            return given
        first, second = (value, given) if plain else (given, value)
        self.others[path] = second
        return first

    # Components

    def named(
        self, tree: Mapping[str, Any], key: str, make: Callable[[Path_, Any], T | None]
    ) -> dict[str, T]:
        """What is made of each entry of a mapping; one that fails leaves the others to be looked at."""
        entries = tree.get(key)
        if not isinstance(entries, Mapping):
            return {}
        made: dict[str, T] = {}
        for name, raw in entries.items():
            with self.at(()):
                value = make((key, name), raw) if isinstance(raw, Mapping) else None
                if value is not None:
                    made[name] = value
        return made

    def index(self, path: Path_, raw: Mapping[str, Any]) -> IndexConfig | None:
        name = str(path[-1])
        with self.at(path):
            names.check_index_name(name)
        found = self.component("index", raw, path)
        self.fields(raw.get("fields"), (*path, "fields"))
        return IndexConfig(name, *found) if found else None

    def fields(self, raw: Any, path: Path_) -> None:
        if isinstance(raw, Mapping) and not any(p.path[: len(path)] == path for p in self.problems):
            for name, declared in raw.items():
                with self.at((*path, name)):
                    parse_field(declared)

    def component(self, role: str, raw: Mapping[str, Any], path: Path_) -> tuple[str, Any] | None:
        """(kind, options) of a mapping with `type:`."""
        given = raw.get("type")
        if not isinstance(given, str):
            message = f"'type' is missing, {suggest('', list(kinds(role)))}"
            self.problems.append(ConfigError(message, path=path))
            return None
        rest = {key: value for key, value in raw.items() if key != "type"}
        with self.at((*path, "type")):
            wanted = self.options_type(role, given)
            options = self.try_(lambda: self.convert(wanted, rest, path))
            return None if options is None else (given, options)
        return None

    def options_type(self, role: str, name: str) -> Any:
        try:
            return kind(role, name).settings_type
        except ImportError as error:
            raise ConfigError(f"{name!r} cannot be used: {error}; is its extra installed?") from error
        except AttributeError as error:
            raise ConfigError(f"{name!r} is not a component: {error}") from error

    def pipeline(
        self, path: Path_, raw: Mapping[str, Any], tree: Mapping[str, Any], file: SettingsFile | None
    ) -> PipelineConfig | None:
        name = str(path[-1])
        with self.at(path):
            names.check_pipeline_name(name)
        source = raw.get("source")
        found = self.component("ingest", source, (*path, "source")) if isinstance(source, Mapping) else None
        steps = self.steps(raw.get("transform"), (*path, "transform"))
        self.known_index(raw.get("index"), tree.get("indexes"), (*path, "index"))
        self.flag_file(raw, tree, path)
        if found is None or file is None:
            return None
        return _pipeline(name, found, steps, file.pipelines[name], file)

    def known_index(self, name: Any, indexes: Any, path: Path_) -> None:
        known = list(indexes) if isinstance(indexes, Mapping) else []
        if isinstance(name, str) and name not in known and path not in self.unresolved:
            self.problems.append(ConfigError(f"unknown index {name!r}, {suggest(name, known)}", path=path))

    def steps(self, raw: Any, path: Path_) -> tuple[StepConfig, ...]:
        made: list[StepConfig] = []
        for at, step in enumerate(raw if isinstance(raw, list) else []):
            if isinstance(step, Mapping):
                with self.at(()):
                    made.extend(self.step(step, (*path, at), made))
        return tuple(made)

    def step(self, raw: Mapping[str, Any], path: Path_, before: list[StepConfig]) -> Iterator[StepConfig]:
        """The step, if it can be made."""
        chosen = self.step_kind(raw, path)
        if chosen is None:
            return
        taken = {step.name for step in before}
        name = self.step_name(raw.get("name"), chosen, taken, (*path, "name"))
        on_reject = self.convert(OnReject, raw.get("on_reject", "dead_letter"), (*path, "on_reject"))
        with self.at((*path, chosen)):
            wanted = self.options_type("transform", chosen)
            options = self.convert(wanted, raw[chosen], (*path, chosen))
            yield StepConfig(chosen, name, options, on_reject, self.when(raw.get("when"), (*path, "when")))

    def when(self, raw: Any, path: Path_) -> When | None:
        """`when: FLAG`, or `when: {flag: FLAG, key: FIELD}`."""
        if raw is None or isinstance(raw, Mapping):
            given: When | None = self.convert(When | None, raw, path)
            return given
        return When(flag=self.convert(FlagName, raw, path))

    def flag_file(self, raw: Mapping[str, Any], tree: Mapping[str, Any], path: Path_) -> None:
        """A flag needs a file that says what it is."""
        if tree.get("flags") is not None:
            return
        given = raw.get("transform")
        steps: list[Any] = given if isinstance(given, list) else []
        places = [(path, raw), *(((*path, "transform", at), step) for at, step in enumerate(steps))]
        for place, holder in places:
            if isinstance(holder, Mapping) and "when" in holder:
                message = "'when' needs a flag file: say `flags: FILE` at the top of the configuration"
                self.problems.append(ConfigError(message, path=(*place, "when")))

    def step_kind(self, raw: Mapping[str, Any], path: Path_) -> str | None:
        """The one key that is a kind; says what is wrong with the others."""
        for key in LATER_STEP_KEYS:
            if key in raw:
                message = f"{key!r} is reserved for a later version of Headrace; leave it out for now"
                self.problems.append(ConfigError(message, path=(*path, key)))
        keys = [key for key in raw if key not in STEP_KEYS + LATER_STEP_KEYS]
        known = list(among("transform", keys))
        chosen = [key for key in keys if key in known]
        for key in keys:
            if key not in known:
                have = known if not chosen else [*STEP_KEYS]
                what = "key of a step" if chosen else "transform"
                message = f"unknown {what} {key!r}, {suggest(key, have)}"
                self.problems.append(ConfigError(message, path=(*path, key)))
        if len(chosen) == 1:
            return chosen[0]
        if chosen or not keys:
            found = f"found {' and '.join(chosen)}: make each its own step" if chosen else "found none"
            self.problems.append(ConfigError(f"a step has exactly one kind, {found}", path=path))
        return None

    def step_name(self, given: Any, chosen: str, taken: set[str], path: Path_) -> str:
        if given is None:
            numbered = (f"{chosen}_{n}" if n > 1 else chosen for n in range(1, len(taken) + 2))
            return next(name for name in numbered if name not in taken)
        name = str(self.convert(str, given, path))
        if not name or name in taken:
            raise ConfigError(f"{name!r} is the name of another step, or empty", path=path)
        return name

    # Problems

    def convert(self, wanted: Any, value: Any, path: Path_) -> Any:
        return convert(wanted, value, path, self.others)

    def try_(self, make: Callable[[], T]) -> T | None:
        """What is made, or None and its problems noted."""
        with self.at(()):
            return make()
        return None

    def at(self, path: Path_) -> _Noting:
        """Note the problems raised inside, and go on."""
        return _Noting(self.problems, path)

    def error(self) -> SettingsError:
        unique = {(problem.path, problem.message): self.origin.blame(problem) for problem in self.problems}
        return SettingsError(sorted(unique.values(), key=lambda p: self.origin.line(p.path) or 0))


def _pipeline(
    name: str, source: tuple[str, Any], steps: tuple[StepConfig, ...], raw: PipelineFile, file: SettingsFile
) -> PipelineConfig:
    return PipelineConfig(
        name=name,
        source_kind=source[0],
        source_options=source[1],
        steps=steps,
        index=raw.index,
        commit_interval=file.commit_interval if raw.commit_interval is None else raw.commit_interval,
        batch_bytes=raw.batch_bytes,
        channel_records=raw.channel_records or file.memory.channel_records,
        channel_bytes=raw.channel_bytes or file.memory.channel_bytes,
        dead_letter_limit=raw.dead_letter_limit,
        when=raw.when,
    )
