"""The composition root: settings → components → owners and pipelines. Wiring only."""

from headrace.app.ingester import Ingester, build_ingester, own_interrupts
from headrace.app.parts import is_pushed, make_index, make_source

__all__ = ["Ingester", "build_ingester", "is_pushed", "make_index", "make_source", "own_interrupts"]
