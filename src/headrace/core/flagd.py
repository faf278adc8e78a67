"""Flags by flagd's rules, for a whole column of keys at once: a percentage is one hash per distinct key.

A rule is looked into once per batch: what it asks about the pipeline, the step or the time is decided then;
only where a key decides are keys looked at. The bucket of a key is flagd's: murmur3 (32 bits) of the CBOR
encoding of what the rule buckets by, `(hash * sum of weights) >> 32`
(flagd.dev/reference/custom-operations/fractional-operation).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import mmh3
import polars as pl
from json_logic import jsonLogic
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.contrib.tools.flagd.core.model import Flag, FlagStore
from openfeature.contrib.tools.flagd.core.targeting.targeting import OPERATORS
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest

KEY: Final = "targetingKey"
LARGEST_WEIGHTS: Final = 2**31 - 1
EVALUATION_ERRORS: Final = (ArithmeticError, LookupError, ReferenceError, TypeError, ValueError)
"""What JSON logic raises for a rule it cannot compute."""

PAIR: Final = b"\x82"
"""CBOR: a list of two. flagd's short form buckets by [flag, key]."""

Keys: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A flag that is on for some keys.

    share:     part of all keys it is on for, None where only asking for each key tells
    decide:    on or off for each of some distinct keys
    otherwise: on or off for a record without a key
    """

    share: float | None
    decide: Callable[[Keys], pl.Series]
    otherwise: Callable[[], bool]

    def on(self, keys: pl.Series) -> pl.Series:
        """On or off for each key, null ones included; each distinct key is decided once."""
        distinct = keys.drop_nulls().unique()
        if len(distinct) == len(keys):
            return self.decide(keys.to_list())
        decided = pl.DataFrame({"key": distinct, "on": self.decide(distinct.to_list())})
        found = keys.rename("key").to_frame().join(decided, on="key", how="left", maintain_order="left")["on"]
        return found.fill_null(self.otherwise()) if keys.null_count() else found

    def one(self, key: str) -> bool:
        return bool(self.decide([key])[0])


Rule: TypeAlias = bool | Keyed


class Flagset:
    """The flags of one file, never changed."""

    def __init__(self, flags: Mapping[str, Flag]) -> None:
        self._flags = dict(flags)
        self._core = FlagdCore()
        self._core.set_flags({"flags": {name: _written(flag) for name, flag in flags.items()}})

    @property
    def names(self) -> list[str]:
        return sorted(self._flags)

    def with_kept(self, others: Flagset, names: Sequence[str]) -> Flagset:
        """The same, with those of `names` that `others` knows taken from there, the rest of them left out."""
        mine = {name: flag for name, flag in self._flags.items() if name not in names}
        kept = {name: others._flags[name] for name in names if name in others._flags}
        return Flagset(mine | kept)

    def problem(self, name: str, attributes: Mapping[str, str], now: float) -> str:
        """Why this flag cannot be used; empty where it can."""
        flag = self._flags.get(name)
        if flag is None:
            return f"there is no flag {name!r}, {suggest(name, self.names)}"
        if not all(isinstance(value, bool) for value in flag.variants.values()):
            return f"flag {name!r} is not boolean: its variants must be true and false"
        try:
            self.rule(name, attributes, now)
        except ConfigError as error:
            return error.message
        return ""

    def rule(self, name: str, attributes: Mapping[str, str], now: float) -> Rule:
        """How the flag is decided for this place and moment. Raises ConfigError where flagd would give up."""
        flag = self._flags.get(name)
        if flag is None or flag.state == "DISABLED":
            return False
        if not flag.targeting:
            return _value(flag, None)
        data = {**attributes, "$flagd": {"flagKey": name, "timestamp": int(now)}, KEY: None}
        try:
            return self._resolved(flag, flag.targeting, data)
        except EVALUATION_ERRORS as error:
            raise ConfigError(f"flag {name!r} cannot be evaluated: {type(error).__name__}: {error}") from None

    def _resolved(self, flag: Flag, node: Any, data: dict[str, Any], *, keyless: bool = False) -> Rule:
        """Walk down the branches that are taken, to what is left: a variant, a percentage, or a key's own.

        `keyless`: the branches that are taken where there is no key.
        """
        operator, arguments = _operation(node)
        if operator == "if" and len(arguments) > 1:
            condition, then, *rest = arguments
            if _asks_for_key(condition) and not keyless:
                return self._per_key(flag, data)
            if jsonLogic({"!!": [condition]}, data, OPERATORS):
                return self._resolved(flag, then, data, keyless=keyless)
            otherwise = {"if": rest} if len(rest) > 1 else (rest or [None])[0]
            return self._resolved(flag, otherwise, data, keyless=keyless)
        if operator == "fractional" and (bucket := _bucket(flag.key, arguments)) is not None:
            by, fractions = bucket
            if not _asks_for_key(fractions):
                return _split(flag, by, [jsonLogic(each, data, OPERATORS) for each in fractions])
        if _asks_for_key(node) and not keyless:
            return self._per_key(flag, data)
        return _value(flag, jsonLogic(node, data, OPERATORS))

    def _per_key(self, flag: Flag, data: Mapping[str, Any]) -> Keyed:
        """A rule that looks at the key itself (a list of tenants…): flagd's own answer per distinct key."""
        attributes = {name: value for name, value in data.items() if name not in {KEY, "$flagd"}}

        def answer(key: str) -> bool:
            try:
                context = EvaluationContext(key, attributes)
                return self._core.resolve_boolean_value(flag.key, default_value=False, ctx=context).value
            except (OpenFeatureError, *EVALUATION_ERRORS):
                return False  # what OpenFeature answers then: the caller's default

        def decide(keys: Keys) -> pl.Series:
            return pl.Series([answer(key) for key in keys], dtype=pl.Boolean)

        def otherwise() -> bool:
            # Not asked of flagd, which writes an error to the log for each missing key.
            try:
                rule = self._resolved(flag, flag.targeting, dict(data), keyless=True)
            except (ConfigError, *EVALUATION_ERRORS):
                return False
            return rule if isinstance(rule, bool) else rule.otherwise()

        return Keyed(None, decide, otherwise)


