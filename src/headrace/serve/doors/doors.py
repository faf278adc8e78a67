"""All that stands before the application, as the settings of the server say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from starlette.middleware import Middleware

from headrace.serve.doors.door import Door
from headrace.settings import CorsSettings

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
HEADERS: Final = (
    "Authorization", "Content-Type", "Content-Encoding", "Headrace-Ack", "Idempotency-Key", "X-Opaque-Id",
    "X-Requested-With", "X-Elastic-Client-Meta",
)  # fmt: skip
EXPOSED: Final = ("X-Elastic-Product", "Headrace-Token", "Location", "Retry-After", "Warning")


@dataclass(frozen=True, slots=True)
class Doors:
    """The door, and which pages of other origins may come to it."""

    door: Door = field(default_factory=Door)
    cors: CorsSettings | None = None

    def middleware(self) -> list[Middleware]:
        """Outermost first: a browser's question before the request carries no key."""
        found: list[Middleware] = []
        if self.cors is not None:
            from starlette.middleware.cors import CORSMiddleware

            cors = Middleware(
                CORSMiddleware,
                allow_origins=self.cors.origins,
                allow_methods=METHODS,
                allow_headers=[*HEADERS, *self.cors.headers],
                allow_credentials=self.cors.credentials,
                expose_headers=EXPOSED,
                max_age=int(self.cors.max_age),
            )
            found.append(cors)
        return [*found, Middleware(self.door.around)]
