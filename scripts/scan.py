"""Find what must never be in the tree: names of package registries, and paths of one machine.

A lock file or a pasted log carries them in unnoticed; they tie the project to one place.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Written as patterns, so that this file does not find itself.
HOSTS = (
    r"pypi\.org",
    r"python[h]osted\.org",
    r"registry\.npmjs\.",
    r"registry\.yarnpkg\.",
    r"crates\.io",
    r"docker\.io",
    r"quay\.io",
    r"ghcr\.io",
    r"deb\.debian\.org",
    r"proxy\.golang\.org",
)
MACHINE_PATHS = (r"/wor[k]/", r"/roo[t]/", r"/opt/[w]heels", r"/home/[a-z]+/")

FORBIDDEN = re.compile("|".join((*HOSTS, *MACHINE_PATHS)), re.IGNORECASE)


def listed(root: Path) -> list[Path]:
    """Files that are in the repository or about to be."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def findings(root: Path, files: list[Path]) -> Iterator[str]:
    """«file:line: what was found», for every line that names a registry or a machine's path."""
    for file in files:
        # A binary file can carry a host name too, so that nothing is left out.
        for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), start=1):
            if found := FORBIDDEN.search(line):
                where = f"{file.relative_to(root)}:{number}"
                yield f"{where}: names {found.group()!r}, which belongs to one place"


def main() -> int:
    found = list(findings(ROOT, listed(ROOT)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
