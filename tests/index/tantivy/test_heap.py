"""Many indexes that are written at once share the memory of one process."""

from __future__ import annotations

import pytest

from headrace.core.errors import Retryable
from headrace.index.tantivy.heap import Heap

MB = 1_000_000


class Holder:
    """Whoever holds a share."""


def test_the_first_get_what_they_ask_for_and_later_ones_what_is_left() -> None:
    """Never less than one thread needs."""
    heap, holders = Heap(total=250 * MB, most=4), [Holder() for _ in range(4)]
    shares = [heap.take(holder, 200 * MB, 2) for holder in holders]
    assert [(200 * MB, 2), (50 * MB, 2), (16 * MB, 1), (16 * MB, 1)] == shares


def test_no_more_are_open_at_once_than_may_be() -> None:
    """The next one is told to come back, and does when one has given its share back, or is gone."""
    heap, first, second, third = Heap(total=100 * MB, most=2), Holder(), Holder(), Holder()
    heap.take(first, MB * 20, 1)
    heap.take(second, MB * 20, 1)
    with pytest.raises(Retryable, match="2 indexes are written at once") as told:
        heap.take(third, MB * 20, 1)
    assert told.value.after == 1.0
    heap.give_back(second)
    assert (20 * MB, 1) == heap.take(third, MB * 20, 1)
    del first
    assert (20 * MB, 1) == heap.take(second, MB * 20, 1)


def test_it_is_crowded_before_the_last_place_is_taken() -> None:
    heap, holders = Heap(total=100 * MB, most=4), [Holder() for _ in range(3)]
    heap.take(holders[0], MB, 1)
    assert not heap.crowded
    for holder in holders[1:]:
        heap.take(holder, MB, 1)
    assert heap.crowded


def test_whoever_takes_again_holds_one_share() -> None:
    heap, holder = Heap(total=100 * MB, most=1), Holder()
    assert heap.take(holder, 80 * MB, 2) == heap.take(holder, 80 * MB, 2) == (80 * MB, 2)
