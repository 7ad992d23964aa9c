from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.manifest import (
    CategoryTotal,
    DataFile,
    Generated,
    InputRecord,
    Manifest,
    RegionMean,
    RejectedExample,
    RejectedFile,
    Superseded,
    count_problems,
    decode,
    encode,
)

FILE = DataFile(
    path="region_de_venta=%C3%91/part-1.parquet",
    staged="part-1.parquet",
    partition={"region_de_venta": "Ñ"},
    rows=3,
    bytes=100,
    crc32c="AAAAAA==",
    total="12.50",
    min_date="2024-05-03T00:00:00+00:00",
    max_date="2024-05-04T00:00:00+00:00",
)
REJECTED = RejectedFile(path="_rejected/r/p", staged="p", rows=2, bytes=9, crc32c="AAAAAA==")
FULL = Manifest(
    run_id="r",
    kind="append",
    started_at="2024-05-05T00:00:00+00:00",
    staging="_staging/r/1",
    partition_by=("region_de_venta",),
    inputs=(InputRecord(path="a.csv", size=5, version="77"),),
    generated=Generated(seed=1, rows=5),
    files=(FILE,),
    rejected_files=(REJECTED,),
    rows_read=5,
    rows_accepted=3,
    rows_rejected=2,
    rejected_by_reason={"missing": 2},
    rejected_examples=(
        RejectedExample(reason="missing", source="a.csv", position=9, column="id_cliente"),
    ),
    by_category=(CategoryTotal(categoria_de_producto="Ropa", rows=3, total="12.50"),),
    by_region=(RegionMean(region_de_venta="Ñ", rows=3, total="12.50", mean="4.166667"),),
    total="12.50",
    schema_hash="abc",
    rules_version=1,
    seconds=0.25,
    decided_at="2024-05-05T00:00:01+00:00",
    epoch=4,
    retired=("p=1/a",),
    replaces=("q",),
)


@pytest.mark.parametrize("decision", [FULL, Superseded(run_id="r", by="s", decided_at="x")])
def test_a_decision_survives_json_and_pickle(decision: Manifest | Superseded) -> None:
    assert decode(encode(decision), "r.json") == decision
    assert pickle.loads(pickle.dumps(decision)) == decision


def test_fields_of_later_versions_are_ignored() -> None:
    content = msgspec.json.decode(encode(FULL))
    assert decode(msgspec.json.encode(content | {"invented_later": 1}), "r.json") == FULL


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b"{}", b'{"decision": "commit", "run_id": "r"}']
)
def test_what_is_no_decision_is_named(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"_commits/r\.json is not a commit of this version: "):
        decode(data, "_commits/r.json")


def test_sizes_of_a_commit() -> None:
    assert (FULL.rows, FULL.bytes) == (3, 100)


def test_counts_that_agree() -> None:
    assert count_problems(FULL) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows_read": 6}, "rows read, and accepted + rejected, do not agree: 6 and 5"),
        ({"rejected_by_reason": {}}, "rows rejected, and their reasons, do not agree: 2 and 0"),
        ({"rejected_files": ()}, "rows rejected, and those in files, do not agree: 2 and 0"),
        (
            {"rows_accepted": 4, "rows_read": 6},
            "rows accepted, and those in files, do not agree: 4 and 3",
        ),
        (
            {"total": "12.51"},
            "the sum of amounts, and that of the files, do not agree: 12.51 and 12.50",
        ),
    ],
)
def test_counts_that_do_not_agree(changes: dict[str, Any], problem: str) -> None:
    assert count_problems(msgspec.structs.replace(FULL, **changes)) == [problem]


def test_a_compaction_reads_nothing() -> None:
    merged = Manifest(
        run_id="c", kind="compact", started_at="", staging="s", files=(FILE,), retired=("a", "b")
    )
    assert count_problems(merged) == []
    assert count_problems(msgspec.structs.replace(merged, rows_read=3, rows_accepted=3)) == [
        "rows accepted, and those in files, do not agree: 3 and 0"
    ]
