"""The indexes made at run time: name, identity, mapping, aliases; one file, written by the server alone."""
