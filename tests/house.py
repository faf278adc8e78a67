"""The rules of the house as functions of a tree: each yields what is wrong, so each can be shown to bite."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from headrace.cli import components

Rule: TypeAlias = Callable[[Path], Iterator[str]]

LONGEST_MODULE = 400
MEDIAN_MODULE = 200

OPTIONS_MARK = "<!-- options -->"

HOMES: Mapping[str, tuple[str, ...]] = {
    "anyio": ("",),
    "msgspec": ("",),
    "polars": ("",),
    "click": ("cli",),
    "rich": ("cli",),
    "starlette": ("serve",),
    "uvicorn": ("serve",),
    "tantivy": ("index.tantivy",),
    "backports": ("ingest.files.compression", "serve.encodings"),
    "compression": (
        "ingest.files.compression",
        "serve.encodings",
    ),  # the standard library's, from Python 3.14 on
    "cramjam": (
        "buffer",
        "ingest.files.compression",
        "pipeline.deadletter",
        "core",
        "serve.encodings",
        "buffer",
    ),
    "httpx2": ("ingest", "transform.http_lookup", "index", "cli", "aio", "serve.upstream", "remote"),
    "tenacity": ("core.retry",),
    "interlock": ("core.breaker",),
    "json_logic": ("core.flagd",),
    "mmh3": ("core.flagd",),
    "openfeature": ("core.flagd",),
    "opentelemetry": ("core.telemetry",),
    "prometheus_client": ("core.metrics",),
    "pythonjsonlogger": ("core.log", "core.telemetry"),
    "ruamel": ("settings",),
    "sqlglot": ("transform._fence", "transform.sql"),
    "hypothesis": ("testing",),
    "pytest": ("testing",),
}
"""Where each library may be imported: room prefixes; "" is everywhere. A library that is not here has no home."""


@dataclass(frozen=True)
class Module:
    """One source file, parsed. `name` is relative to the package: `core.errors`, `cli`."""

    root: Path
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    def at(self, node: ast.expr | ast.stmt, finding: str) -> str:
        return f"{self.path.relative_to(self.root.parent)}:{node.lineno}: {finding}"


def modules(package: Path) -> list[Module]:
    """Every module of a package folder, such as `src/headrace`."""
    return [Module(package, path) for path in sorted(package.rglob("*.py"))]


def too_long(package: Path) -> Iterator[str]:
    """Modules over the limit, and a median that says the whole house is growing."""
    lengths = {module.name: module.text.count("\n") for module in modules(package)}
    for name, length in lengths.items():
        if length > LONGEST_MODULE:
            yield f"{name}: {length} lines, at most {LONGEST_MODULE}: split it"
    median = statistics.median(lengths.values())
    if median > MEDIAN_MODULE:
        yield f"the median module has {median:.0f} lines, at most {MEDIAN_MODULE}"


def undescribed_modules(package: Path) -> Iterator[str]:
    """Modules whose docstring does not begin with a sentence."""
    for module in modules(package):
        first = (ast.get_docstring(module.tree) or "").partition("\n\n")[0]
        if not first.rstrip("`)\"'").endswith((".", "!", "?")):
            yield f"{module.name}: begins with no sentence that says what it is"


def prints(package: Path) -> Iterator[str]:
    """Calls of `print` outside cli: stdout is data, and only the command line has it."""
    for module, call in _calls(package):
        if module.room != "cli" and isinstance(call.func, ast.Name) and call.func.id == "print":
            yield module.at(call, "prints outside cli")


def unfinished(files: list[Path]) -> Iterator[str]:
    """Notes that something is still to be done, in the tree instead of in the issue."""
    note = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b")  # brackets: this line is no such note
    for file in files:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            if note.search(line):
                yield f"{file.name}:{number}: {line.strip()}"


def homeless_libraries(package: Path) -> Iterator[str]:
    """Third-party imports outside the one room that knows the library."""
    known = {*sys.stdlib_module_names, package.name}
    for module in modules(package):
        for node, library in _imports(module):
            if library in known:
                continue
            if library not in HOMES:
                yield module.at(node, f"imports {library}, which has no home in tests/house.py")
            elif not any(_within(module.name, home) for home in HOMES[library]):
                yield module.at(node, f"imports {library}, whose home is {' or '.join(HOMES[library])}")


def front_door_users(package: Path) -> Iterator[str]:
    """Rooms that use the public names: those look up the whole house, which no layer could see."""
    inside = {path.stem for path in package.iterdir()} | {"__version__"}
    for module in modules(package):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.module == package.name:
                for alias in node.names:
                    if alias.name not in inside:
                        yield module.at(node, f"imports {alias.name} through the front door")


def acting_components(package: Path) -> Iterator[str]:
    """Components that sleep, start tasks, retry or configure logging: the runtime does that, once."""
    for module, call in _calls(package):
        if module.room in {"ingest", "transform", "index"}:
            act = _act(call, module.room)
            if act:
                yield module.at(call, act)


def metrics(package: Path) -> list[str]:
    """Names of the metrics declared in core/metrics."""
    declared = [module for module in modules(package) if _within(module.name, "core.metrics")]
    texts = [
        node.value
        for module in declared
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return sorted({text for text in texts if re.fullmatch(r"headrace_[a-z0-9_]+", text)})


def undocumented_metrics(package: Path, page: Path) -> Iterator[str]:
    """Metrics that the operations page does not name."""
    text = page.read_text("utf-8") if page.is_file() else ""
    for name in metrics(package):
        if name not in text:
            yield f"{name} is not in {page.name}"


def unused_capacities(package: Path) -> Iterator[str]:
    """Constants of pipeline/capacities that nothing uses: the flow chart would show a bound that is none."""
    (declared,) = [module for module in modules(package) if module.name == "pipeline.capacities"]
    names = [
        node.target.id
        for node in declared.tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    others = [module.text for module in modules(package) if module.name != declared.name]
    for name in names:
        inside = len(re.findall(rf"\b{name}\b", declared.text)) > 1
        if not inside and not any(re.search(rf"\b{name}\b", text) for text in others):
            yield f"{name} bounds nothing"


def missing_files(root: Path, role: str, kind: str) -> Iterator[str]:
    """What a kind lacks of its three files: the module is there, so its test and its page."""
    tests = root / "tests" / role
    if not any(kind in path.name for path in tests.glob("*")):
        yield f"{role} kind {kind!r} has no test: tests/{role}/test_{kind}.py"
    page = root / "docs" / role / f"{kind}.md"
    if not page.is_file():
        yield f"{role} kind {kind!r} has no page: docs/{role}/{kind}.md"
    elif OPTIONS_MARK not in page.read_text("utf-8"):
        yield f"docs/{role}/{kind}.md does not say {OPTIONS_MARK} where its options go"


def undescribed_options(settings: Any) -> Iterator[str]:
    """Options, at any depth, that the generated table could say nothing about."""
    for row in components.options(settings):
        if not row.description:
            yield f"{row.option} has no description"


def libraries(module: Module) -> set[str]:
    """Top-level packages that a module imports, ours and the standard library's included."""
    return {library for _, library in _imports(module)}


def _act(call: ast.Call, room: str) -> str | None:
    """What this call does that a component must not, if it does."""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    # Waiting for new input is reading: a source may, on the clock it was given.
    if last == "sleep" and not (room == "ingest" and name.removesuffix(".sleep").endswith("clock")):
        return "sleeps"
    if last in {
        "create_task_group",
        "create_task",
        "start_soon",
        "TaskGroup",
        "Thread",
        "ThreadPoolExecutor",
    }:
        return "starts a task or a thread"
    if last in {"retry", "Retrying", "AsyncRetrying"}:
        return "retries"
    if last in {"basicConfig", "dictConfig", "addHandler", "setLevel"}:
        return "configures logging"
    return None


def _calls(package: Path) -> Iterator[tuple[Module, ast.Call]]:
    for module in modules(package):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                yield module, node


def _imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node, node.module.partition(".")[0]


def _within(name: str, home: str) -> bool:
    return not home or name == home or name.startswith(f"{home}.")
