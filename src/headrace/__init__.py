"""Headrace, an indexer service: ingest → transform → index exactly once → search."""

__version__ = "0.1.0"
