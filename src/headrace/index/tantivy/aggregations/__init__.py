"""Aggregations: Elasticsearch's requests, answered by the engine where it can, else by queries."""

from headrace.index.tantivy.aggregations.answer import aggregate

__all__ = ["aggregate"]
