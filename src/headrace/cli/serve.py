"""`headrace serve`: search what is in a folder over HTTP, without a configuration and without writing."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("serve")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7223, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--insecure", is_flag=True, help="Answer everybody on any address, without a key.")
def serve(directory: Path, host: str, port: int, insecure: bool) -> None:
    """Answer searches over an index directory, read-only.

    DIR is one index, or a data directory with several. Any number of these may run beside the one service
    that writes there; each sees every commit. The keys of the data directory hold here too.
    """
    from headrace.cli.app import configure_log
    from headrace.serve.folders import FolderReaders
    from headrace.services.server import serve_readers
    from headrace.settings import ServerSettings

    configure_log(level="info")
    serve_readers(FolderReaders(directory), ServerSettings(host=host, port=port, insecure=insecure))
