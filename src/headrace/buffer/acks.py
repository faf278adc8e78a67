"""How far each subscriber of the buffer is: one small JSON file each, which holds for one incarnation only.

The server makes and removes subscriptions, the ingester moves them. Nothing is synced: a position that is
lost in a power failure only keeps a file of the buffer a little longer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from headrace.buffer.base import Acknowledged
from headrace.core.errors import Retryable, StoreError

FOLDER: Final = "acks"
SUFFIX: Final = ".json"
DAMAGED: Final = ".damaged"
NAME_BYTES: Final = 200


class Subscription(msgspec.Struct, frozen=True):
    """`positions` count in the logs of `incarnation`; in those of another buffer they say nothing."""

    subscriber: str
    positions: dict[str, int]
    incarnation: str = ""


def subscribe(directory: Path, subscriber: str, log: str) -> None:
    """From now on `subscriber` holds every record of `log` it has not passed. Again: changes nothing."""
    with _locked(directory):
        try:
            known = _read(_path(directory, subscriber))
        except StoreError:
            # Half a file, after a power failure: from the start again, which holds more than is needed.
            known = None
        if known is None:
            _write(directory, Subscription(subscriber, {log: 0}))
        elif log not in known.positions:
            more = {**known.positions, log: 0}
            _write(directory, msgspec.structs.replace(known, positions=more))


def unsubscribe(directory: Path, subscriber: str, log: str | None = None) -> bool:
    """Let go of one log, or of all; whether there was anything to let go of."""
    with _locked(directory):
        path = _path(directory, subscriber)
        known = _read(path)
        if known is None or (log is not None and log not in known.positions):
            return False
        left = {name: at for name, at in known.positions.items() if log is not None and name != log}
        if left:
            _write(directory, msgspec.structs.replace(known, positions=left))
        else:
            path.unlink(missing_ok=True)
        return True


def acknowledge(directory: Path, subscriber: str, positions: Acknowledged, *, incarnation: str) -> bool:
    """Say that every record before these is durable in the subscriber's index, or of no use to it.

    Only logs it is subscribed to are noted: a position that comes late cannot bring a subscription back.
    Returns whether any was. Raises Retryable (no space), StoreError.
    """
    if not (directory / FOLDER).is_dir():
        return False
    with _locked(directory):
        known = _read(_path(directory, subscriber))
        if known is None:
            return False
        old = known.positions
        if known.incarnation not in {"", incarnation}:
            # Positions in another buffer's logs say nothing about this one's: they begin at 0 again.
            old = dict.fromkeys(old, 0)
        new = {log: positions.get(log, at) for log, at in old.items()}
        if (new, incarnation) != (known.positions, known.incarnation):
            _write(directory, Subscription(subscriber, new, incarnation))
        return bool(new.keys() & positions.keys())


def subscriptions(directory: Path, *, incarnation: str | None = None) -> dict[str, dict[str, int]]:
    """Subscriber → log → record number it has passed; 0 where that was said of another incarnation.

    Raises StoreError where one cannot be read: then nothing may be released.
    """
    return Subscriptions(directory).read(incarnation)


class Subscriptions:
    """The same, asked again and again: only files that changed are read. Of one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER
        self._known: dict[str, tuple[tuple[int, int, int], Subscription]] = {}

    def read(self, incarnation: str | None) -> dict[str, dict[str, int]]:
        """See `subscriptions`."""
        known, self._known = self._known, {}
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    self._take(entry, known.get(entry.name))
        found: dict[str, dict[str, int]] = {}
        for _, subscription in sorted(self._known.values(), key=lambda known: known[1].subscriber):
            of_another = incarnation is not None and subscription.incarnation not in {"", incarnation}
            positions = subscription.positions
            found[subscription.subscriber] = dict.fromkeys(positions, 0) if of_another else positions
        return found

    def _take(self, entry: os.DirEntry[str], known: tuple[tuple[int, int, int], Subscription] | None) -> None:
        try:
            status = entry.stat()
        except FileNotFoundError:
            return
        mark = status.st_ino, status.st_mtime_ns, status.st_size
        if known is not None and known[0] == mark:
            self._known[entry.name] = known
            return
        subscription = _read(Path(entry.path))
        if subscription is not None:
            self._known[entry.name] = mark, subscription


def report_damage(directory: Path, file: Path, reason: str) -> None:
    """Tell the writer that a file of the chain is damaged: it alone may rename or leave it."""
    with suppress(OSError):
        # Only a report: where it cannot be made, whoever reads still knows, and says it.
        if (directory / FOLDER).is_dir():
            report = directory / FOLDER / f"{file.name}{DAMAGED}"
            if not report.exists():
                report.write_text(reason)


def damage_reports(directory: Path) -> dict[str, str]:
    """File name → what is wrong with it, once each."""
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for path in sorted((directory / FOLDER).glob(f"*{DAMAGED}")):
            found[path.name.removesuffix(DAMAGED)] = path.read_text(errors="replace")
    return found


def forget_damage(directory: Path, file: str) -> None:
    """The file is out of the chain."""
    (directory / FOLDER / f"{file}{DAMAGED}").unlink(missing_ok=True)


def file_name(subscriber: str) -> str:
    """A file name for any text, another one for another text, none longer than a file system takes."""
    quoted = quote(subscriber, safe="").replace(".", "%2E")
    if len(quoted) <= NAME_BYTES:
        return f"{quoted}{SUFFIX}"
    return f"{quoted[:NAME_BYTES]}~{blake2b(subscriber.encode(), digest_size=12).hexdigest()}{SUFFIX}"


def _path(directory: Path, subscriber: str) -> Path:
    return directory / FOLDER / file_name(subscriber)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # Server and ingester both read, change and replace these files: without it one could undo the other.
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Subscription | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Subscription)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise StoreError(
            f"{path}: not readable as a subscriber's position ({error}), nothing is released; restart the "
            "server, which makes it anew"
        ) from error


def _write(directory: Path, subscription: Subscription) -> None:
    path = _path(directory, subscription.subscriber)
    staged = path.with_suffix(".tmp")
    try:
        staged.write_bytes(msgspec.json.encode(subscription))
        staged.replace(path)
    except OSError as error:
        # The position stays as it was: what it holds is only held longer.
        staged.unlink(missing_ok=True)
        raise Retryable(f"{path}: cannot be written ({error.strerror}), free some space") from error


def passed_by_all(subscribed: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Per log: the number every subscriber of it has passed. A log that is missing holds nothing."""
    least: dict[str, int] = {}
    for positions in subscribed.values():
        for log, at in positions.items():
            least[log] = min(least.get(log, at), at)
    return least
