"""The page of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from headrace.cli.app import COMMANDS, cli

INTRODUCTION = """\
# Command line

stdout is data, everything else goes to stderr. Exit codes: 0 done, 1 failed, 2 usage or configuration,
3 finished with rejected records. `--log-style` and `--log-level` stand before the command.
"""


def command_page(names: frozenset[str] | None = None) -> str:
    """The page in Markdown; `names` are the commands it has, all there are if not given."""
    context = click.Context(cli, info_name="headrace", terminal_width=100, **cli.context_settings)
    there = cli.list_commands(context)
    parts = [INTRODUCTION]
    for title, group in COMMANDS.items():
        chosen = [name for name in group if name in there and (names is None or name in names)]
        if chosen:
            parts.append(f"## {title}\n")
        for name in chosen:
            command = cli.get_command(context, name)
            assert command is not None
            parts.extend(_sections(command, context, name, 3))
    return "\n".join(parts)


def _sections(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    yield f"{'#' * level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _sections(found, context, inner, level + 1)


if __name__ == "__main__":
    click.echo(command_page(), nl=False)
