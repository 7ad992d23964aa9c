from __future__ import annotations

import gzip
import json
from codecs import BOM_UTF8
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.messages import Drift, MessageRules, Messages
from celes_beam.sales.transform import Transform
from tests.message_laws import obey_laws
from tests.messages import PUBLISHED, SOURCE, VALUES, check, sale
from tests.sales import RULES

GOOD = sale()
values = st.sampled_from(
    [None, 1, -1, 2.5, 2.505, 1e300, True, "", " ", "Norte", "a\nb", "2024-01-31", "ñ", [1], {}]
)
others = st.dictionaries(st.text(max_size=3) | st.sampled_from(["ID_CLIENTE", "tienda"]), values)
sales = st.builds(
    lambda changes, more, left_out, indent: json.dumps(
        {k: v for k, v in {**VALUES, **changes, **more}.items() if k != left_out},
        indent=indent,
        ensure_ascii=len(more) % 2 == 0,
    ).encode("utf-8", "surrogatepass"),
    st.just({}) | st.dictionaries(st.sampled_from(list(VALUES)), values, max_size=2),
    st.just({}) | others,
    st.none() | st.sampled_from(list(VALUES)),
    st.none() | st.integers(0, 3),
)
broken = st.builds(
    lambda data, at, new: data[: at % len(data)] + new + data[at % len(data) + 1 :],
    sales,
    st.integers(0, 10**6),
    st.binary(max_size=2) | st.sampled_from([b"\n", b"\r", b'"', b"{", b"[", b"}", b"\0", b" "]),
)
records = st.just(GOOD) | sales | broken | st.binary(max_size=20)
bodies = (
    records
    | st.lists(records, max_size=4).map(lambda found: b"[" + b",\n".join(found) + b"]")
    | st.lists(records, max_size=4).map(b"\n".join)
    | st.tuples(st.sampled_from([b" ", b"\n", b"\r\n", BOM_UTF8, b"\0"]), records).map(b"".join)
)
packed = st.builds(
    lambda data, cut: gzip.compress(data)[: -cut or None], bodies, st.sampled_from([0, 0, 0, 1, 9])
)
texts = st.text(max_size=4) | st.sampled_from(["1", "gzip"])
attributes = st.dictionaries(
    st.sampled_from(["celes_attempt", "content-encoding", "order"]) | st.text(max_size=3), texts
)
messages_found = st.lists(
    st.tuples(bodies, attributes) | st.tuples(packed, st.just({"content-encoding": "gzip"})),
    max_size=6,
)
drifts = st.sampled_from(list(Drift))


def messages_of(found: list[tuple[bytes, dict[str, str]]], published: list[int]) -> Messages:
    return Messages(
        [data for data, _ in found],
        [dict(attributes) for _, attributes in found],
        [f"m{i}" for i in range(len(found))],
        [PUBLISHED + published[i % len(published)] for i in range(len(found))],
    )


@settings(deadline=None, max_examples=400)
@given(messages_found, drifts, st.lists(st.integers(0, 10**9), min_size=1, max_size=3))
def test_any_messages(
    found: list[tuple[bytes, dict[str, str]]], drift: Drift, published: list[int]
) -> None:
    obey_laws(messages_of(found, published), MessageRules(SOURCE, drift=drift))


@settings(deadline=None, max_examples=100)
@given(messages_found, drifts, st.sampled_from(["same", "fail"]))
def test_any_messages_through_a_transform(
    found: list[tuple[bytes, dict[str, str]]], drift: Drift, function: str
) -> None:
    transform = Transform(f"tests.hooks:{function}")
    obey_laws(messages_of(found, [0]), MessageRules(SOURCE, drift=drift, transform=transform))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(records.map(lambda r: r.replace(b"\n", b"")), st.sampled_from([b"\n", b"\r\n"])),
        min_size=1,
        max_size=8,
    )
)
def test_a_message_of_ndjson_is_read_as_a_file_of_it(lines: list[tuple[bytes, bytes]]) -> None:
    lines = [(line.strip(b"\r"), end) for line, end in lines]
    # An object beside, so that what is broken does not leave none; at the end, as an array at the
    # beginning would be one with all that follows.
    text = b"".join(line + end for line, end in [(GOOD, b"\n"), *lines])
    file = decode_ndjson(text, source="f", rules=RULES)
    checked = check(text)
    assert checked.rows == file.rows
    assert checked.accepted.equals(file.accepted)
    assert _but_source(checked.rejected.to_pylist()) == _but_source(file.rejected.to_pylist())


def _but_source(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "source": None} for row in rows]
