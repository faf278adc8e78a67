"""Where things are in a `data_dir`: the paths that both processes and the command line agree on."""

from __future__ import annotations

from pathlib import Path


def index_directory(data_dir: Path, name: str) -> Path:
    return data_dir / "indexes" / name


def dead_letter_file(data_dir: Path) -> Path:
    return data_dir / "dead_letters.sqlite"


def columns_file(data_dir: Path, pipeline: str) -> Path:
    """The columns a pipeline's records were seen to have."""
    return data_dir / "columns" / f"{pipeline}.arrow"


def run_directory(data_dir: Path) -> Path:
    """Locks and the local socket: nothing in it outlives the processes."""
    return data_dir / "run"


def socket_path(data_dir: Path) -> Path:
    """Where the ingester answers the server."""
    return run_directory(data_dir) / "ingester.sock"
