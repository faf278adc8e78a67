"""Which kinds of component there are: modules listed without being imported.

A kind is a module (or package) in `headrace.ingest`, `headrace.transform` or `headrace.index`; the kind in
the configuration *is* the module's name. Others plug in through an entry point of the group
`headrace.<role>`, whose value names a module. Such a module defines

- `Settings`: the type of the kind's options (a `msgspec.Struct` with `forbid_unknown_fields`, or any type
  msgspec can convert to), each option with a description (`msgspec.Meta`) and a bound where one exists,
- `create(settings, context)`: makes the component, without I/O,
- `examples`: a tuple of option values that work, for the documentation and the JSON Schema.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any

from headrace.core.errors import ConfigError

ROLES = ("ingest", "transform", "index")

NOT_KINDS = frozenset({"base", "formats", "query", "mapping", "sql"})
"""Modules beside the kinds that serve them all."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component, imported only when `load` is called."""

    role: str
    name: str
    module: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)

    @property
    def settings_type(self) -> Any:
        """The type of its options."""
        return self.load().Settings

    @property
    def create(self) -> Callable[[Any, Any], Any]:
        create: Callable[[Any, Any], Any] = self.load().create
        return create


@cache
def own(role: str) -> dict[str, Kind]:
    """Our kinds of a role by name; of two with the same name ours is taken."""
    package = importlib.import_module(f"headrace.{role}")
    return {
        module.name: Kind(role, module.name, f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in NOT_KINDS and not module.name.startswith("_")
    }


@cache
def kinds(role: str) -> dict[str, Kind]:
    """All kinds of a role by name, ours and third parties', none of them imported."""
    # Imported here: a look at all that is installed costs a start 30 ms, and most need none.
    from importlib.metadata import entry_points

    others = {
        point.name: Kind(role, point.name, point.value) for point in entry_points(group=f"headrace.{role}")
    }
    return dict(sorted((others | own(role)).items()))


def among(role: str, names: Collection[str]) -> dict[str, Kind]:
    """Where to look those names up: ours where that is enough, else all."""
    return own(role) if own(role).keys() >= set(names) else kinds(role)


def kind(role: str, name: str) -> Kind:
    """The kind called `name`; raises ConfigError with the nearest name if there is none."""
    known = among(role, [name])
    if name in known:
        return known[name]
    noun = {"ingest": "source", "transform": "transform", "index": "index"}[role]
    raise ConfigError(f"unknown {noun} type {name!r}, {suggest(name, list(known))}")


def suggest(name: str, known: list[str]) -> str:
    """«did you mean 'x'? (have: …)», or only what there is."""
    near = get_close_matches(name, known, n=1)
    have = f"have: {', '.join(sorted(known))}" if known else "there are none"
    return f"did you mean {near[0]!r}? ({have})" if near else have
