"""What the door sees of a document without building anything of it."""

from __future__ import annotations

import pytest

from headrace.serve.bulk.documents import check


@pytest.mark.parametrize("document", [rb'{"t":"a \ud83d\ude00 \\ud800"}', '{"t":"é"}'.encode()])
def test_whole_characters_are_taken(document: bytes) -> None:
    assert check(document) is None


def test_half_a_character_is_refused_with_its_place() -> None:
    refusal = check(rb'{"t":"\ud800"}')
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (400, r"[1:7] failed to parse: \ud800 is half of a character")
