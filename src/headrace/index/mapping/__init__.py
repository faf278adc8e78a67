"""Elasticsearch's mappings: read into options of `type: tantivy`, and shown again as `_mapping` has them."""

from headrace.index.mapping.elasticsearch import Mapped, from_elasticsearch
from headrace.index.mapping.shown import ELASTICSEARCH_TYPES, mapping

__all__ = ["ELASTICSEARCH_TYPES", "Mapped", "from_elasticsearch", "mapping"]
