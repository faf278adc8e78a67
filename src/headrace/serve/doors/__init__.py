"""Who may come in, with what, and how much of it: keys, scopes, and bounds for each client."""

from headrace.serve.doors.door import Door
from headrace.serve.doors.doors import Doors
from headrace.serve.doors.exposure import check_exposed
from headrace.serve.doors.keyring import Keyring

__all__ = ["Door", "Doors", "Keyring", "check_exposed"]
