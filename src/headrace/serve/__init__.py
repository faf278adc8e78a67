"""4. How records are found: the HTTP surface."""
