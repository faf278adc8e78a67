"""The command `headrace`: finds commands, and turns errors into one line and an exit code.

stdout is data, everything else goes to stderr. Nothing heavy is imported here: `--help` only reads the table
below, and a command's module is imported when the command is invoked.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, cast

import click

from headrace import __version__

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
REJECTED: Final = 3
INTERRUPTED: Final = 130

COMMANDS: Final[dict[str, dict[str, str]]] = {
    "Start": {
        "demo": "Index generated access logs and show them, without any file.",
        "index": "Index files into a directory, without a configuration.",
        "search": "Search an index directory or a running service.",
    },
    "Run": {
        "run": "Run the pipelines and the HTTP server of a configuration.",
        "serve": "Answer searches over an index directory, read-only.",
        "check": "Check a configuration: files, expressions, guarantees and memory.",
    },
    "Data": {
        "dlq": "List, show and delete rejected records.",
        "verify": "Check an index directory offline, and repair what is safe.",
    },
    "Manage": {
        "keys": "Make, list and revoke the API keys of a service.",
        "schema": "Print the JSON Schema of the configuration file.",
        "components": "List kinds of sources, transforms and indexes with their options.",
    },
}
"""Groups of commands; each command is the function of its own name in the module of its own name."""


class LazyGroup(click.Group):
    """Commands by name, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return [name for group in COMMANDS.values() for name in group if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"headrace.cli.{cmd_name}")
        return cast("click.Command", getattr(module, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from headrace.core.registry import suggest

            ctx.fail(f"unknown command {args[0]!r}, {suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands in their groups, from the table: no module is imported for it."""
        there = self.list_commands(ctx)
        for title, group in COMMANDS.items():
            rows = [(name, summary) for name, summary in group.items() if name in there]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _exists(name: str) -> bool:
    return (Path(__file__).parent / f"{name}.py").exists()


@dataclass(frozen=True, slots=True)
class LogChoice:
    """What was said on the command line about logs; None leaves it to the configuration."""

    style: Literal["json", "text", "auto"] | None = None
    level: str | None = None


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--log-style", type=click.Choice(["auto", "json", "text"]), help="How logs look, on stderr.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least severe level shown."
)
@click.version_option(__version__, prog_name="headrace")
@click.pass_context
def cli(ctx: click.Context, log_style: Literal["json", "text", "auto"] | None, log_level: str | None) -> None:
    """Headrace, an indexer service: ingest, transform, index exactly once, and serve.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 finished with rejected records.
    """
    ctx.obj = LogChoice(log_style, log_level)
    configure_log()


def configure_log(*, style: Literal["json", "text", "auto"] = "auto", level: str = "warning") -> None:
    """Log to stderr as the command line says, or else as given here (by the configuration)."""
    from headrace.core.log import configure

    choice = click.get_current_context().find_root().obj or LogChoice()
    configure(choice.style or style, choice.level or level)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    leave(run(args))


def leave(code: int) -> NoReturn:
    """End the process without taking it apart.

    Everything of ours is closed by now. The native libraries' threads are not, and while the interpreter
    and their allocators are torn down beneath them a finished run was seen to end with a segmentation
    fault (once in thousands of runs), and so with the wrong exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    logging.shutdown()
    os._exit(code)


def run(args: list[str] | None = None) -> int:
    """Run the command line; the exit code. Errors of ours are told in one line each, without a traceback."""
    try:
        code = cli.main(args, prog_name="headrace", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  raised again unless it is ours
        return _told(error)
    return code if isinstance(code, int) else DONE


def _told(error: Exception) -> int:
    """The exit code of an error raised on purpose, once it is told; others are bugs and go on."""
    from headrace.core.errors import ConfigError, HeadraceError, RequestError

    if not isinstance(error, HeadraceError):
        raise error
    usage = isinstance(error, ConfigError) or (isinstance(error, RequestError) and error.status == 400)
    click.echo(str(error) if isinstance(error, ConfigError) else f"error: {error}", err=True)
    return USAGE if usage else FAILED


def write_json(value: Any) -> None:
    """One JSON document to stdout, laid out for people where it is a terminal."""
    import msgspec

    from headrace.units import encode

    text = msgspec.json.encode(value, enc_hook=encode)
    click.echo(msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text)
