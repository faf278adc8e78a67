"""Every queue's capacity and every batch's size, each with its reason; the flow chart is drawn from here."""

from __future__ import annotations

from typing import Final

BATCH_BYTES: Final = 2 << 20
"""Bytes a source aims at per batch: about 10,000 log lines, where the cost per batch is under 2 % and one
batch still takes under 0.1 s to index."""

RAW_CHANNEL_RECORDS: Final = 100_000
RAW_CHANNEL_BYTES: Final = 4 * BATCH_BYTES
"""Source → transform: two batches hide a slow disk read, two more a long parse; more only adds latency."""

INDEX_CHANNEL_RECORDS: Final = 100_000
INDEX_CHANNEL_BYTES: Final = 4 * BATCH_BYTES
"""Transform → index: what is parsed while the engine commits; four batches cover the longest commit seen
(0.5 s) at 100,000 records/s."""

FRAME_FACTOR: Final = 4
"""Memory of a batch in flight per byte read: the bytes themselves, then the parsed frame or, in its place,
the rows made ready for the index (`_source`, and the same in base64)."""

LIVE_BYTES: Final = 256 << 20
"""Files of all live indexes on tmpfs: seconds of records at full speed, and the merges of minutes."""

COMMIT_RECORDS: Final = 500_000
"""Rows written since the last commit that force one: bounds what a rollback repeats."""

COMMIT_SHARE: Final = 4
"""Under load, time between commits is at least this many times what the last commit took (≤ 20 % of time)."""

COMMIT_TARGET_SECONDS: Final = 0.03
"""A record of a source that keeps up waits no longer for a commit to begin, counted from when it reached us:
its decoding before, the commit and the look of the searcher after it make up the rest of 100 ms."""

WANTED_SECONDS: Final = 0.1
"""A source that keeps up reads when the index can take it, or after so long: others may keep it busy."""

COMMIT_LATE_SHARE: Final = 1
"""Once a record has waited that long, the time between commits is at least this many times what they take:
half of it costs a tenth more CPU, and where that is short, no record is found sooner for it."""

READ_SECONDS: Final = 0.004
"""Between the moment a source that keeps up is told to read and the first step: a look into the buffer."""

COMMIT_LIVE_RECORDS: Final = 4_000
"""So many rows of a source that keeps up need not wait for the target: a commit takes 6 to 9 µs per row that
is still queued in the engine, so a larger one would be late by itself."""

DEAD_LETTER_LIMIT: Final = 1_000_000
"""Dead letters kept per pipeline before it pauses: about 300 MB of log lines."""
