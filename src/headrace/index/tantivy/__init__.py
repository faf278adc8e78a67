"""Tantivy, the embedded index: documents and positions in one commit, upserts and deletes by id."""
