"""However requests were cut, merged and read again, the records, their numbers and operations are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from headrace.buffer.base import BULK, BulkHead, Entry, Stored, pack_head
from headrace.ingest.formats.base import FormatOptions
from headrace.ingest.http_push.merge import Merger
from headrace.model import RawBatch
from ingest.http_push.pushing import asked, entry, records

Wish = tuple[str, str | None, int | None, str | None, dict[str, int] | None]
"""letter, id, if_seq, body, document"""

documents = st.dictionaries(st.sampled_from("abc"), st.integers(-5, 5), min_size=1)
ids = st.none() | st.sampled_from(["x", "y", "ä", "1"])
sequences = st.none() | st.integers(0, 9)
wishes = st.one_of(
    st.tuples(st.sampled_from("ic"), ids, sequences, st.none(), documents),
    st.tuples(st.just("u"), st.sampled_from("xy"), sequences, st.just("{}"), st.none() | documents),
    st.tuples(st.just("d"), st.sampled_from("xy"), sequences, st.none(), st.none()),
)
requests = st.lists(st.tuples(st.lists(wishes, min_size=1, max_size=6), st.booleans()), max_size=8)


def stored(entries: Sequence[Entry]) -> list[Stored]:
    found: list[Stored] = []
    for at, one in enumerate(entries):
        found.append(Stored(one, found[-1].end if found else 7, 100.0 + at))
    return found


def merged(found: Sequence[Stored], batch_bytes: int) -> list[RawBatch]:
    return list(Merger("part", "push p", FormatOptions(), {}, batch_bytes).batches(found))


def request(of: Sequence[Wish], exact: bool) -> Entry:
    head = BulkHead(
        ops="".join(one[0] for one in of),
        ids=[one[1] for one in of],
        if_seq={at: one[2] for at, one in enumerate(of) if one[2] is not None},
        bodies={at: one[3] for at, one in enumerate(of) if one[3] is not None},
        exact=exact,
    )
    lines = [b"" if one[4] is None else json.dumps(one[4]).encode() for one in of]
    return Entry("p", len(of), BULK, b"".join(line + b"\n" for line in lines), pack_head(head))


def expected(made: Sequence[tuple[Sequence[Wish], bool]]) -> list[dict[str, Any]]:
    rows, number = [], 7
    names = {"i": "index", "c": "create", "u": "update", "d": "delete"}
    for of, exact in made:
        for letter, identity, if_seq, body, _ in of:
            row = {"_record": number, "op": names[letter], "id": identity, "body": body, "if_seq": if_seq}
            if exact or (letter, identity, if_seq) != ("i", None, None):
                rows.append({**row, "exact": exact})
            number += 1
    return rows


@given(requests, st.sampled_from([1, 60, 10_000]))
def test_any_requests_in_any_batches_are_the_same_records_and_operations(
    made: list[tuple[list[Wish], bool]], batch_bytes: int
) -> None:
    batches = merged(stored([request(*one) for one in made]), batch_bytes)
    every = [wish for of, _ in made for wish in of]
    assert {n: one[4] for n, one in enumerate(every, start=7) if one[4] is not None} == records(batches)
    assert expected(made) == asked(batches)
    assert len(every) == sum(raw.decoder.decode(raw).records for raw in batches)
    ends = [7, *(raw.position.record for raw in batches)]
    assert ends[:-1] == [raw.first_record for raw in batches]


@given(requests, st.data())
def test_read_again_from_any_record_the_rest_is_the_same(
    made: list[tuple[list[Wish], bool]], data: st.DataObject
) -> None:
    found = stored([request(*one) for one in made])
    whole = merged(found, 80)
    after = data.draw(st.integers(7, found[-1].end if found else 7))
    again = merged([one for one in found if one.end > after], data.draw(st.sampled_from([1, 50, 10_000])))
    assert {n: d for n, d in records(whole).items() if n >= after} == {
        n: d for n, d in records(again).items() if n >= after
    }
    assert [row for row in asked(whole) if row["_record"] >= after] == [
        row for row in asked(again) if row["_record"] >= after
    ]


lines = st.lists(
    st.sampled_from(['{"a": 1}', "", "  ", "nonsense", "[1]", '{"a": "x"}', '{"_id": 1}', '{"a": 1, "a": 2}'])
)


@given(st.lists(lines, max_size=6), st.sampled_from([1, 40, 10_000]))
def test_good_and_bad_lines_are_counted_once_each_with_the_number_the_door_gave_them(
    bodies: list[list[str]], batch_bytes: int
) -> None:
    entries = []
    for body in bodies:
        text = "\n".join(['{"a": 0}', *body]).encode()
        entries.append(entry(text))
    batches = merged(stored(entries), batch_bytes)
    decoded = [raw.decoder.decode(raw) for raw in batches]
    refused = [rejection.record for one in decoded for rejection in one.rejections]
    numbers = sorted([*records(batches), *refused])
    texts: dict[int, str] = {}
    at = 7
    for body, one in zip(bodies, entries, strict=True):
        texts |= {at + place: line for place, line in enumerate(['{"a": 0}', *body])}
        at += one.records
    assert [n for n, line in texts.items() if line.strip()] == numbers
    assert len(numbers) == sum(one.records for one in decoded)
    good = {'{"a": 0}', '{"a": 1}', '{"a": "x"}'}
    assert {n for n, line in texts.items() if line in good} == set(records(batches))


@given(st.lists(st.lists(documents, max_size=5), max_size=6), st.sampled_from([1, 40, 10_000]))
def test_arrays_of_many_requests_give_each_element_its_own_number(
    arrays: list[list[dict[str, int]]], batch_bytes: int
) -> None:
    entries = [entry(json.dumps(one, indent=2).encode(), kind="json") for one in arrays if one]
    every = [document for one in arrays for document in one]
    assert dict(enumerate(every, start=7)) == records(merged(stored(entries), batch_bytes))