NO_FLAGS: Final = Flagset({})


def parse(tree: object) -> Flagset:
    """The flags of a parsed file in flagd's format. Raises ConfigError."""
    if not isinstance(tree, Mapping) or not isinstance(tree.get("flags"), Mapping):
        raise ConfigError("a flag file is a mapping with `flags`, each with state, variants, defaultVariant")
    store = FlagStore()
    try:
        store.update(copy.deepcopy(dict(tree)))  # it changes what it is given
    except (OpenFeatureError, ValueError, TypeError, AttributeError) as error:
        cause = error if str(error) or error.__cause__ is None else error.__cause__
        raise ConfigError(f"not a flagd flag file: {type(cause).__name__}: {cause}") from None
    return Flagset(store.flags)


def _written(flag: Flag) -> dict[str, Any]:
    return {
        "state": flag.state,
        "variants": dict(flag.variants),
        "defaultVariant": flag.default_variant,
        "targeting": copy.deepcopy(flag.targeting),
    }


def _value(flag: Flag, variant: object) -> bool:
    """The value of a variant as a rule names it; none is the default one, and no default is off."""
    if variant is None:
        variant = flag.default_variant
    if not variant and variant is not False:
        return False
    name = str(variant).lower() if isinstance(variant, bool) else str(variant)
    if name not in flag.variants:
        raise ConfigError(f"flag {flag.key!r} has no variant {name!r}, {suggest(name, list(flag.variants))}")
    return bool(flag.variants[name])


def _operation(node: object) -> tuple[str, list[Any]]:
    """(operator, arguments) of a rule; an empty operator for a constant."""
    if not isinstance(node, Mapping) or len(node) != 1:
        return "", []
    ((operator, arguments),) = node.items()
    return operator, list(arguments) if isinstance(arguments, (list, tuple)) else [arguments]


def _asks_for_key(node: object) -> bool:
    """Whether the answer may depend on the key; what is computed only then counts as asking."""
    if isinstance(node, (list, tuple)):
        return any(_asks_for_key(each) for each in node)
    if not isinstance(node, Mapping):
        return False
    operator, arguments = _operation(node)
    if operator in {"var", "missing", "missing_some"}:
        plain = operator == "var" and arguments and isinstance(arguments[0], str)
        return not plain or arguments[0].partition(".")[0] in {"", KEY} or _asks_for_key(arguments[1:])
    return operator == "fractional" or any(_asks_for_key(each) for each in node.values())


