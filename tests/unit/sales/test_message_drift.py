from __future__ import annotations

import json
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.sales.messages import Drift
from celes_beam.sales.transform import Transform
from tests.messages import check, malformed, rejected, row_ids, sale

GOOD = sale()
OTHER = sale(tienda=5)


def frozen(message: int, raw: bytes, field: str, value: str) -> tuple[Any, ...]:
    """A row of ``rejected`` that is rejected for an unknown field alone."""
    return (message, 0, ["unknown"], field, value, raw)


@pytest.mark.parametrize("beside", [[], [b"x"], [b""], [GOOD], [sale(id_cliente=-1)]])
@pytest.mark.parametrize(
    "others",
    [
        [OTHER],
        [OTHER, GOOD],
        [GOOD, OTHER],
        [sale(tienda=None), GOOD],
        [GOOD, sale(tienda=None), OTHER],
        [sale(a=1), sale(b=1), sale(a=None, b=2)],
        [sale(tienda=[1, {"id_cliente": 2}])],
        [sale(tienda="x"), sale(tienda=5)],
        [sale(**{"": 1}), GOOD],
        [sale(**{f"k{i}": i for i in range(100)}), GOOD],
    ],
)
def test_rows_with_unknown_fields_are_counted(others: list[bytes], beside: list[bytes]) -> None:
    expected = sum(set(json.loads(data)) > set(COLUMN_NAMES) for data in others)
    for data in (others + beside, beside + others):
        checked = check(*data)
        assert checked.rows_with_unknown_fields == expected
        assert checked.accepted.num_rows == len(others) + (beside == [GOOD])
        assert check(*data, drift=Drift.KEEP).rows_with_unknown_fields == expected
        assert check(*data, drift=Drift.FREEZE).rows_with_unknown_fields == expected


def test_rejected_rows_with_unknown_fields_are_counted_and_malformed_ones_are_not() -> None:
    wrong = sale(id_cliente=-1, tienda=5)
    assert check(wrong, OTHER[:-1], OTHER[:-1] + b', "ID_CLIENTE": 1}').rows == 3
    assert check(wrong, OTHER[:-1]).rows_with_unknown_fields == 1
    assert check(OTHER[:-1] + b', "ID_CLIENTE": 1}').rows_with_unknown_fields == 0


def test_keys_of_columns_in_any_spelling_are_known() -> None:
    spelled = GOOD.replace(b"id_cliente", b"ID_Cliente ").replace(
        b"region_de_venta", "regi\u00f3n_de_venta".encode()
    )
    checked = check(spelled, GOOD, drift=Drift.FREEZE)
    assert (checked.accepted.num_rows, checked.rows_with_unknown_fields) == (2, 0)
    mapped = GOOD.replace(b"id_cliente", b"Household")
    both = mapped[:-1] + b', "id_cliente": 9}'
    checked = check(mapped, both, columns={"id_cliente": "household"}, drift=Drift.FREEZE)
    assert row_ids(checked) == ["m0"]
    assert rejected(checked) == [frozen(1, both, "id_cliente", "9")]


@pytest.mark.parametrize("beside", [[], [b"x"], [b"[]"]])
def test_frozen(beside: list[bytes]) -> None:
    several = sale(b="\u00f1", a=[1, 2.50])
    checked = check(GOOD, OTHER, several, GOOD, *beside, drift=Drift.FREEZE)
    assert row_ids(checked) == ["m0", "m3"]
    assert rejected(checked) == [
        frozen(1, OTHER, "tienda", "5"),
        frozen(2, several, "b", '"\u00f1"'),
        *(malformed(4, data) for data in beside),
    ]


def test_frozen_beside_other_reasons() -> None:
    wrong = sale(id_cliente=-1, region_de_venta="", tienda=5)
    twice = OTHER[:-1] + b', "id_cliente": 1}'
    checked = check(wrong, GOOD, twice, sale(id_cliente=-2), drift=Drift.FREEZE)
    assert row_ids(checked) == ["m1"]
    assert [row[:5] for row in rejected(checked)] == [
        (0, 0, ["out_of_range", "missing", "unknown"], "id_cliente", "-1"),
        (2, 0, ["malformed"], None, None),
        (3, 0, ["out_of_range"], "id_cliente", "-2"),
    ]


