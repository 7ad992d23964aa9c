"""Batches cut to parts that memory has room for."""

from __future__ import annotations

import gzip
import json

from hypothesis import given
from hypothesis import strategies as st

from celes_beam.sales.message_parts import parts
from celes_beam.sales.message_records import MAX_MESSAGE_RECORDS
from celes_beam.sales.messages import MessageRules, Messages, check_messages
from tests.messages import GZIP, SOURCE, messages_of, sale

MOST_RECORDS = 12
MOST_BYTES = 400

_items = st.lists(st.sampled_from([1, {}, {"a": 1}, [1, 2]]), max_size=14)
_texts = st.one_of(
    _items.map(lambda items: json.dumps(items).encode()),
    _items.map(lambda items: "\n".join(map(json.dumps, items)).encode()),
    st.binary(max_size=20),
    st.just(sale()),
)


@given(
    st.lists(st.tuples(_texts, st.sampled_from(["plain", "gzip", "said to be gzip"])), max_size=9)
)
def test_no_part_holds_more_than_it_may(made: list[tuple[bytes, str]]) -> None:
    data = [gzip.compress(text) if how == "gzip" else text for text, how in made]
    messages = messages_of(data, [{} if how == "plain" else GZIP for _, how in made])
    cut = list(parts(messages, most_bytes=MOST_BYTES, most_records=MOST_RECORDS))

    assert [message_id for part in cut for message_id in part.ids] == messages.ids
    assert [one for part in cut for one in part.data] == data
    for part in cut:
        if len(part) > 1:
            assert check_messages(part, MessageRules(SOURCE)).rows <= MOST_RECORDS
            texts = [made[messages.ids.index(i)] for i in part.ids]
            assert sum(len(text) for text, how in texts if how != "said to be gzip") <= MOST_BYTES
    again = list(parts(messages, most_bytes=MOST_BYTES, most_records=MOST_RECORDS))
    assert [part.ids for part in again] == [part.ids for part in cut]


def test_a_batch_of_single_rows_stays_whole() -> None:
    messages = messages_of([sale(id_cliente=n) for n in range(5_000)])
    assert messages.size > 2 * MAX_MESSAGE_RECORDS
    (whole,) = parts(messages)
    assert whole is messages


def test_a_few_kilobytes_of_many_rows_are_parts_of_their_own() -> None:
    many = gzip.compress(b"{}\n" * (MAX_MESSAGE_RECORDS - 1))
    messages = messages_of([many, sale(), many, many], [GZIP, {}, GZIP, GZIP])
    assert sum(map(len, messages.data)) < 10_000
    assert [part.ids for part in parts(messages)] == [["m0"], ["m1"], ["m2"], ["m3"]]
    assert list(map(len, parts(Messages([], [], [], [])))) == [0]
