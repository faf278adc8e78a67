"""Who asks: set by the door for each request, consulted where a name becomes an index.

No principal means that no keys are in use, or that no client asks (a background task): everything is
allowed then. The door lets nobody pass without one where keys are in use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

from headrace.core.errors import RequestError
from headrace.core.glob import any_matches, covers

T = TypeVar("T")

SECURITY: Final = "security_exception"

_BACKING: Final = re.compile(r"\.ds-(.+)-\d{4}\.\d{2}\.\d{2}-\d{6,}")


@dataclass(frozen=True, slots=True)
class Principal:
    """A key in use: its name, its scopes, and the patterns of the indexes it may use them on."""

    name: str
    scopes: frozenset[str]
    indexes: tuple[str, ...] = ("*",)

    def may_use(self, index: str) -> bool:
        """By the index's own name, never by an alias's: an alias can be pointed elsewhere by others.

        An index behind a data stream goes by the stream's name as well."""
        stream = _BACKING.fullmatch(index)
        names = (index,) if stream is None else (index, stream[1])
        return "*" in self.indexes or any(any_matches(self.indexes, name) for name in names)

    def may_use_all(self, pattern: str) -> bool:
        """Every index that a pattern stands for, those of the future too."""
        return any(covers(mine, pattern) for mine in self.indexes)


CURRENT: Final[ContextVar[Principal | None]] = ContextVar("headrace_principal", default=None)


def bound() -> Principal | None:
    """Who asks, where its key is bound to some indexes."""
    who = CURRENT.get()
    return None if who is None or "*" in who.indexes else who


def unbound(who: Principal, what: str) -> RequestError | None:
    """The refusal of what belongs to all indexes to a key that is bound to some."""
    if "*" in who.indexes:
        return None
    return refused(who, f"[{what}]", 'that takes indexes ["*"], its indexes are')


def refused(who: Principal, what: str, why: str) -> RequestError:
    """The refusal of something that the indexes of a key do not reach; they end the sentence."""
    reason = f"key [{who.name}] may not use {what}: {why} [{', '.join(who.indexes)}]"
    return RequestError(403, SECURITY, reason)


def in_use() -> bool:
    """Whether whoever asks is bound by a key."""
    return CURRENT.get() is not None


def allowed(index: str, scope: str | None = None) -> bool:
    """Whether whoever asks may use an index, for that scope where it is not the route's own."""
    who = CURRENT.get()
    return who is None or (who.may_use(index) and (scope is None or scope in who.scopes))


def require(index: str, scope: str | None = None) -> None:
    """Raises RequestError 403 naming what is missing."""
    if allowed(index, scope):
        return
    who = CURRENT.get()
    assert who is not None
    if not who.may_use(index):
        raise refused(who, f"index [{index}]", "its indexes are")
    raise lacking(who, {str(scope)})


def require_alias(alias: str) -> None:
    """Whether whoever asks may make or take away such a name. Raises RequestError 403."""
    _require_all("alias", alias, (alias,))


def require_patterns(what: str, name: str, patterns: Iterable[str]) -> None:
    """Whether what a template is for is within what whoever asks may use. Raises RequestError 403."""
    _require_all(what, name, patterns)


def within(patterns: Iterable[str]) -> bool:
    """Whether whoever asks may use every index that the patterns stand for."""
    who = CURRENT.get()
    return who is None or all(map(who.may_use_all, patterns))


def _require_all(noun: str, name: str, patterns: Iterable[str]) -> None:
    who = CURRENT.get()
    outside = [] if who is None else [each for each in patterns if not who.may_use_all(each)]
    if who is None or not outside:
        return
    raise refused(who, f"{noun} [{name}]", f"[{outside[0]}] is outside its indexes")


def lacking(who: Principal, scopes: Collection[str]) -> RequestError:
    needed, mine = " or ".join(sorted(scopes)), ", ".join(sorted(who.scopes))
    reason = f"key [{who.name}] lacks the scope [{needed}]: its scopes are [{mine}]"
    return RequestError(403, SECURITY, reason)


def require_named(
    expression: str, indexes: Collection[str], aliases: Mapping[str, Mapping[str, object]]
) -> None:
    """All indexes that an expression names outright, also under an alias. Raises RequestError 403.

    Wildcards name nothing outright: they are resolved among what is `visible`."""
    if CURRENT.get() is None:
        return
    for name in (part.strip() for part in expression.split(",")):
        if not name or "*" in name or name == "_all" or name.startswith("-"):
            continue
        for index in aliases[name] if name in aliases and name not in indexes else (name,):
            require(index)


def visible(places: Mapping[str, T]) -> Mapping[str, T]:
    """Of what is kept by the names of indexes, what whoever asks may see."""
    who = bound()
    if who is None:
        return places
    return {name: place for name, place in places.items() if who.may_use(name)}


def visible_aliases(aliases: Mapping[str, Mapping[str, T]]) -> Mapping[str, Mapping[str, T]]:
    """Aliases with the indexes that whoever asks may see; those without any are not there."""
    if bound() is None:
        return aliases
    seen = {alias: visible(indexes) for alias, indexes in aliases.items()}
    return {alias: indexes for alias, indexes in seen.items() if indexes}
