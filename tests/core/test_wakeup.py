"""Signals wake whoever waits, however many come at once."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from headrace.core.wakeup import Wakeup


@pytest.fixture
def wakeup() -> Wakeup:
    return Wakeup()


def test_what_was_set_before_is_not_waited_for(wakeup: Wakeup) -> None:
    wakeup.set()
    wakeup.set()
    assert [True, False] == [wakeup.wait(0), wakeup.wait(0)]
    wakeup.close()


def test_nobody_sets_it_and_the_time_ends(wakeup: Wakeup) -> None:
    assert not wakeup.wait(0.01)
    wakeup.close()


def test_more_than_a_pipe_holds_is_as_good_as_one(wakeup: Wakeup) -> None:
    for _ in range(100_000):
        wakeup.set()
    assert [True, False] == [wakeup.wait(0), wakeup.wait(0)]
    wakeup.close()


def test_a_signal_in_the_midst_of_another_ones_handler_hangs_nobody(wakeup: Wakeup) -> None:
    """An event would: the second handler waits for a lock that the first one, below it, holds."""
    before = [signal.signal(number, lambda *_: wakeup.set()) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)

    sender = threading.Thread(target=storm, daemon=True)
    sender.start()
    end = time.monotonic() + 0.5
    woken = 0
    while time.monotonic() < end:
        woken += wakeup.wait(1.0)
    stop.set()
    sender.join()
    for number, handler in zip((signal.SIGUSR1, signal.SIGUSR2), before, strict=True):
        signal.signal(number, handler)
    assert woken > 0
    wakeup.close()
