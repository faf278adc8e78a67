"""Each record keeps the number it was promised; what cannot be read costs nothing but itself."""

from __future__ import annotations

import io
import json
import time

import polars as pl
import pytest

from headrace.buffer.base import BULK, BulkHead, Entry, Stored, pack_head
from headrace.ingest import http_push
from headrace.ingest.formats.base import FormatOptions
from headrace.ingest.http_push.merge import Merger
from headrace.ingest.http_push.operations import operations
from headrace.model import Decoded, RawBatch
from ingest.http_push.pushing import asked, bulk, entry, records

NARROW = FormatOptions(max_record_bytes=30)


def merged(*entries: Entry, first: int = 100, options: FormatOptions | None = None) -> list[RawBatch]:
    stored: list[Stored] = []
    for one in entries:
        stored.append(Stored(one, stored[-1].end if stored else first, 5.0))
    options = options or http_push.Settings().format
    return list(Merger("part", "push orders", options, {}, 1 << 20).batches(stored))


def decoded(raw: RawBatch) -> Decoded:
    return raw.decoder.decode(raw)


def reasons(raw: RawBatch) -> list[tuple[int, str]]:
    return [(rejection.record, rejection.reason) for rejection in decoded(raw).rejections]


def test_a_thousand_small_requests_become_one_batch() -> None:
    (raw,) = merged(*[bulk(b'{"n": %d}' % n) for n in range(1000)])
    assert [{"n": n} for n in range(1000)] == list(records([raw]).values())
    assert (100, 1100, None) == (raw.first_record, raw.position.record, raw.operations)
    assert raw.numbered


def test_kinds_do_not_mix_and_a_gap_is_not_bridged() -> None:
    assert 3 == len(merged(bulk(b'{"a": 1}'), entry(b'{"a": 2}'), bulk(b'{"a": 3}')))
    one, other = Stored(bulk(b'{"a": 1}'), 0, 1.0), Stored(bulk(b'{"a": 2}'), 5, 2.0)
    batches = list(Merger("part", "push p", FormatOptions(), {}, 1000).batches([one, other]))
    assert [(0, 1), (5, 6)] == [(raw.first_record, raw.position.record) for raw in batches]


def test_a_batch_is_as_old_as_its_oldest_entry() -> None:
    found = [Stored(bulk(b'{"a": 1}'), 0, 3.0), Stored(bulk(b'{"a": 1}'), 1, 2.0)]
    (raw,) = Merger("part", "push p", FormatOptions(), {}, 1000).batches(found)
    assert 2.0 == raw.accepted_at


def test_operations_without_a_document_are_records_too() -> None:
    head = BulkHead(ops="idu", ids=[None, "x", "y"], bodies={2: '{"doc":{}}'})
    (raw,) = merged(bulk(b'{"a": 1}', b"", b"", head=head))
    assert 3 == decoded(raw).records
    assert {100: {"a": 1}} == records([raw])
    assert [(101, "delete", "x", None), (102, "update", "y", '{"doc":{}}')] == [
        (row["_record"], row["op"], row["id"], row["body"]) for row in asked([raw])
    ]


def test_an_index_operation_without_its_document_is_rejected_not_lost() -> None:
    (raw,) = merged(bulk(b'{"a": 1}', b"", head=BulkHead(ops="ii")))
    assert [(101, "malformed")] == reasons(raw)
    assert 2 == decoded(raw).records


def test_a_bad_document_among_deletes_is_named_by_its_own_number() -> None:
    head = BulkHead(ops="didi", ids=["x", None, "y", None])
    (raw,) = merged(bulk(b"", b'{"a": }', b"", b'{"a": 2}', head=head))
    assert {103: {"a": 2}} == records([raw])
    (rejection,) = decoded(raw).rejections
    assert (101, "malformed", b'{"a": }') == (rejection.record, rejection.reason, rejection.original)
    assert rejection.detail.startswith("push orders: record 101: not JSON")


def test_reserved_fields_and_other_values_are_rejected() -> None:
    (raw,) = merged(bulk(b'{"_id": 1}', b"[1]", b'{"a": 1}'))
    assert [(100, "reserved_field"), (101, "not_an_object")] == reasons(raw)


def test_a_record_over_the_limit_is_rejected_alone() -> None:
    long = json.dumps({"text": "x" * 40}).encode()
    for raw in [
        *merged(bulk(b'{"a": 1}', long, b'{"a": 2}'), options=NARROW),
        *merged(
            entry(b"[" + b",".join([b'{"a": 1}', long, b'{"a": 2}']) + b"]", kind="json"), options=NARROW
        ),
    ]:
        assert [(101, "record_too_large")] == reasons(raw)
        assert [100, 102] == list(records([raw]))
        assert 3 == decoded(raw).records


@pytest.mark.parametrize(
    "head",
    [
        pack_head(BulkHead(ops="iii")),
        pack_head(BulkHead(ops="x")),
        pack_head(BulkHead(ids=["a", "b"])),
        pack_head(BulkHead(if_seq={4: 1})),
        b"\xc1nonsense",
    ],
)
def test_an_entry_whose_head_fits_not_its_records_goes_to_the_dead_letters_alone(head: bytes) -> None:
    broken = Entry("p", 1, BULK, b'{"a": 1}\n', head)
    before, raw, after = merged(bulk(b'{"a": 0}'), broken, bulk(b'{"a": 2}'))
    assert [(101, "malformed")] == reasons(raw)
    assert b'{"a": 1}\n' == decoded(raw).rejections[0].original
    assert {100: {"a": 0}, 102: {"a": 2}} == records([before, after])


