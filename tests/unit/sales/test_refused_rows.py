from __future__ import annotations

import json

import pyarrow as pa

from celes_beam.contract import REJECTED_SCHEMA, RULES_VERSION, SCHEMA
from celes_beam.sales.decode_ndjson import decode_ndjson
from celes_beam.sales.refused_rows import refused_batch
from tests.sales import NOON, RULES, sales_batch

ROWS = sales_batch([("Hogar", "Norte", 100), ("Ropa", "Sur", 250)])
IDS = pa.array(["7", "8/1"])


def test_a_refused_row_tells_why_and_keeps_the_row() -> None:
    refused = refused_batch(
        ROWS, IDS, ["too old", ""], source="pubsub:s", rejected_at=NOON, attempts=[1, 3]
    )
    assert refused.schema == REJECTED_SCHEMA
    first, second = refused.to_pylist()
    assert first | {"raw": b""} == {
        "source": "pubsub:s/7",
        "position": 0,
        "reasons": ["refused"],
        "column": None,
        "value": "too old",
        "raw": b"",
        "rejected_at": NOON,
        "rules_version": RULES_VERSION,
        "attempt": 1,
    }
    assert (second["source"], second["value"], second["attempt"]) == ("pubsub:s/8/1", "", 3)
    again = decode_ndjson(first["raw"] + b"\n" + second["raw"], source="x", rules=RULES)
    assert again.accepted.cast(SCHEMA).equals(ROWS)


def test_other_fields_are_kept_too() -> None:
    others = pa.array(['{"canal": "web", "n": [1]}', None])
    refused = refused_batch(ROWS, IDS, ["", ""], source="s", rejected_at=NOON, other_fields=others)
    first, second = (json.loads(raw) for raw in refused.column("raw").to_pylist())
    assert {k: v for k, v in first.items() if k not in second} == {"canal": "web", "n": [1]}


def test_no_rows() -> None:
    nothing = refused_batch(ROWS[:0], IDS[:0], [], source="s", rejected_at=NOON)
    assert nothing.num_rows == 0
    assert nothing.schema == REJECTED_SCHEMA
