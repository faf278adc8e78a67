"""What people type: one module per command group, imported only when its command is invoked."""

from headrace.cli.app import main

__all__ = ["main"]
