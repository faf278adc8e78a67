"""Whether a server may stand at its address without keys: only where nobody else can reach it."""

from __future__ import annotations

import ipaddress
from typing import Final

from headrace.core.errors import ConfigError

NAMES: Final = ("localhost", "localhost.localdomain", "ip6-localhost")


def is_loopback(host: str) -> bool:
    if host.lower() in NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def check_exposed(host: str, *, has_keys: bool, insecure: bool) -> None:
    """Raises ConfigError where everybody who reaches `host` could read, write and delete."""
    if has_keys or insecure or is_loopback(host):
        return
    raise ConfigError(
        f"the server would answer everybody who reaches {host}, without a key; listen on 127.0.0.1, or make "
        "a key (`headrace keys create NAME`, or `server.keys`), or say `insecure: true` under `server` where "
        "a door of your own stands before it",
        path=("server", "host"),
    )
