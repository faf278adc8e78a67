"""Plain values → typed settings; finds all problems of a value, where msgspec alone stops at the first."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from headrace.core.errors import ConfigError, uncapitalized
from headrace.core.registry import suggest
from headrace.settings.origin import Path_, SettingsError
from headrace.settings.scalars import Scalar
from headrace.units import decode

T = TypeVar("T")

_AT: Final = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_PART: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_PLAIN_WORDS: Final = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "object": "mapping",
    "array": "list",
}


def convert(kind: Any, value: Any, path: Path_, others: Mapping[Path_, Scalar]) -> Any:
    """The value as `kind`. Raises SettingsError with all problems found, by full path.

    others: what else a reference's value can be: the text of a number, or the number in a text
    """
    value = restore(kind, value, path, others)
    try:
        return msgspec.convert(value, kind, dec_hook=decode)
    except (msgspec.ValidationError, ConfigError) as error:
        found = list(problems(kind, value, path)) or [_one(kind, value, path, error)]
        raise SettingsError(found) from None


def problems(kind: Any, value: Any, path: Path_) -> Iterator[ConfigError]:
    """Every independent problem of a value, each with its path."""
    found = False
    bare = _bare(kind, value)
    if _is_struct(bare) and isinstance(value, Mapping):
        for problem in _key_problems(bare, value, path):
            found = True
            yield problem
    for key, inner, child in _children(bare, value):
        for problem in problems(inner, child, (*path, key)):
            found = True
            yield problem
    if found:
        return
    try:
        msgspec.convert(value, kind, dec_hook=decode)
    except (msgspec.ValidationError, ConfigError) as error:
        yield _one(bare, value, path, error)


def restore(kind: Any, value: Any, path: Path_, others: Mapping[Path_, Scalar]) -> Any:
    """The value, with the other reading of a reference where only that fits the type."""
    if path in others:
        return value if _fits(kind, value) or not _fits(kind, others[path]) else others[path]
    children = _children(_bare(kind, value), value)
    if not children:
        return value
    made = {key: restore(inner, child, (*path, key), others) for key, inner, child in children}
    return {**value, **made} if isinstance(value, Mapping) else list(made.values())


def _fits(kind: Any, value: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=decode)
    except (msgspec.ValidationError, ConfigError):
        return False
    return True


def _bare(kind: Any, value: Any) -> Any:
    """The type without its annotations; of a union, the one member that can hold this container."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    members = [_bare(member, value) for member in get_args(kind)]
    if isinstance(value, Mapping):
        fit = [member for member in members if _is_struct(member) or get_origin(member) is dict]
    elif isinstance(value, list):
        fit = [member for member in members if get_origin(member) in {list, tuple}]
    else:
        fit = [member for member in members if member is not type(None)]
    return fit[0] if len(fit) == 1 else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _children(kind: Any, value: Any) -> list[tuple[str | int, Any, Any]]:
    """(key, type, value) of what is inside, where the type is known."""
    if isinstance(value, Mapping):
        if _is_struct(kind):
            declared = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
            return [(key, declared[key], value[key]) for key in value if key in declared]
        if get_origin(kind) in {dict, Mapping}:
            return [(key, get_args(kind)[1], value[key]) for key in value]
    elif isinstance(value, list):
        arguments = get_args(kind)
        if get_origin(kind) is list or (get_origin(kind) is tuple and arguments[1:] == (...,)):
            return [(position, arguments[0], inner) for position, inner in enumerate(value)]
    return []


def _key_problems(kind: Any, value: Mapping[str, Any], path: Path_) -> Iterator[ConfigError]:
    fields = msgspec.structs.fields(kind)
    known = [field.encode_name for field in fields]
    if kind.__struct_config__.forbid_unknown_fields:
        tag = kind.__struct_config__.tag_field
        for key in value:
            if key not in known and key != tag:
                yield ConfigError(f"unknown key {key!r}, {suggest(key, known)}", path=(*path, key))
    for field in fields:
        if field.required and field.encode_name not in value:
            yield ConfigError(f"{field.encode_name!r} is missing, it is required", path=path)


def _one(kind: Any, value: Any, path: Path_, error: Exception) -> ConfigError:
    if isinstance(error, ConfigError):
        return error.inside(*path)
    choices = _choices(kind)
    if choices and isinstance(value, str):
        return ConfigError(f"unknown value {value!r}, {suggest(value, choices)}", path=path)
    text = str(error)
    found = _AT.search(text)
    inner = _parts(found[1]) if found else ()
    return ConfigError(_plain(text[: found.start()] if found else text), path=(*path, *inner))


def _choices(kind: Any) -> list[str]:
    """The texts that a value may be, where it may be nothing else: literals, true and false."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) not in {Union, types.UnionType}:
        return []
    members = [_bare(member, "") for member in get_args(kind)]
    if not any(get_origin(member) is Literal for member in members):
        return []
    found = [_choices(member) or {bool: ["true", "false"]}.get(member, []) for member in members]
    others = [member for member in members if member is not type(None)]
    return [text for texts in found for text in texts] if sum(map(bool, found)) == len(others) else []


def _parts(text: str) -> Path_:
    return tuple(name or int(position) for name, position in _PART.findall(text.partition("[...]")[0]))


def _plain(message: str) -> str:
    """Msgspec's message in the words of a configuration: «expected integer, got text»."""

    def word(found: re.Match[str]) -> str:
        return " or ".join(_PLAIN_WORDS.get(part.strip(), part.strip()) for part in found[1].split("|"))

    message = re.sub(r"`([^`]*)`", word, message)
    return uncapitalized(message)
