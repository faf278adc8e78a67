"""Positions of subscribers: small files, moved by one process, made and removed by another."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.buffer.acks import (
    Subscriptions,
    acknowledge,
    file_name,
    passed_by_all,
    subscribe,
    subscriptions,
    unsubscribe,
)
from headrace.core.errors import StoreError


def test_a_subscription_begins_at_0_and_moves(tmp_path: Path) -> None:
    """Subscribing again changes nothing."""
    assert {} == subscriptions(tmp_path)
    subscribe(tmp_path, "p", "a")
    subscribe(tmp_path, "p", "b")
    assert acknowledge(tmp_path, "p", {"a": 5, "unknown": 7}, incarnation="i")
    subscribe(tmp_path, "p", "a")
    assert {"p": {"a": 5, "b": 0}} == subscriptions(tmp_path, incarnation="i")
    assert {"p": {"a": 0, "b": 0}} == subscriptions(tmp_path, incarnation="another")
    assert {"a": 5, "b": 0} == passed_by_all(subscriptions(tmp_path))


def test_a_late_position_brings_no_subscription_back(tmp_path: Path) -> None:
    """Removed is removed, whatever the ingester still says."""
    subscribe(tmp_path, "p", "a")
    subscribe(tmp_path, "p", "b")
    assert unsubscribe(tmp_path, "p", "a")
    assert not acknowledge(tmp_path, "p", {"a": 5}, incarnation="i")
    assert {"p": {"b": 0}} == subscriptions(tmp_path)
    assert unsubscribe(tmp_path, "p")
    assert not unsubscribe(tmp_path, "p")
    assert not acknowledge(tmp_path, "p", {"b": 5}, incarnation="i")
    assert {} == subscriptions(tmp_path)


def test_positions_of_another_buffer_are_begun_again(tmp_path: Path) -> None:
    """A log that the new incarnation's first acknowledgement does not name is held from 0."""
    subscribe(tmp_path, "p", "a")
    subscribe(tmp_path, "p", "b")
    acknowledge(tmp_path, "p", {"a": 5, "b": 6}, incarnation="old")
    acknowledge(tmp_path, "p", {"a": 1}, incarnation="new")
    assert {"p": {"a": 1, "b": 0}} == subscriptions(tmp_path, incarnation="new")


def test_an_unreadable_position_releases_nothing_and_is_made_anew(tmp_path: Path) -> None:
    """Half a file after a power failure: an error until the server subscribes again, then from 0."""
    subscribe(tmp_path, "p", "a")
    (tmp_path / "acks" / file_name("p")).write_bytes(b"")
    with pytest.raises(StoreError, match=r"nothing is released"):
        subscriptions(tmp_path)
    subscribe(tmp_path, "p", "a")
    assert {"p": {"a": 0}} == subscriptions(tmp_path)


def test_asking_again_sees_what_changed(tmp_path: Path) -> None:
    """Only changed files are read, and none that changed is missed."""
    asked = Subscriptions(tmp_path)
    for n in range(50):
        subscribe(tmp_path, "p", "a")
        acknowledge(tmp_path, "p", {"a": n}, incarnation="i")
        assert {"p": {"a": n}} == asked.read("i")
    unsubscribe(tmp_path, "p")
    assert {} == asked.read("i")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300), unique=True, max_size=4
    )
)
def test_any_text_can_be_a_subscriber(names: list[str]) -> None:
    """Each in a file of its own, inside the folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            subscribe(Path(folder), name, name)
        assert {name: {name: 0} for name in names} == subscriptions(Path(folder))
