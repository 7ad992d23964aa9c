"""Rejected rows judged once more: the same rules reject them again, wider ones accept them."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.contract import COLUMN_NAMES, EPOCH, MAX_RAW_BYTES, Rules
from celes_beam.sales.csv_dialect import CsvDialect, CsvHeader, read_header
from celes_beam.sales.decode_csv import decode_csv
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.decode_parquet import decode_columns
from celes_beam.sales.messages import MessageRules, Messages, check_messages
from celes_beam.sales.records import Block
from celes_beam.sales.rejected import Checked
from celes_beam.sales.replay import ReplayRules, can_be_replayed, replay
from celes_beam.sales.transform import Transform
from tests.rejected import rejected_rows

THEN = Rules(started=datetime(2026, 1, 1, tzinfo=UTC), regions=("Norte",))
NOW = Rules(started=datetime(2026, 2, 1, tzinfo=UTC), regions=("Norte",))
WIDER = Rules(started=datetime(2026, 2, 1, tzinfo=UTC), regions=("Norte", "Sur"))
HEADER = read_header(",".join(COLUMN_NAMES).encode(), CsvDialect(), None, "a.csv")
JUDGED_ALIKE = ["source", "position", "reasons", "column", "value", "raw"]


def replayed(batch: pa.RecordBatch, how: ReplayRules) -> tuple[list[Any], list[Any]]:
    found = list(replay(batch, how))
    assert sum(c.rows for c in found) == batch.num_rows
    return (
        [row for c in found for row in c.accepted.to_pylist()],
        [row for c in found for row in c.rejected.to_pylist()],
    )


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["source"], row["position"]))


def judged_alike(first: pa.RecordBatch, again: list[Any]) -> None:
    kept = first.filter(pa.array(can_be_replayed(first))).to_pylist()
    assert [{k: r[k] for k in JUDGED_ALIKE} for r in in_order(again)] == [
        {k: r[k] for k in JUDGED_ALIKE} for r in in_order(kept)
    ]
    assert {(r["attempt"], r["rejected_at"]) for r in again} <= {(2, NOW.started)}


def of_csv(text: bytes, rules: Rules = THEN, header: CsvHeader = HEADER) -> Checked:
    return decode_csv(Block.of(text), header, source="a.csv", offset=0, rules=rules)


PIECES = st.sampled_from(
    ["1", "2024-05-03", "1.50", "Hogar", "Norte", "Sur", "", " ", ",", '"', '""', "\n", "\r\n", "ñ"]
)
LINES = st.sampled_from(
    [
        "1,2024-05-03,1.50,Hogar,Norte",
        "1,2024-05-03,1.50,Hogar,Sur",
        '"1","2024-05-03","1.50","Ho\ngar","Sur"',
        "0,,x,Hogar,Norte",
        "1,2",
    ]
)


@given(st.lists(LINES | st.lists(PIECES, max_size=12).map("".join), max_size=12))
def test_csv_is_rejected_again_for_the_same_reasons(lines: list[str]) -> None:
    first = of_csv("\n".join(lines).encode()).rejected
    kept = first.filter(pa.array(can_be_replayed(first)))
    accepted, again = replayed(kept, ReplayRules(NOW, {"a.csv": HEADER}))
    assert accepted == []
    judged_alike(first, again)


@given(st.lists(LINES, max_size=12))
def test_what_wider_rules_accept_is_accepted(lines: list[str]) -> None:
    text = "\n".join(lines).encode()
    accepted, again = replayed(of_csv(text).rejected, ReplayRules(WIDER, {"a.csv": HEADER}))
    wide = of_csv(text, WIDER)
    assert len(of_csv(text).accepted.to_pylist() + accepted) == wide.accepted.num_rows
    assert [r["position"] for r in in_order(again)] == wide.rejected.column("position").to_pylist()


BYTES = st.lists(
    st.sampled_from(
        [
            b"1",
            b",",
            b'"',
            b"\n",
            b"\r",
            b"\r\n",
            b"\xff",
            b"\xc3\xb1",
            b"\xef\xbb\xbf",
            b"\0",
            b"{}",
        ]
    )
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


@given(BYTES, st.sampled_from(["utf-8", "latin-1"]))
def test_any_bytes_are_rejected_again_as_csv(text: bytes, encoding: str) -> None:
    line = ",".join(COLUMN_NAMES).encode()
    header = read_header(line, CsvDialect(encoding=encoding), None, "a.csv")
    first = of_csv(text, header=header).rejected
    kept = first.filter(pa.array(can_be_replayed(first)))
    accepted, again = replayed(kept, ReplayRules(NOW, {"a.csv": header}))
    assert accepted == []
    judged_alike(first, again)


@given(BYTES)
def test_any_bytes_are_rejected_again_as_json(text: bytes) -> None:
    first = decode_ndjson(text, source="a.ndjson", rules=THEN).rejected
    accepted, again = replayed(first, ReplayRules(NOW))
    assert accepted == []
    judged_alike(first, again)


JSON_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [1, -1, 1.5, 0.001, "2024-05-03", "Norte", "Sur", "", None, True, []]
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMN_NAMES, JSON_VALUES)), max_size=8))
def test_json_is_rejected_again_for_the_same_reasons(rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps(row) for row in rows] + ["{broken", '{"id_cliente": 1, "id_cliente": 2}']
    text = "\n".join(lines).encode()
    first = decode_ndjson(text, source="a.ndjson", rules=THEN).rejected
    accepted, again = replayed(first, ReplayRules(NOW))
    assert accepted == []
    judged_alike(first, again)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id_cliente", pa.array([-5])),
        ("id_cliente", pa.array([1.5])),
        ("fecha_de_transaccion", pa.array([datetime(1999, 1, 1)])),
        ("fecha_de_transaccion", pa.array([20240503])),
        ("cantidad_de_venta", pa.array([Decimal("1.005")])),
        ("cantidad_de_venta", pa.array([float("nan")])),
        ("categoria_de_producto", pa.array([7])),
        ("region_de_venta", pa.array([b"\xff"])),
        ("region_de_venta", pa.nulls(1, pa.string())),
    ],
)
def test_parquet_is_rejected_again(column: str, value: pa.Array) -> None:
    good = {
        "id_cliente": pa.array([1]),
        "fecha_de_transaccion": pa.array([datetime(2024, 5, 3)]),
        "cantidad_de_venta": pa.array([Decimal("1.50")]),
        "categoria_de_producto": pa.array(["Hogar"]),
        "region_de_venta": pa.array(["Norte"]),
    }
    batch = pa.RecordBatch.from_pydict(good | {column: value})
    first = decode_columns(batch, COLUMN_NAMES, source="a.parquet", first_row=4, rules=THEN)
    (before,) = first.rejected.to_pylist()
    accepted, (after,) = replayed(first.rejected, ReplayRules(NOW))
    assert accepted == []
    assert (after["column"], after["position"], after["raw"]) == (column, 4, before["raw"])


def test_parquet_rows_keep_their_values() -> None:
    when = datetime(2024, 5, 3, 12, 0, 0, 123456)
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([9]),
            "fecha_de_transaccion": pa.array([when]),
            "cantidad_de_venta": pa.array([0.1 + 0.2]),
            "categoria_de_producto": pa.array(["Ropa"]).dictionary_encode(),
            "region_de_venta": pa.array(["Sur"]),
        }
    )
    names = ["id", *COLUMN_NAMES[1:]]
    first = decode_columns(batch, names, source="a.parquet", first_row=0, rules=THEN)
    ((row,), again) = replayed(first.rejected, ReplayRules(WIDER, mapping={"id_cliente": "id"}))
    assert again == []
    assert tuple(row.values()) == (9, when.replace(tzinfo=UTC), Decimal("0.30"), "Ropa", "Sur")


def test_sources_of_several_kinds_stand_in_one_batch() -> None:
    semicolons = read_header(
        b"region_de_venta;id_cliente;fecha_de_transaccion;cantidad_de_venta;categoria_de_producto",
        CsvDialect(),
        None,
        "b.csv",
    )
    batch = rejected_rows(
        {"raw": b"1,2024-05-03,1,Hogar,Sur", "position": 1},
        {"raw": b"Sur;2;2024-05-03;2;Hogar", "source": "b.csv", "position": 2},
        {
            "raw": json.dumps(
                dict(zip(COLUMN_NAMES, (3, "2024-05-03", 3, "Ropa", "Sur"), strict=True)), indent=1
            ).encode(),
            "source": "pubsub:projects/p/subscriptions/s/7",
        },
        {"raw": b"4,2024-05-03,1,Hogar,Este", "position": 4, "attempt": 3},
    )
    how = ReplayRules(WIDER, {"a.csv": HEADER, "b.csv": semicolons})
    accepted, (again,) = replayed(batch, how)
    assert sorted(row["id_cliente"] for row in accepted) == [1, 2, 3]
    assert (again["position"], again["attempt"], again["reasons"]) == (4, 4, ["unknown"])


def test_a_line_feed_within_a_json_string_is_no_json() -> None:
    raw = b'{"id_cliente": 1, "region_de_venta": "No\nrte"}'
    accepted, (again,) = replayed(rejected_rows({"raw": raw, "source": "p"}), ReplayRules(WIDER))
    assert (accepted, again["reasons"], again["raw"]) == ([], ["malformed"], raw)


def test_messages_are_rejected_again_for_the_same_reasons() -> None:
    row = json.dumps(dict(zip(COLUMN_NAMES, (1, "2024-05-03", 1.5, "Hogar", "Sur"), strict=True)))
    lines = json.dumps(json.loads(row), indent=2)
    data = [row, lines, f"[{lines},\n{row}]", f"{row}\nbad\n", "[1,2", "{}\n{}\n", "null", "[[1]]"]
    data += ["", '{"region_de_venta": "No\nrte"}', "\ufeff{}", '"x"', "[]"]
    encoded = [text.encode() for text in data] + [b"\xff", gzip.compress(row.encode())]
    attributes = [{}] * (len(encoded) - 1) + [{"content-encoding": "gzip"}]
    ids = [str(n) for n in range(len(encoded))]
    published = (THEN.started - EPOCH) // timedelta(microseconds=1)
    messages = Messages(encoded, attributes, ids, [published] * len(encoded))
    rules = MessageRules("pubsub:s", regions=("Norte",))
    first = check_messages(messages, rules).rejected
    assert first.num_rows >= len(encoded)
    kept = first.filter(pa.array(can_be_replayed(first)))
    accepted, again = replayed(kept, ReplayRules(NOW))
    assert accepted == []
    judged_alike(first, again)


def test_what_cannot_be_replayed() -> None:
    raws = [b"", b" \n", b"x" * MAX_RAW_BYTES, b"x" * (MAX_RAW_BYTES - 1)]
    batch = rejected_rows(*({"raw": raw} for raw in raws))
    assert can_be_replayed(batch).tolist() == [False, False, False, True]
    whole = np.array([True, True, True, False])
    assert can_be_replayed(batch, whole).tolist() == [False, False, True, False]
    assert can_be_replayed(batch.slice(0, 0)).tolist() == []


def test_whole_raws_are_cut_when_they_are_kept_again() -> None:
    raw = b'{"a": "' + b"x" * MAX_RAW_BYTES + b'"}'
    _, (again,) = replayed(rejected_rows({"raw": raw, "source": "p"}), ReplayRules(NOW))
    assert again["raw"] == raw[:MAX_RAW_BYTES]
    assert again["reasons"] == ["missing"] * 5


def mend(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = batch.schema.get_field_index("region_de_venta")
    return batch.set_column(at, "region_de_venta", pa.array(["Norte"] * batch.num_rows))


def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise ValueError("not today")


@pytest.mark.parametrize("source", ["a.csv", "a.ndjson"])
def test_a_fix_is_applied_before_rows_are_judged(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mended", sys.modules[__name__])
    header = read_header(
        ",".join(COLUMN_NAMES).encode(), CsvDialect(), None, "a.csv", every_field=True
    )
    line = b"1,2024-05-03,1,Hogar,Marte"
    record = json.dumps(dict(zip(COLUMN_NAMES, line.decode().split(","), strict=True))).encode()
    batch = rejected_rows({"raw": line if source == "a.csv" else record, "source": source})

    def by(function: str) -> tuple[list[Any], list[Any]]:
        fix = Transform(f"mended:{function}", "--fix")
        return replayed(batch, ReplayRules(NOW, {"a.csv": header}, fix=fix))

    ((row,), again) = by("mend")
    assert (row["region_de_venta"], again) == ("Norte", [])
    none, (failed,) = by("fail")
    assert (none, failed["reasons"], failed["attempt"]) == ([], ["transform_failed"], 2)
    assert "not today" in failed["value"]


def test_many_rows_are_judged_in_parts() -> None:
    raw = b'{"a": "' + b"x" * 60_000 + b'"}'
    batch = rejected_rows(*({"raw": raw, "position": n, "source": "p"} for n in range(300)))
    found = list(replay(batch, ReplayRules(NOW)))
    assert len(found) > 1
    positions = np.concatenate([c.rejected.column("position").to_numpy() for c in found])
    assert sorted(positions.tolist()) == list(range(300))
