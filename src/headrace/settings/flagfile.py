"""The flag file, in flagd's own format: JSON, or the same as YAML."""

from __future__ import annotations

from pathlib import Path

from headrace.core.errors import ConfigError
from headrace.settings.documents import ParseError, parse

STYLES = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def read_flag_file(path: Path) -> object:
    """What the file holds, as plain mappings and lists. Raises ConfigError."""
    style = STYLES.get(path.suffix.lower())
    if style is None:
        raise ConfigError(f"unknown format of a flag file, name it {', '.join(STYLES)}")
    try:
        return parse(path.read_text("utf-8-sig"), style).tree
    except FileNotFoundError:
        raise ConfigError("the flag file is missing") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot be read: byte {error.start} is not UTF-8") from None
    except ParseError as error:
        raise ConfigError(f"line {error.line}: {error.message}" if error.line else error.message) from None
