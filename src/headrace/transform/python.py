"""Call a Python function of a frame: the batch goes in, the batch comes out, `_record` kept.

The function runs in the pipeline's own process and is trusted: it must be row-wise, for it is called again
on parts of a batch to find the record that made it fail.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import polars as pl
from msgspec import Meta

from headrace.core.errors import ConfigError, Fatal
from headrace.core.registry import suggest
from headrace.model import RECORD, Rejection
from headrace.transform.base import Outcome, TransformContext

Function: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of `python`."""

    function: Annotated[
        str,
        Meta(
            description="`package.module:name`, or `./file.py:name` beside the configuration.",
            pattern=r"^[^:]+:[A-Za-z_][A-Za-z_0-9]*$",
        ),
    ]


examples = ({"function": "./enrich.py:add_region"},)


def create(settings: Settings, context: TransformContext) -> Python:
    return Python(settings.function, context)


class Python:
    """Applies one function; an exception costs the records that raise it, a broken contract the pipeline."""

    def __init__(self, function: str, context: TransformContext) -> None:
        self._name = function
        self._context = context
        self._function: Function | None = None
        self._nothing = pl.DataFrame()

    def bind(self, schema: pl.Schema) -> pl.Schema:
        """Import the function and try it on an empty frame."""
        self._function = _imported(self._name, self._context.base)
        empty = pl.DataFrame(schema=schema)
        try:
            returned = self._function(empty)
        except Exception as error:
            raise ConfigError(
                f"{self._name} failed on an empty frame: {_text(error)}", path=("function",)
            ) from error
        try:
            self._nothing = self._checked(empty, returned)
        except Fatal as error:
            raise ConfigError(str(error), path=("function",)) from None
        return self._nothing.schema

    def apply(self, frame: pl.DataFrame) -> Outcome:
        kept, rejections = self._call(frame)
        if not kept:
            # With the function's own columns: the next step may name them.
            return Outcome(self._nothing, tuple(rejections))
        rows = pl.concat(kept, how="diagonal_relaxed") if len(kept) > 1 else kept[0]
        return Outcome(rows, tuple(rejections), dropped=frame.height - rows.height - len(rejections))

    def close(self) -> None: ...

    def _call(self, frame: pl.DataFrame) -> tuple[list[pl.DataFrame], list[Rejection]]:
        assert self._function is not None, "bound before applied"
        try:
            returned = self._function(frame)
        except Exception as error:  # noqa: BLE001  a user's function may raise anything
            if frame.height <= 1:
                return [], [
                    Rejection(record, self._context.step, "python_error", f"{self._name}: {_text(error)}")
                    for record in frame[RECORD]
                ]
        else:
            return [self._checked(frame, returned)], []
        half = frame.height // 2
        left, right = self._call(frame[:half]), self._call(frame[half:])
        return left[0] + right[0], left[1] + right[1]

    def _checked(self, given: pl.DataFrame, returned: object) -> pl.DataFrame:
        """What came back, in the order of what went in; raises Fatal for a broken contract."""
        if not isinstance(returned, pl.DataFrame):
            raise Fatal(f"{self._name} returned {type(returned).__name__}, expected a polars DataFrame")
        if returned.schema.get(RECORD) != given.schema[RECORD]:
            raise Fatal(
                f"{self._name} lost or changed the column {RECORD!r}, which says where a row came from"
            )
        if returned[RECORD].equals(given[RECORD]):
            return returned
        if returned[RECORD].is_duplicated().any():
            raise Fatal(f"{self._name} returned a record twice: each row must keep its own {RECORD!r}")
        ordered = given.select(RECORD).join(returned, on=RECORD, how="inner", maintain_order="left")
        if ordered.height != returned.height:
            raise Fatal(f"{self._name} returned a record it was not given: rows must keep their {RECORD!r}")
        return ordered.select(returned.columns)


def _imported(name: str, base: Path) -> Function:
    module_name, _, attribute = name.partition(":")
    module = _from_file(base / module_name) if module_name.endswith(".py") else _from_path(module_name, base)
    function = getattr(module, attribute, None)
    if not callable(function):
        public = [item for item in vars(module) if not item.startswith("_")]
        raise ConfigError(
            f"{module_name} has no function {attribute!r}, {suggest(attribute, public)}", path=("function",)
        )
    called: Function = function
    return called


def _from_file(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(f"headrace_function_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"no Python file at {path}", path=("function",))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path.name} cannot be imported: {_text(error)}", path=("function",)) from error
    return module


def _from_path(module_name: str, base: Path) -> object:
    """Installed packages first; the configuration's folder is searched last, and only during the import."""
    folder = str(base.resolve())
    added = folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"{module_name} cannot be imported: {_text(error)}", path=("function",)) from error
    finally:
        if added:
            sys.path.remove(folder)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
