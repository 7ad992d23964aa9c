"""The algorithm of an append, against a stream that is a list: cut short, taken up, refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.errors import IntegrityError
from celes_beam.stores.warehouse.append_answers import Answer, Said
from celes_beam.stores.warehouse.append_batch import Appended, BatchAppend, Refused, Target
from celes_beam.stores.warehouse.append_requests import piece_starts, taken


class CutError(Exception):
    """The process ends here."""


class Stream:
    """What the service keeps: rows in order, each request whole or not at all."""

    def __init__(
        self, wrong: frozenset[int], offset_first: bool, first: int = 0, most_errors: int = 99
    ) -> None:
        self.rows = [-1] * first
        self.most_errors = most_errors
        self.wrong = wrong
        self.offset_first = offset_first
        self.cut: Callable[[], str] = lambda: ""

    def target(self, rows_bytes: int) -> Target:
        return Target("the stream", self.ask, lambda: len(self.rows), rows_bytes)

    def ask(self, rows: pa.RecordBatch, offset: int) -> Answer:
        cut = self.cut()
        if cut == "before":
            raise CutError
        values = rows.column(0).to_pylist()
        wrong = tuple((i, "wrong") for i, value in enumerate(values) if value in self.wrong)
        # Google's list may lack some when it is long.
        wrong = wrong[: self.most_errors]
        if wrong and not self.offset_first:
            return Answer(Said.ROWS_REFUSED, row_errors=wrong)
        if offset != len(self.rows):
            there = offset < len(self.rows)
            return Answer(Said.THERE if there else Said.GAP, len(self.rows))
        if wrong:
            return Answer(Said.ROWS_REFUSED, row_errors=wrong)
        self.rows += values
        if cut == "after":
            raise CutError
        return Answer(Said.WRITTEN)


def batch(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"a": pa.array(range(rows), pa.int64()), "b": ["x" * 1000] * rows})


def bytes_of(rows: int) -> int:
    """What is enough for so many rows: a slice has up to 64 bytes more for each buffer."""
    return int(pa.ipc.get_record_batch_size(batch(rows))) + 256


@given(
    rows=st.integers(1, 40),
    per_request=st.integers(1, 40),
    wrong=st.frozensets(st.integers(0, 39), max_size=12),
    first=st.integers(0, 3),
    offset_first=st.booleans(),
    most_errors=st.sampled_from([1, 99]),
    data=st.data(),
)
def test_each_row_is_there_once_or_refused_however_often_it_is_cut_short(
    rows: int,
    per_request: int,
    wrong: frozenset[int],
    first: int,
    offset_first: bool,
    most_errors: int,
    data: st.DataObject,
) -> None:
    stream = Stream(wrong, offset_first, first, most_errors)
    left = data.draw(st.integers(0, 6))
    kept: set[int] = set()

    def cut() -> str:
        nonlocal left
        how = data.draw(st.sampled_from(["", "before", "after"])) if left else ""
        left -= bool(how)
        return how

    def on_refused(refused: Sequence[Refused]) -> None:
        kept.update(r.index for r in refused)

    stream.cut = cut
    while True:
        append = BatchAppend(
            stream.target(bytes_of(per_request)), batch(rows), first, on_refused, frozenset(kept)
        )
        try:
            done = append.run()
            break
        except CutError:
            continue
    right = [row for row in range(rows) if row not in wrong]
    assert stream.rows[first:] == right
    assert kept == {row for row in wrong if row < rows}
    assert done.rows == len(right)
    assert done.rows + len(done.refused) + done.refused_before == rows


@given(wrong=st.frozensets(st.integers(0, 9)), offset_first=st.booleans())
def test_a_batch_of_one_request_is_told_exactly_though_nobody_kept_what_was_refused(
    wrong: frozenset[int], offset_first: bool
) -> None:
    stream = Stream(wrong, offset_first)
    for _ in range(2):
        done = BatchAppend(stream.target(bytes_of(10)), batch(10), 0, lambda _: None, ()).run()
        assert stream.rows == [row for row in range(10) if row not in wrong]
        assert done.rows == len(stream.rows)
        assert len(done.refused) + done.refused_before == len(wrong)


@pytest.mark.parametrize("rows", [2, 5])
def test_what_was_refused_before_is_known_where_counts_alone_would_mislead(rows: int) -> None:
    # As many rows were refused of the first request as the others hold.
    wrong = frozenset(range(rows // 2, rows - 1)) | {0}
    stream = Stream(wrong, offset_first=True)
    kept: set[int] = set()
    for _ in range(2):
        BatchAppend(
            stream.target(bytes_of(1)),
            batch(rows),
            0,
            lambda refused: kept.update(r.index for r in refused),
            frozenset(kept),
        ).run()
    assert stream.rows == [row for row in range(rows) if row not in wrong]


def test_rows_that_a_stream_forgot_are_sent_again() -> None:
    stream = Stream(frozenset(), offset_first=True)
    forgets = iter([False, False, True])

    def ask(rows: pa.RecordBatch, offset: int) -> Answer:
        if next(forgets, False):
            del stream.rows[1:]
        return stream.ask(rows, offset)

    target = Target("s", ask, lambda: 0, bytes_of(1))
    assert BatchAppend(target, batch(4), 0, lambda _: None, ()).run() == Appended(4)
    assert stream.rows == [0, 1, 2, 3]


def test_refused_rows_are_told_before_the_others_of_their_request_are_there() -> None:
    stream = Stream(frozenset({1, 5}), offset_first=False)
    told: list[tuple[list[Refused], int]] = []
    done = BatchAppend(
        stream.target(bytes_of(3)),
        batch(6),
        0,
        lambda refused: told.append((list(refused), len(stream.rows))),
        (),
    ).run()
    assert told == [([Refused(1, "wrong")], 0), ([Refused(5, "wrong")], 2)]
    assert done == Appended(4, (Refused(1, "wrong"), Refused(5, "wrong")))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Said.GAP),
        Answer(Said.GAP, 7),
        Answer(Said.THERE, 2),
        Answer(Said.ROWS_REFUSED, row_errors=((9, "wrong"),)),
    ],
)
def test_what_contradicts_itself_is_told(answer: Answer) -> None:
    target = Target("the stream", lambda *_: answer, lambda: 0)
    with pytest.raises(IntegrityError, match="the stream"):
        BatchAppend(target, batch(3), 5, lambda _: None, ()).run()


def test_a_stream_that_forgets_is_not_asked_for_ever() -> None:
    asked = []

    def ask(rows: pa.RecordBatch, offset: int) -> Answer:
        asked.append(offset)
        return Answer(Said.WRITTEN) if offset == 0 else Answer(Said.GAP, 0)

    with pytest.raises(IntegrityError, match="has 0 rows, where 1 were appended"):
        BatchAppend(Target("s", ask, lambda: 0, bytes_of(1)), batch(2), 0, lambda _: None, ()).run()
    assert len(asked) < 10


@given(rows=st.integers(1, 200), per_request=st.integers(1, 200))
def test_pieces_fit_and_are_all_rows_in_order(rows: int, per_request: int) -> None:
    whole, most = batch(rows), bytes_of(per_request)
    starts = piece_starts(whole, most).tolist()
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    pieces = [
        whole.slice(start, end - start)
        for start, end in zip(starts, [*starts[1:], rows], strict=True)
    ]
    assert all(pa.ipc.get_record_batch_size(p) <= most or p.num_rows == 1 for p in pieces)
    assert pa.Table.from_batches(pieces).equals(pa.Table.from_batches([whole]).combine_chunks())
    assert piece_starts(whole, most).tolist() == starts


def test_rows_that_follow_one_another_are_not_copied() -> None:
    rows = batch(5)
    indices = piece_starts(rows, 1)
    assert taken(rows, indices[1:4]).column(0).to_pylist() == [1, 2, 3]
    assert (
        taken(rows, indices[1:4]).column(0).buffers()[1].address
        == rows.column(0).buffers()[1].address
    )
    assert taken(rows, indices[[0, 3]]).column(0).to_pylist() == [0, 3]
