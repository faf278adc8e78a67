"""Add fields from an HTTP service by key: asked once per distinct key, and not again while the cache knows.

What the service is away for is declared: keep the record and mark it, hold the pipeline, or dead-letter.
"""

from __future__ import annotations

from headrace.core.dependency import BOUNDED, Limits
from headrace.transform.base import TransformContext
from headrace.transform.http_lookup.options import Settings, added_fields, check
from headrace.transform.http_lookup.service import Service
from headrace.transform.http_lookup.step import HttpLookup

__all__ = ["Settings", "create", "examples"]

examples = (
    {
        "url": "http://localhost:8080/customers/{customer}",
        "key": "customer",
        "add": {"customer_name": "name", "customer_country": "address.country"},
        "headers": {"authorization": "Bearer secret"},
        "on_outage": "keep_marked",
    },
    {
        "url": "http://localhost:8080/customers/_bulk",
        "mode": "post_batch",
        "key": "customer",
        "results": "customers",
        "item_key": "id",
        "add": ["name"],
        "on_miss": "reject",
    },
)


def create(settings: Settings, context: TransformContext) -> HttpLookup:
    check(settings)
    dependency = context.dependency(
        "lookup",
        policy=BOUNDED,
        limits=Limits(timeout=settings.timeout, patience=settings.patience, concurrency=settings.concurrency),
    )
    fields = added_fields(settings, context.fields)
    return HttpLookup(settings, context, fields, Service(settings, fields, dependency), dependency)
