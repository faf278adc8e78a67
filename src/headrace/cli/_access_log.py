"""Access-log events for the demonstration: seeded, so that everybody sees the same; no download."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

PATHS = (
    "/",
    "/search",
    "/login",
    "/cart",
    "/checkout",
    "/api/items",
    "/api/orders",
    "/static/app.js",
    "/about",
)
WEIGHTS = (20, 18, 6, 7, 3, 22, 9, 12, 3)
AGENTS = ("Firefox/143", "Chrome/156", "Safari/26", "curl/8.9", "Googlebot/2.1")
COUNTRIES = ("DE", "US", "FR", "IN", "BR", "JP", "GB", "NG")
MESSAGES = {
    200: ("served from cache", "request completed", "page rendered for a returning visitor"),
    301: ("moved to the canonical address",),
    404: ("no such page, the link came from an old newsletter", "item is sold out and gone"),
    429: ("rate limit of this client reached",),
    500: ("database connection lost while writing the order", "timeout waiting for the payment provider"),
}
STATUS_WEIGHTS = (90, 3, 4, 1, 2)


def events(count: int, *, end: datetime | None = None, seed: int = 7) -> Iterator[str]:
    """JSON lines of `count` events spread over the day before `end` (now, if not given)."""
    dice = random.Random(seed)  # noqa: S311  a demonstration, not a secret
    end = end or datetime.now(UTC)
    step = timedelta(days=1) / max(1, count)
    for number in range(count):
        yield event(dice, end - step * (count - number))


def event(dice: random.Random, time: datetime) -> str:
    """One event as a JSON line, without its line feed."""
    status = dice.choices(tuple(MESSAGES), STATUS_WEIGHTS)[0]
    return json.dumps(
        {
            "time": time.isoformat(timespec="microseconds"),
            "client": ".".join(str(dice.randint(11, 254)) for _ in range(4)),
            "country": dice.choice(COUNTRIES),
            "method": "POST" if dice.random() < 0.1 else "GET",
            "path": dice.choices(PATHS, WEIGHTS)[0],
            "status": status,
            "bytes": dice.randint(200, 50_000),
            "duration_ms": round(dice.lognormvariate(3, 1), 2),
            "agent": dice.choice(AGENTS),
            "message": dice.choice(MESSAGES[status]),
        },
        separators=(",", ":"),
    )
