"""Elasticsearch's query DSL as a small tree, checked and without any engine in it."""

from headrace.index.query.parse import parse_query
from headrace.index.query.tree import Node

__all__ = ["Node", "parse_query"]
