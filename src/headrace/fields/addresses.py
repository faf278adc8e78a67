"""Textual addresses as the index's engine reads them: no zone, no leading zero."""

from __future__ import annotations

from typing import Final

_OCTET: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"({_OCTET}\.){{3}}{_OCTET}"
_GROUP: Final = "[0-9a-fA-F]{1,4}"


def _ipv6() -> str:
    """RFC 4291 §2.2, `::` in each place it can stand, the last 32 bits also as IPv4."""
    tail = f"({_GROUP}:{_GROUP}|{_IPV4})"
    forms = [f"({_GROUP}:){{6}}{tail}"]
    for before in range(7):
        left = f"({_GROUP}(:{_GROUP}){{0,{before - 1}}})?" if before else ""
        after = 5 - before
        right = f"({_GROUP}:){{{after}}}{tail}" if after >= 0 else (_GROUP if after == -1 else "")
        forms.append(f"{left}::{right}")
    forms.append(f"({_GROUP}(:{_GROUP}){{0,6}})?::")
    return "|".join(f"({form})" for form in forms)


IPV4: Final = f"^{_IPV4}$"
IPV6: Final = f"^({_ipv6()})$"
IP: Final = f"^({_IPV4}|{_ipv6()})$"
