"""Reading the options of a query: each is known, of its type and within its bounds, or a 400 that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from headrace.core.errors import RequestError
from headrace.core.registry import suggest
from headrace.index.query import tree
from headrace.index.query.tree import Node

COMMON: Final = frozenset({"boost", "_name"})
_CONSTANT: Final = (None, "constant_score", "constant_score_boolean", "constant_score_blended")


def bad(reason: str, kind: str = "parsing_exception") -> NoReturn:
    raise RequestError(400, kind, reason)


def found(value: object) -> str:
    """What was given, for a message."""
    if isinstance(value, Mapping):
        return f"the keys [{', '.join(map(str, value))}]"
    return f"[{value}]"


def known_options(kind: str, body: Any, allowed: str) -> dict[str, Any]:
    """The body's options, all of them known."""
    if not isinstance(body, Mapping):
        bad(f"[{kind}] query: expected an object, found {found(body)}")
    known = COMMON | set(allowed.split())
    for name in body:
        if name not in known:
            bad(f"[{kind}] query does not support [{name}]; {suggest(str(name), sorted(known))}")
    return dict(body)


def one_field(kind: str, body: Any, short: str, allowed: str) -> tuple[str, dict[str, Any]]:
    """`{field: value}` or `{field: {short: value, …}}`."""
    if not isinstance(body, Mapping):
        bad(f"[{kind}] query: expected an object with a field, found {found(body)}")
    names = [name for name in body if name not in COMMON] or list(body)
    if len(names) != 1:
        bad(f"[{kind}] query takes exactly one field, found {found(body)}")
    value = body[names[0]]
    given = {name: body[name] for name in body if name in COMMON and name != names[0]}
    options = (
        known_options(kind, value, f"{short} {allowed}") if isinstance(value, Mapping) else {short: value}
    )
    if options.get(short) is None:
        bad(f"[{kind}] query on [{names[0]}] has no [{short}]")
    return names[0], given | options


def scalar(kind: str, field: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        bad(f"[{kind}] query on [{field}] takes one value, found {type(value).__name__}")
    return value


def number(value: Any, what: str, *, least: float | None = None) -> float:
    """An option's number. Raises RequestError."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            bad(f"[{what}] must be a number, found [{value}]")
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        bad(f"[{what}] must be a number, found [{value}]")
    if least is not None and value < least:
        bad(f"[{what}] must be at least {least:g}, found [{value}]", "illegal_argument_exception")
    return float(value)


def whole(options: Mapping[str, Any], name: str, default: int, *, least: int = 0) -> int:
    """An option's whole number. Raises RequestError."""
    value = number(options.get(name, default), name, least=least)
    if not value.is_integer():
        bad(f"[{name}] must be a whole number, found [{options[name]}]")
    return int(value)


def only(kind: str, name: str, options: Mapping[str, Any], value: Any) -> None:
    """Refuses an option that is known, but has only one value here."""
    if options.get(name, value) not in (value, str(value).lower()):
        bad(f"[{kind}] query supports [{name}] only as [{str(value).lower()}]")


def flag(options: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = options.get(name, default)
    if isinstance(value, bool) or value in ("true", "false"):
        return value in (True, "true")
    bad(f"[{name}] must be true or false, found [{value}]")


def boosted(node: Node, options: Mapping[str, Any]) -> Node:
    factor = number(options.get("boost", 1.0), "boost", least=0)
    return node if factor == 1.0 else tree.Boost(node, factor)


def lenient(node: Node, options: Mapping[str, Any]) -> Node:
    """With `lenient`, a field that cannot hold the value has no hits, instead of being an error."""
    return tree.Lenient(node) if flag(options, "lenient") else node


def conjunction(options: Mapping[str, Any], name: str = "operator") -> bool:
    operator = str(options.get(name, "or")).lower()
    if operator not in ("and", "or"):
        bad(f"[{name}] must be [and] or [or], found [{operator}]")
    return operator == "and"


def empty_is_all(kind: str, options: Mapping[str, Any]) -> bool:
    """`zero_terms_query`: what a text without any words matches."""
    given = str(options.get("zero_terms_query", "none")).lower()
    if given not in ("all", "none"):
        bad(f"[{kind}] query supports [zero_terms_query] as [none] or [all], found [{given}]")
    return given == "all"


def fuzziness(value: Any) -> str | int:
    """0, 1, 2, AUTO, or AUTO:low,high. Raises RequestError."""
    text = str(value).upper()
    if text == "AUTO" or re.fullmatch(r"AUTO:\d{1,4},\d{1,4}", text):
        return text
    if text in ("0", "1", "2", "0.0", "1.0", "2.0"):
        return int(float(text))
    bad(f"[fuzziness] must be 0, 1, 2, AUTO or AUTO:3,6, found [{value}]")


def edit_distance(fuzzy: str | int, word: str) -> int:
    """How many edits AUTO allows a word of this length."""
    if isinstance(fuzzy, int):
        return fuzzy
    low, high = map(int, fuzzy[5:].split(",")) if ":" in fuzzy else (3, 6)
    return 0 if len(word) < low else 1 if len(word) < high else 2


def rewrite(kind: str, options: Mapping[str, Any]) -> None:
    """Accepts the ways of running a pattern that answer the same."""
    if options.get("rewrite") not in _CONSTANT:
        bad(f"[{kind}] query supports [rewrite] as constant_score only, found [{options['rewrite']}]")


def minimum(given: str | int | None, clauses: int, *, default: int) -> int:
    """Elasticsearch's `minimum_should_match`: 2, -1, 75%, -25%, 2<75%, 2<-25% 9<-3. Raises RequestError."""
    if given is None:
        return default
    text = "<".join(part.strip() for part in str(given).split("<"))
    if "<" not in text:
        return _simple_minimum(text, clauses)
    needed = clauses
    for condition in text.split():
        bound, separator, rest = condition.partition("<")
        if not separator or not re.fullmatch(r"\d{1,9}", bound):
            _no_minimum(given)
        if clauses <= int(bound):
            return needed
        needed = _simple_minimum(rest, clauses)
    return needed


def _simple_minimum(text: str, clauses: int) -> int:
    match = re.fullmatch(r"([+-]?)(\d{1,9})(%?)", text, re.ASCII)
    if match is None:
        _no_minimum(text)
    size = clauses * int(match[2]) // 100 if match[3] else int(match[2])
    return max(clauses - size, 0) if match[1] == "-" else size


def _no_minimum(given: object) -> NoReturn:
    bad(
        "[minimum_should_match] is a number, a percentage, or conditions (2, -1, 75%, -25%, 2<75%, "
        f"2<-25% 9<-3), found [{given}]"
    )
