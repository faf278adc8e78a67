"""What indexes are made from at their first write: kept as clients gave it, and shown again to them."""

from __future__ import annotations

from typing import Any

import msgspec


class Stream(msgspec.Struct, frozen=True, omit_defaults=True):
    """A data stream: an alias of its backing indexes, the newest of which takes the writes.

    template:   the template it was made by
    generation: how many backing indexes there ever were
    indexes:    those it was given, the oldest first; one that was deleted since is in no index list
    """

    template: str
    generation: int
    indexes: list[str]


class Templates(msgspec.Struct, frozen=True, omit_defaults=True):
    """index: by name, as `PUT /_index_template/NAME` has them; component, legacy: likewise
    policies: lifecycle policies, which are shown again and not carried out
    """

    index: dict[str, dict[str, Any]] = {}
    component: dict[str, dict[str, Any]] = {}
    legacy: dict[str, dict[str, Any]] = {}
    policies: dict[str, dict[str, Any]] = {}
