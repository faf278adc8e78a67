"""Changes of the catalogue as pure functions: what may be, and what becomes of aliases when an index goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from headrace.catalogue.entry import Alias, Building, Catalogue, Made
from headrace.core.errors import RequestError
from headrace.layout import index_directory
from headrace.serve.index_names import check_alias_name, refuse_alias_name, refuse_index_name

DROPPED_KEPT: Final = 100
"""Newest dropped identities that are remembered whether or not their folder is still there."""


class IndexExists(RequestError):
    """The name is taken; `index` and `uuid` say by what."""

    def __init__(self, index: str, uuid: str) -> None:
        reason = f"index [{index}/{uuid}] already exists"
        super().__init__(400, "resource_already_exists_exception", reason)
        self.index = index
        self.uuid = uuid


def with_index(
    catalogue: Catalogue, made: Made, aliases: Mapping[str, Alias], known: Collection[str]
) -> Catalogue:
    """A new entry under a free name; `known` are all index names there are. Raises RequestError."""
    if made.name in catalogue.indexes:
        before = catalogue.indexes[made.name]
        if before.configured and not made.configured and made.name not in known:
            refuse_index_name(
                made.name,
                "it was in the configuration and has pushed records of that time; "
                "put it back there, or DELETE it first",
            )
        raise IndexExists(made.name, before.uuid)
    if made.name in catalogue.aliases and not made.configured:
        refuse_index_name(made.name, "already exists as alias")
    grown = replace(catalogue, indexes={**catalogue.indexes, made.name: made})
    for name, alias in aliases.items():
        grown = with_alias(grown, name, made.name, alias, {*known, made.name})
    check_write_indexes(grown)
    return grown


def without_indexes(catalogue: Catalogue, names: Collection[str], data_dir: Path) -> Catalogue:
    """Without these entries and their part in aliases; their folders are named for deletion."""
    gone = [catalogue.indexes[name] for name in names if name in catalogue.indexes]
    folders = [folder for made in gone if not made.configured for folder in made.folders]
    aliases = {
        alias: {index: what for index, what in indexes.items() if index not in names}
        for alias, indexes in catalogue.aliases.items()
    }
    return replace(
        catalogue,
        indexes={name: made for name, made in catalogue.indexes.items() if name not in names},
        aliases={alias: indexes for alias, indexes in aliases.items() if indexes},
        dropped=dropped(catalogue, folders, data_dir),
    )


def dropped(catalogue: Catalogue, folders: Sequence[str], data_dir: Path) -> list[str]:
    """What is to be deleted, with these folders: all that is still there, and the newest ones anyway."""
    names = [*catalogue.dropped, *folders]
    old = [name for name in names[:-DROPPED_KEPT] if index_directory(data_dir, name).exists()]
    return [*old, *names[-DROPPED_KEPT:]]


def with_entry(catalogue: Catalogue, name: str, **changes: Any) -> Catalogue:
    """An entry changed; one that is gone by now stays gone."""
    if name not in catalogue.indexes:
        return catalogue
    made = replace(catalogue.indexes[name], **changes)
    return replace(catalogue, indexes={**catalogue.indexes, name: made})


def with_building(catalogue: Catalogue, name: str, building: Building) -> Catalogue:
    """A generation is begun. Raises RequestError where one is under way, or the index is gone."""
    made = catalogue.indexes.get(name)
    if made is None:
        raise RequestError(404, "index_not_found_exception", f"no such index [{name}]")
    if made.building is not None:
        reason = f"a generation of [{name}] is being made already; wait for it"
        raise RequestError(409, "resource_already_exists_exception", reason)
    return with_entry(catalogue, name, building=building)


def decided(catalogue: Catalogue, uuid: str, *, taken: bool, data_dir: Path) -> Catalogue:
    """The generation that was made is the index now; or it is given up. The other's folder is dropped."""
    found = [made for made in catalogue.indexes.values() if made.uuid == uuid and made.building is not None]
    if not found:
        return catalogue
    [made] = found
    assert made.building is not None
    old, new = made.folders
    changes: dict[str, Any] = {"building": None}
    if taken:
        changes |= {"generation": made.building.generation, "options": made.building.options}
    dropping = replace(catalogue, dropped=dropped(catalogue, [old if taken else new], data_dir))
    return with_entry(dropping, made.name, **changes)


def without_unfinished(catalogue: Catalogue, data_dir: Path) -> Catalogue:
    """Every generation that was being made given up."""
    for made in list(catalogue.indexes.values()):
        catalogue = decided(catalogue, made.uuid, taken=False, data_dir=data_dir)
    return catalogue


def with_alias(
    catalogue: Catalogue, alias: str, index: str, what: Alias, known: Collection[str]
) -> Catalogue:
    """One index more under an alias, or what it is there replaced. Raises RequestError."""
    if alias in known:
        refuse_alias_name(alias, "an index or data stream exists with the same name as the alias")
    check_alias_name(alias)
    indexes = {**catalogue.aliases.get(alias, {}), index: what}
    return replace(catalogue, aliases={**catalogue.aliases, alias: indexes})


def without_alias(catalogue: Catalogue, alias: str, index: str) -> Catalogue:
    indexes = {name: what for name, what in catalogue.aliases.get(alias, {}).items() if name != index}
    others = {name: kept for name, kept in catalogue.aliases.items() if name != alias}
    return replace(catalogue, aliases={**others, alias: indexes} if indexes else others)


def check_write_indexes(catalogue: Catalogue) -> None:
    """At most one index of an alias takes its writes. Raises RequestError."""
    for alias, indexes in catalogue.aliases.items():
        writing = sorted(name for name, what in indexes.items() if what.is_write_index)
        if len(writing) > 1:
            reason = f"alias [{alias}] has more than one write index [{','.join(writing)}]"
            raise RequestError(400, "illegal_argument_exception", reason)
