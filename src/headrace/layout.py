"""Where things are in a `data_dir`: the paths that both processes and the command line agree on."""

from __future__ import annotations

from pathlib import Path


def indexes_directory(data_dir: Path) -> Path:
    return data_dir / "indexes"


def index_directory(data_dir: Path, name: str) -> Path:
    return indexes_directory(data_dir) / name


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


def buffer_directory(data_dir: Path) -> Path:
    """The durable buffer's chain of files; only the server writes in it, but for `acks/`."""
    return data_dir / "buffer"


def acknowledgements_directory(data_dir: Path) -> Path:
    """How far each subscriber of the buffer is; only the ingester changes these files."""
    return buffer_directory(data_dir) / "acks"


def catalogue_file(data_dir: Path) -> Path:
    """The indexes made at run time; only the server writes it."""
    return data_dir / "catalogue.json"


def wake_path(data_dir: Path) -> Path:
    """A datagram socket of the ingester's: one arrives when something was appended to the buffer."""
    return run_directory(data_dir) / "wake.sock"


def keys_file(data_dir: Path) -> Path:
    """The API keys that `headrace keys` made, hashed; the server only reads it."""
    return data_dir / "keys.json"
