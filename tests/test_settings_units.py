"""Durations, sizes and secrets as written in settings."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.units import Duration, Secret, Size, decode, encode, human


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("1.5 h", 5400), ("0", 0)],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert seconds == pytest.approx(Duration(text))


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64_000_000), ("1GiB", 1 << 30), ("10", 10), ("1.5 kB", 1500), ("2kb", 2000)]
)
def test_a_size_is_a_number_with_its_unit(text: str, size: int) -> None:
    assert size == Size(text)


@pytest.mark.parametrize("text", ["", "s", "5", "5 parsecs", "-1s", "1s x", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration(text)


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "1 XB", "1,5MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Size(text)


@given(st.integers(0, 10**7))
def test_a_duration_of_whole_milliseconds_reads_back_as_written(milliseconds: int) -> None:
    duration = Duration(f"{milliseconds}ms")
    assert float(duration) == pytest.approx(float(Duration(str(duration))))


@given(st.integers(0, 1 << 40))
def test_a_size_reads_back_as_written(size: int) -> None:
    assert size == Size(str(Size(size)))


def test_people_read_three_digits() -> None:
    assert ["0 B", "999 B", "1.5 kB", "64 MB", "1.07 GB"] == [
        human(size) for size in (0, 999, 1500, 64_000_000, 1 << 30)
    ]


def test_a_secret_shows_stars_everywhere() -> None:
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        str([secret]),
        msgspec.json.encode(secret, enc_hook=encode).decode(),
    ]
    assert ["***", "***", "***", "[***]", '"***"'] == shown
    assert "hunter2" == secret.reveal()


def test_a_secret_cannot_be_copied_into_a_file_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("x"))
    with pytest.raises(TypeError):
        copy.copy(Secret("x"))


def test_secrets_are_compared_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert 1 == len({Secret("a"), Secret("a")})


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_secret_is_an_error_not_an_open_door(empty: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        Secret(empty)


@pytest.mark.parametrize(
    ("kind", "value"), [(Duration, 5), (Size, True), (Size, -1), (Size, 1.5), (Secret, 5)]
)
def test_a_value_of_the_wrong_type_is_a_validation_error(kind: type, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, kind, dec_hook=decode)
