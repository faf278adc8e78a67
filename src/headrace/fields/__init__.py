"""What a field of an index is: its type as declared, and how values of other types become it.

Shared by `validate`, which coerces, and the indexes, which store. Elasticsearch's type names are accepted
beside ours and reported back as given.
"""

from headrace.fields.addresses import IP, IPV4, IPV6
from headrace.fields.casting import cast, located, named, without
from headrace.fields.dates import from_iso
from headrace.fields.declared import (
    ELASTICSEARCH_NAMES,
    POLARS_TYPES,
    Field,
    FieldType,
    parse_field,
    parse_fields,
)
from headrace.fields.hints import Hints, hints_of

__all__ = [
    "ELASTICSEARCH_NAMES",
    "IP",
    "IPV4",
    "IPV6",
    "POLARS_TYPES",
    "Field",
    "FieldType",
    "Hints",
    "cast",
    "from_iso",
    "hints_of",
    "located",
    "named",
    "parse_field",
    "parse_fields",
    "without",
]