@dataclass(frozen=True, slots=True)
class _By:
    """What a percentage buckets by: [flag, key], or a text with the key in it."""

    lead: bytes
    before: bytes = b""
    after: bytes = b""
    without_key: str | None = None
    """What stands for the key of a record without one; None: such a record has no bucket."""

    def hashes(self, keys: Keys) -> pl.Series:
        lead, before, after, text, digest = self.lead, self.before, self.after, cbor_text, mmh3.hash
        made = [digest(lead + text(before + key.encode() + after), 0, False) for key in keys]
        return pl.Series(made, dtype=pl.UInt64)


def _bucket(flag: str, arguments: list[Any]) -> tuple[_By, list[Any]] | None:
    """(bucketing, fractions) of the arguments of `fractional`; None for a bucketing we leave to flagd."""
    if not arguments:
        return None
    if isinstance(arguments[0], (list, tuple)):
        return _By(PAIR + cbor_text(flag.encode())), arguments
    operator, parts = _operation(arguments[0])
    if operator == "var" and parts == [KEY]:
        return _By(b""), arguments[1:]
    texts = [_text_part(flag, part) for part in parts] if operator == "cat" else []
    if texts.count(None) != 1 or any(text is Ellipsis for text in texts):
        return None
    at = texts.index(None)
    before, after = ("".join(map(str, half)).encode() for half in (texts[:at], texts[at + 1 :]))
    return _By(b"", before, after, "null"), arguments[1:]


def _text_part(flag: str, part: object) -> object:
    """A part of `cat`: its text, None for the key, Ellipsis for anything else."""
    if isinstance(part, str):
        return part
    operator, arguments = _operation(part)
    if operator == "var" and arguments == ["$flagd.flagKey"]:
        return flag
    return None if operator == "var" and arguments == [KEY] else Ellipsis


def _split(flag: Flag, by: _By, fractions: Sequence[Any]) -> Keyed:
    weights = [_weight(flag.key, each) for each in fractions]
    values = [_value(flag, each[0]) for each in fractions]
    total = sum(weights)
    if not 0 < total <= LARGEST_WEIGHTS:
        raise ConfigError(f"flag {flag.key!r}: the weights add up to {total}, which must be 1 to 2^31 - 1")
    default = _value(flag, None)

    def buckets(keys: Keys) -> pl.Series:
        found = (by.hashes(keys) * total).cast(pl.UInt64) // 2**32
        on = pl.repeat(value=False, n=len(keys), dtype=pl.Boolean, eager=True)
        end = 0
        for weight, value in zip(weights, values, strict=True):
            start, end = end, end + weight
            if value:
                on |= (found >= start) & (found < end)
        return on

    def decide(keys: Keys) -> pl.Series:
        on = buckets(keys)
        if by.lead and "" in keys:  # flagd's short form knows no empty key
            on[list(keys).index("")] = default
        return on

    def otherwise() -> bool:
        return default if by.without_key is None else bool(buckets([by.without_key])[0])

    share = sum(weight for weight, value in zip(weights, values, strict=True) if value) / total
    return Keyed(share, decide, otherwise)


def _weight(flag: str, fraction: object) -> int:
    if not isinstance(fraction, (list, tuple)) or not 1 <= len(fraction) <= 2:
        raise ConfigError(f"flag {flag!r}: a fraction is [variant, weight], not {fraction!r}")
    weight = fraction[1] if len(fraction) == 2 else 1
    if isinstance(weight, bool) or not isinstance(weight, int):
        raise ConfigError(f"flag {flag!r}: a weight is a whole number, not {weight!r}")
    return max(0, weight)


def cbor_text(text: bytes) -> bytes:
    """UTF-8 as a CBOR text string, shortest form (RFC 8949, 3.1)."""
    size = len(text)
    return _HEADS[size] + text if size < len(_HEADS) else _head(size) + text


def _head(size: int) -> bytes:
    if size < 24:
        return bytes([0x60 + size])
    width = next(width for width in (1, 2, 4, 8) if size < 1 << (8 * width))
    return bytes([0x77 + width.bit_length()]) + size.to_bytes(width, "big")


_HEADS: Final = tuple(_head(size) for size in range(600))
