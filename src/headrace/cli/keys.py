"""`headrace keys`: the API keys of a service, running or not; a running one follows within a second."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from headrace.serve.doors.keyfile import StoredKey
    from headrace.settings import Scope

Command = TypeVar("Command", bound=click.Command)

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "admin", "monitor")


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of a service.

    They are kept hashed in keys.json of the data directory. A running service follows within a second;
    one that was started without any key asks for one from then on.
    """


_WHERE = click.option(
    "--in",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    metavar="DIR|FILE",
    help="The data directory, or the configuration file that names it.",
)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@keys.command()
@click.argument("name")
@click.option(
    "--scopes", default="read", show_default=True, help="What it may do, of read,write,admin,monitor."
)
@click.option(
    "--indexes",
    multiple=True,
    metavar="NAME",
    help="Indexes it may use, patterns such as logs-*; all if not given.",
)
@_WHERE
@_AS_JSON
def create(name: str, scopes: str, indexes: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """Make a key and print its secret, once: it cannot be shown again.

    The secret goes to stdout, in the form of `Authorization: ApiKey …`; what it is to stderr.
    """
    from headrace.serve.doors import keyfile

    patterns = _listed(",".join(indexes)) or ["*"]
    key, secret = keyfile.create(_data_dir(directory), name, _scopes(scopes), patterns)
    encoded = base64.b64encode(f"{key.id}:{secret}".encode()).decode()
    if as_json:
        from headrace.cli.app import write_json

        write_json({**_shown(key), "api_key": secret, "encoded": encoded})
        return
    click.echo(f"key {key.name}: {', '.join(key.scopes)} on {', '.join(key.indexes)}", err=True)
    click.echo("keep it now, it is not shown again; send it as `Authorization: ApiKey KEY`", err=True)
    click.echo(encoded)


@keys.command(name="list")
@_WHERE
@_AS_JSON
def list_keys(directory: Path, as_json: bool) -> None:
    """List the keys, without their secrets; those of the configuration are not among them."""
    from headrace.layout import keys_file
    from headrace.serve.doors import keyfile

    found = keyfile.read(keys_file(_data_dir(directory))) or []
    if as_json:
        from headrace.cli.app import write_json

        write_json([_shown(key) for key in found])
        return
    if not found:
        click.echo("no keys", err=True)
        return
    click.echo("\n".join(_table(found)))


@keys.command()
@click.argument("name", metavar="NAME|ID")
@_WHERE
def revoke(name: str, directory: Path) -> None:
    """Take a key away: who uses it is refused from the next second on."""
    from headrace.serve.doors import keyfile

    key = keyfile.revoke(_data_dir(directory), name)
    click.echo(f"revoked {key.name} ({key.id})", err=True)


def _data_dir(where: Path) -> Path:
    if where.is_dir():
        return where
    if where.is_file():
        from headrace.settings import load

        return load(where).data_dir
    raise ConfigError(f"there is no data directory {where}; name it, or the configuration, with --in")


def _scopes(text: str) -> list[Scope]:
    from headrace.core.registry import suggest

    found: list[Scope] = []
    for name in _listed(text):
        known = [scope for scope in SCOPES if scope == name]
        if not known:
            raise ConfigError(f"unknown scope {name!r}, {suggest(name, list(SCOPES))}")
        found += [scope for scope in known if scope not in found]
    if not found:
        raise ConfigError(f"a key needs a scope (have: {', '.join(SCOPES)})")
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _shown(key: StoredKey) -> dict[str, str | list[str]]:
    created = datetime.fromtimestamp(key.created, UTC).isoformat(timespec="seconds")
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "indexes": key.indexes,
        "created": created.replace("+00:00", "Z"),
    }


def _table(found: Sequence[StoredKey]) -> list[str]:
    rows = [["NAME", "ID", "SCOPES", "INDEXES", "CREATED"]]
    for key in found:
        shown = _shown(key)
        rows.append([key.name, key.id, ",".join(key.scopes), ",".join(key.indexes), str(shown["created"])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
