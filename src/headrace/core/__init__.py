"""Tools that know nothing of records; imports nothing of ours."""
