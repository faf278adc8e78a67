"""`headrace schema`: the JSON Schema of the configuration file, for editors to complete and validate with."""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import click
import msgspec

from headrace.core.registry import Kind, kinds
from headrace.fields import ELASTICSEARCH_NAMES, FieldType
from headrace.settings.types import OnReject, SettingsFile, When
from headrace.units import describe, encode

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

REFERENCE: Final = {"type": "string", "pattern": r"\$\{.+\}", "description": "A reference, such as ${PORT}."}
"""What may stand for any number or truth value."""

LITERAL: Final = frozenset({"default", "examples", "enum", "const", "properties"})
"""Keys of a schema whose values are no schemas."""


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file.

    An editor that knows YAML schemas completes and checks with it: write it to a file and name that file in
    the first line of the configuration, `# yaml-language-server: $schema=headrace.schema.json`.
    """
    from headrace.cli.app import write_json

    write_json(configuration_schema())


def configuration_schema() -> dict[str, Any]:
    """The schema of a whole file, with every option of every kind that can be used here."""
    made, definitions = _schema(SettingsFile, "file")
    file = definitions[made["$ref"].rpartition("/")[2]]
    file["properties"]["indexes"]["additionalProperties"] = _typed("index", definitions)
    pipeline = definitions["file.PipelineFile"]["properties"]
    pipeline["source"] = {"description": pipeline["source"]["description"], **_typed("ingest", definitions)}
    pipeline["transform"]["items"] = _step(definitions)
    definitions["field"] = _field_schema()
    return {"$schema": DIALECT, "title": "Headrace configuration", **made, "$defs": definitions}


def options_schema(one: Kind) -> dict[str, Any]:
    """The schema of one kind's options, complete by itself."""
    made, definitions = _schema(one.settings_type, one.name)
    return {"$schema": DIALECT, **made, "$defs": definitions}


def _usable(role: str) -> list[Kind]:
    """Kinds whose client library is installed."""
    found = []
    for one in kinds(role).values():
        try:
            one.load()
        except ImportError:
            continue
        found.append(one)
    return found


def _typed(role: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Options beside `type`, told apart by it."""
    usable = _usable(role)
    rules = []
    for one in usable:
        made, more = _schema(one.settings_type, f"{role}.{one.name}")
        options = _inlined(made, more)
        options["properties"] = {"type": {"const": one.name}, **options.get("properties", {})}
        definitions.update(more)
        definitions[f"{role}.{one.name}"] = options
        rules.append(
            {
                "if": {"properties": {"type": {"const": one.name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{role}.{one.name}"},
            }
        )
    names = {"type": {"enum": [one.name for one in usable], "description": "Which kind it is."}}
    return {"type": "object", "required": ["type"], "properties": names, "allOf": rules}


def _inlined(made: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The definition itself in place of a reference to it, so that `type` can be put beside its options."""
    reference = made.get("$ref")
    return dict(definitions[reference.rpartition("/")[2]]) if reference else dict(made)


def _step(definitions: dict[str, Any]) -> dict[str, Any]:
    """A step: reserved keys, and exactly one kind."""
    on_reject = msgspec.json.schema(OnReject)
    properties: dict[str, Any] = {
        "name": {"type": "string", "minLength": 1, "description": "Names it in dead letters and metrics."},
        "on_reject": {**on_reject, "description": "What becomes of records that it rejects."},
        "when": _when(definitions),
    }
    usable = _usable("transform")
    for one in usable:
        made, more = _schema(one.settings_type, f"transform.{one.name}")
        definitions.update(more)
        properties[one.name] = made
    one_of = [{"required": [one.name]} for one in usable]
    return {"type": "object", "properties": properties, "additionalProperties": False, "oneOf": one_of}


def _when(definitions: dict[str, Any]) -> dict[str, Any]:
    """A flag's name, or the flag with what it splits by."""
    made, more = _schema(When, "step")
    definitions.update(more)
    named = {"type": "string", "minLength": 1}
    return {"anyOf": [named, made], "description": "Flag under which the step runs."}


def _field_schema() -> dict[str, Any]:
    names = [*FieldType, *ELASTICSEARCH_NAMES]
    return {"enum": [*map(str, names), *(f"{name}[]" for name in names)]}


def _schema(wanted: Any, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Msgspec's schema of a type and its definitions, named under `prefix`, references allowed."""
    (made,), found = msgspec.json.schema_components(
        [_twin(wanted)], schema_hook=describe, ref_template="#/$defs/" + prefix + ".{name}"
    )
    definitions = {f"{prefix}.{name}": _with_references(value) for name, value in found.items()}
    return _with_references(made), definitions


def _twin(wanted: Any) -> Any:
    """The same type with defaults that msgspec can write: those of our own types as text."""
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _twin_struct(wanted)
    arguments = get_args(wanted)
    if get_origin(wanted) is Annotated:
        return Annotated[(_twin(wanted.__origin__), *wanted.__metadata__)]
    if not arguments or get_origin(wanted) is Literal:
        return wanted
    inner = tuple(_twin(argument) for argument in arguments)
    if get_origin(wanted) in {Union, types.UnionType}:
        return Union[inner]  # noqa: UP007  members are known only here
    return get_origin(wanted)[inner]


def _twin_struct(wanted: type[msgspec.Struct]) -> type[msgspec.Struct]:
    config = wanted.__struct_config__
    fields: list[Any] = []
    for field in msgspec.structs.fields(wanted):
        entry = (field.encode_name, _twin(field.type))
        fields.append(entry if field.required else (*entry, _twin_default(field)))
    made = msgspec.defstruct(
        wanted.__name__,
        fields,
        kw_only=True,
        forbid_unknown_fields=config.forbid_unknown_fields,
        tag=config.tag,
        tag_field=config.tag_field,
    )
    made.__doc__ = wanted.__doc__
    return made


def _twin_default(field: msgspec.structs.FieldInfo) -> Any:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    written = msgspec.to_builtins(value, enc_hook=encode)
    return msgspec.field(default_factory=lambda: written) if isinstance(written, list | dict) else written


def _with_references(value: Any) -> Any:
    """The schema with `${…}` allowed for numbers and truth values, which a reference may stand for."""
    if isinstance(value, list):
        return [_with_references(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    made = {key: inner if key in LITERAL else _with_references(inner) for key, inner in value.items()}
    if "properties" in value:  # its keys are names of options, whatever they are called
        made["properties"] = {name: _with_references(inner) for name, inner in value["properties"].items()}
    if made.get("type") in ("integer", "number", "boolean"):
        told = {key: made.pop(key) for key in ("description", "default") if key in made}
        return {**told, "anyOf": [made, REFERENCE]}
    return made
