"""3. Where records can be found: one module per kind of index."""
