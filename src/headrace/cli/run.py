"""`headrace run`: the services under one parent, or one of them alone."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import Final

import click

SETTLER_NICE: Final = 5
"""A record that is durable a moment later costs nothing; one that is searchable a moment later does."""


@click.command("run")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--only",
    type=click.Choice(["ingester", "server", "settler"]),
    help="Run one service in this process instead of all under a parent.",
)
@click.option("--settled", is_flag=True, hidden=True)
@click.option(
    "--once", is_flag=True, help="Stop when every pipeline has read all there is (with --only ingester)."
)
@click.pass_context
def run(context: click.Context, config: Path, only: str | None, once: bool, settled: bool) -> None:
    """Run the pipelines of CONFIG and serve their indexes.

    Stops on SIGTERM or Ctrl-C after committing what was read (within drain_timeout); a second signal
    stops at once.
    """
    if only is None:
        context.exit(_run_family(config, once=once))
    _run_one(config, only, once=once, settled=settled)


def _run_family(config: Path, *, once: bool) -> int:
    from headrace.processes import ROLES, Family

    base = [sys.executable, "-m", "headrace.cli", *_log_options(), "run", str(config)]
    # A single pass has nobody who waits for each record: its commits go to the disk at once.
    extra = {"ingester": ["--once"] if once else ["--settled"]}
    roles = [role for role in ROLES if not (once and role == "settler")]
    commands = {role: [*base, "--only", role, *extra.get(role, [])] for role in roles}
    return Family(commands, once=once).run()


def _run_one(config: Path, role: str, *, once: bool, settled: bool) -> None:
    from headrace.core.errors import ConfigError
    from headrace.processes import CONFIG_ERROR, NOT_NEEDED, die_with_parent

    # The engine and the frames are native code: where one of them crashes, each thread says where it stood.
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)
    has_sibling = die_with_parent()
    if role == "settler":
        os.nice(SETTLER_NICE)  # before all that is imported below
    from headrace.cli.app import configure_log
    from headrace.services import run_role
    from headrace.settings import load

    try:
        settings = load(config)
    except ConfigError:
        if has_sibling and role != "ingester":
            sys.exit(CONFIG_ERROR)  # the ingester is saying the same in this moment
        raise
    if has_sibling and role == "settler" and not any(each.is_live for each in settings.indexes.values()):
        sys.exit(NOT_NEEDED)
    configure_log(style=settings.log.style, level=settings.log.level)
    run_role(role, settings, once=once, settled=settled)


def _log_options() -> list[str]:
    choice = click.get_current_context().find_root().obj
    options = {"--log-style": choice.style, "--log-level": choice.level}
    return [word for name, value in options.items() if value for word in (name, value)]
