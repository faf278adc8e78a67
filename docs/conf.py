"""How the documentation is built; what can be generated is, so that it cannot be wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import flow  # noqa: E402  beside this file, and not importable before the line above
import headrace  # noqa: E402
from headrace.cli.components import options_table  # noqa: E402
from headrace.core import registry  # noqa: E402

project = "Headrace"
author = "the Headrace authors"
version = release = headrace.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Headrace {release}"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = True

OPTIONS = "<!-- options -->"
CAPACITIES = "<!-- capacities -->"


def options(page: str) -> str:
    """The option table of the kind whose page this is, such as `transform/where`."""
    role, _, name = page.partition("/")
    return options_table(registry.kind(role, name))


def fill(_app: object, page: str, source: list[str]) -> None:
    """Put the generated tables where a page asks for them."""
    if OPTIONS in source[0]:
        source[0] = source[0].replace(OPTIONS, options(page))
    if CAPACITIES in source[0]:
        source[0] = source[0].replace(CAPACITIES, flow.table())


def setup(app: Any) -> None:
    app.connect("source-read", fill)
