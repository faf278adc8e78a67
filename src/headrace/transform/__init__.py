"""2. What becomes of records: one module per kind of step."""
