"""How the stages run together: all concurrency is here."""
