"""`headrace components`: kinds and their options, from the same types that check a configuration."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import click
import msgspec

from headrace.core.errors import ConfigError
from headrace.core.registry import ROLES, Kind, kind, kinds, suggest
from headrace.units import Duration, Secret, Size, encode

NOUNS: Final = {"source": "ingest", "sources": "ingest", "transforms": "transform", "indexes": "index"}
"""Other words for the roles."""

WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    object: "anything",
    Any: "anything",
    Duration: "duration",
    Size: "size",
    Secret: "secret",
    Path: "path",
    dict: "mapping",
    list: "list",
}
BOUNDS: Final = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "at least {} long"}


@click.command()
@click.argument("role", required=False)
@click.argument("name", required=False, metavar="[KIND]")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON Schema of the options instead.")
def components(role: str | None, name: str | None, as_json: bool) -> None:
    """List kinds of sources, transforms and indexes with their options.

    ROLE is ingest, transform or index. With KIND, print what that kind's options are.
    """
    if role is None:
        for each in ROLES:
            _list(each)
        return
    role = NOUNS.get(role, role)
    if role not in ROLES:
        raise ConfigError(f"unknown role {role!r}, {suggest(role, list(ROLES))}")
    if name is None:
        _list(role)
    elif as_json:
        from headrace.cli.app import write_json
        from headrace.cli.schema import options_schema

        write_json(options_schema(kind(role, name)))
    else:
        click.echo(f"{summary(kind(role, name))}\n\n{options_table(kind(role, name))}", nl=False)


def _list(role: str) -> None:
    click.echo(f"{role}:")
    for one in kinds(role).values():
        click.echo(f"  {one.name:<12} {summary(one)}")


def summary(one: Kind) -> str:
    """The first line of what a kind's module says of itself."""
    try:
        text = one.load().__doc__ or ""
    except ImportError as error:
        return f"(cannot be used here: {error})"
    return text.strip().partition("\n")[0]


class Row(NamedTuple):
    """One option of a table, as text."""

    option: str
    type: str
    default: str
    description: str


def options_table(one: Kind) -> str:
    """The options of a kind as a Markdown table."""
    return table(one.settings_type)


def table(wanted: Any) -> str:
    """The options of a settings type as a Markdown table."""
    rows = list(options(wanted))
    lines = ["| Option | Type | Default | Meaning |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def options(wanted: Any, prefix: str = "") -> Iterator[Row]:
    """Every option of a type, those inside mappings and lists after their own."""
    bare, meta = unwrap(wanted)
    if _is_struct(bare):
        for field in msgspec.structs.fields(bare):
            yield from _option(f"{prefix}{field.encode_name}", field.type, _default(field))
        return
    if not prefix:
        yield Row("(its value)", words(wanted), "required", _description(meta))
    for inner, suffix in _inside(bare):
        yield from options(inner, f"{prefix}{suffix}")


def _option(name: str, wanted: Any, default: str) -> Iterator[Row]:
    bare, meta = unwrap(wanted)
    yield Row(f"`{name}`", words(wanted), default, _description(meta))
    if _is_struct(bare):
        yield from options(bare, f"{name}.")
    for inner, suffix in _inside(bare):
        yield from options(inner, f"{name}{suffix}" if suffix.startswith("[") else f"{name}.{suffix}")


def _inside(bare: Any) -> Iterator[tuple[Any, str]]:
    """Types with options of their own inside a list, a mapping or a union."""
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in {Union, types.UnionType}:
        for member in arguments:
            inner = unwrap(member)[0]
            if _is_struct(inner):
                yield inner, ""
            else:
                yield from _inside(inner)
        return
    place = {list: "[].", tuple: "[].", dict: "NAME."}.get(origin) if origin else None
    if place:
        inner = unwrap(arguments[-1] if origin is dict else arguments[0])[0]
        if _is_struct(inner):
            yield inner, place
        elif get_origin(inner) in {Union, types.UnionType}:
            for struct, _ in _inside(inner):
                yield struct, place


def unwrap(wanted: Any) -> tuple[Any, list[msgspec.Meta]]:
    """A type without its annotations, and those."""
    metas: list[msgspec.Meta] = []
    while get_origin(wanted) is Annotated:
        metas += [extra for extra in wanted.__metadata__ if isinstance(extra, msgspec.Meta)]
        wanted = wanted.__origin__
    return wanted, metas


def words(wanted: Any) -> str:
    """A type in the words of a configuration: «list of text», «integer (≥ 1)»."""
    bare, metas = unwrap(wanted)
    text = _bare_words(bare)
    bounds = [
        pattern.format(getattr(meta, name))
        for meta in metas
        for name, pattern in BOUNDS.items()
        if getattr(meta, name) is not None
    ]
    return f"{text} ({', '.join(bounds)})" if bounds else text


def _bare_words(bare: Any) -> str:
    origin, arguments = get_origin(bare), get_args(bare)
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(words(member) for member in arguments if member is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{_written(choice)}`" for choice in arguments)
    if origin in {list, tuple, set, frozenset}:
        return f"list of {words(arguments[0])}"
    if origin is dict:
        return f"mapping of {words(arguments[1])}"
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in bare)
    if _is_struct(bare):
        return "mapping"
    return WORDS.get(bare) or str(getattr(bare, "__name__", bare)).lower()


def _is_struct(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _description(metas: list[msgspec.Meta]) -> str:
    return next((meta.description for meta in metas if meta.description), "")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or _is_struct(type(value)):
        return ""
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    """A value as it would stand in YAML."""
    if isinstance(value, str | Duration | Size | Path):
        return str(value) or '""'
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=encode), indent=0).decode()