def test_kept_fields_are_exact() -> None:
    exact = (
        b'"n": 12345678901234567890123, "d": 0.10000000000000000005, "e": 1E+2, '
        b'"o": {"b": 1.0, "a": [-0, null]}, "s": "\\u00e9\\"", "\xc3\xb1": true, "k": 1, "k": 2'
    )
    data = GOOD[:-1] + b", " + exact + b"}"
    for beside in ([], [b"x"], [OTHER, GOOD]):
        checked = check(data, *beside, GOOD, drift=Drift.KEEP)
        kept = checked.other_fields.to_pylist()
        assert kept[0] == (
            '{"n":12345678901234567890123,"d":0.10000000000000000005,"e":1E+2,'
            '"o":{"b": 1.0, "a": [-0, null]},"s":"\\u00e9\\"","\u00f1":true,"k":2}'
        )
        assert kept[-1] is None
        assert len(kept) == checked.accepted.num_rows


def test_kept_fields_stay_with_their_rows() -> None:
    data = b"[%b,%b,%b,%b]" % (GOOD, OTHER, sale(id_cliente=-1, tienda=6), sale(tienda=None))
    checked = check(data, b"x", sale(tienda=8), drift=Drift.KEEP)
    kept = dict(zip(row_ids(checked), checked.other_fields.to_pylist(), strict=True))
    assert kept == {
        "m0/0": None,
        "m0/1": '{"tienda":5}',
        "m0/3": '{"tienda":null}',
        "m2": '{"tienda":8}',
    }


def test_nothing_to_keep() -> None:
    checked = check(GOOD, GOOD, b"x", drift=Drift.KEEP)
    assert checked.other_fields.to_pylist() == [None, None]
    assert check(b"x", drift=Drift.KEEP).other_fields.to_pylist() == []


@pytest.mark.parametrize("drift", list(Drift))
def test_a_transform_that_changes_nothing(drift: Drift) -> None:
    data = [GOOD, OTHER, b"x", sale(id_cliente=-1), b"", sale(region_de_venta=5), b"[%b]" % GOOD]
    plain = check(*data, drift=drift)
    same = check(*data, drift=drift, transform=Transform("tests.hooks:same"))
    assert same.accepted.equals(plain.accepted)
    assert same.rejected.equals(plain.rejected)
    assert row_ids(same) == row_ids(plain)
    assert same.rows_with_unknown_fields == plain.rows_with_unknown_fields == 1


def test_a_transform_makes_columns_out_of_other_fields() -> None:
    data = [sale(tienda=t, centimos=c, region_de_venta=None) for t, c in (("N1", 5), ("S", 7))]
    transform = Transform("tests.hooks:region_of_shop")
    checked = check(*data, b"x", drift=Drift.KEEP, transform=transform)
    assert row_ids(checked) == ["m0"]
    assert [str(v) for v in checked.accepted.column("cantidad_de_venta").to_pylist()] == ["0.05"]
    assert checked.other_fields.to_pylist() == ['{"tienda":"N1","centimos":5}']
    assert [row[2] for row in rejected(checked)] == [["missing"], ["malformed"]]


@pytest.mark.parametrize("drift", list(Drift))
def test_a_transform_that_fails_rejects_the_rows_of_the_batch(drift: Drift) -> None:
    data = [GOOD, b"x", OTHER, b"[%b,%b]" % (GOOD, GOOD)]
    checked = check(*data, drift=drift, transform=Transform("tests.hooks:fail"))
    assert (checked.rows, checked.accepted.num_rows) == (5, 0)
    found = rejected(checked)
    assert found[1] == malformed(1, b"x")
    for message, position, reasons, column, value, raw in found[:1] + found[2:]:
        assert (reasons, column) == (["transform_failed"], None)
        assert "no tariff for 4 rows" in value
        assert data[message][position:].startswith(raw)
        assert raw in (GOOD, OTHER)
