"""Elasticsearch's query DSL as a small tree, checked and without any engine in it."""