def test_a_kind_this_version_does_not_know_is_kept_as_dead_letters() -> None:
    (raw,) = merged(Entry("p", 2, "avro", b"..."))
    assert [(100, "malformed"), (101, "malformed")] == reasons(raw)
    assert "kind 'avro'" in decoded(raw).rejections[0].detail


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("ndjson", b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'),
        ("json", b'[{"a": 1}, {"a": 2}, {"a": 3}]'),
        ("csv", b"a\n1\n2\n3\n"),
    ],
)
def test_what_is_more_than_was_accepted_is_rejected_and_said(kind: str, body: bytes) -> None:
    raw, _ = merged(entry(body, kind=kind, records=2), bulk(b'{"a": 9}'))
    assert {100: {"a": 1}, 101: {"a": 2}} == records([raw])
    (rejection,) = decoded(raw).rejections
    assert (101, "surplus_record", 1) == (rejection.record, rejection.reason, rejection.ordinal)
    assert "record 3 of a request accepted as 2 records" in rejection.detail
    assert 2 == decoded(raw).records, "the ledger counts what has a number"


def test_less_than_was_accepted_leaves_numbers_unused() -> None:
    for kind, body in [("ndjson", b'{"a": 1}'), ("json", b'{"a": 1}'), ("csv", b"a\n1")]:
        raw, after = merged(entry(body, kind=kind, records=3), bulk(b'{"a": 9}'))
        assert {100: {"a": 1}, 103: {"a": 9}} == records([raw, after])
        assert 1 == decoded(raw).records


def test_each_csv_body_has_its_own_header_types_and_delimiter() -> None:
    (raw,) = merged(
        entry(b"a,b\n1,x\n2,y", kind="csv"),
        entry(b"\xef\xbb\xbfb;a\r\nz;0.5\r\n\r\nw;7\r\n", kind="csv"),
        entry(b'"a\nb",c\n"1\n2",3\n', kind="csv"),
    )
    assert {
        100: {"a": 1, "b": "x"},
        101: {"a": 2, "b": "y"},
        102: {"a": 0.5, "b": "z"},
        104: {"a": 7.0, "b": "w"},
        105: {"a\nb": "1\n2", "c": 3},
    } == records([raw])


def test_csv_bodies_alike_share_a_frame() -> None:
    (raw,) = merged(*[entry(b"a,b\n1,x\n", kind="csv") for _ in range(50)])
    assert [50] == [frame.height for frame in decoded(raw).frames]


def test_a_bad_csv_row_is_named_by_its_line_in_the_request() -> None:
    (raw,) = merged(entry(b"a,b\n1,x\n", kind="csv"), entry(b"a,b\n1,x\n2\n", kind="csv"))
    (rejection,) = decoded(raw).rejections
    assert (102, "wrong_columns", b"2") == (rejection.record, rejection.reason, rejection.original)
    assert rejection.detail.startswith("push orders: request of records 101 to 102:3: ")
    assert b"1,x" == raw.decoder.original(raw, 101)


def test_arrow_streams_and_files_are_read_side_by_side() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    stream, file = io.BytesIO(), io.BytesIO()
    frame.write_ipc_stream(stream)
    frame.write_ipc(file, compression="uncompressed")
    (raw,) = merged(entry(stream.getvalue(), kind="arrow"), entry(file.getvalue(), kind="arrow"))
    row, other = {"a": 1, "b": "x"}, {"a": 2}
    assert {100: row, 101: other, 102: row, 103: other} == records([raw])
    assert b'{"a":1,"b":"x"}\n' == raw.decoder.original(raw, 102)


def test_what_later_steps_reject_is_found_in_an_array_again() -> None:
    (raw,) = merged(entry(b'[{"a":\n1}, {"a": 2}]', kind="json"), entry(b'{"a": 3}', kind="json"))
    assert [b'{"a": 1}', b'{"a": 2}', b'{"a": 3}'] == [raw.decoder.original(raw, n) for n in (100, 101, 102)]


def test_only_conditions_and_waiting_make_plain_appends_operations() -> None:
    assert operations([(2, BulkHead()), (2, BulkHead(ops="ii", ids=[None, None]))], 0) is None
    found = operations([(1, BulkHead()), (1, BulkHead(exact=True)), (1, BulkHead(if_seq={0: 4}))], 5)
    assert found is not None
    assert [(6, True, None), (7, False, 4)] == found.frame.select("_record", "exact", "if_seq").rows()


def test_operations_cost_far_less_than_a_microsecond_a_record() -> None:
    total = 10_000
    head = BulkHead(ops="icud" * (total // 4), ids=[f"id-{n}" for n in range(total)])
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        assert operations([(total, head)], 0) is not None
        best = min(best, time.perf_counter() - started)
    assert best / total < 1e-6, f"{best / total * 1e9:.0f} ns a record"
