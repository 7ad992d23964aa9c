from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import (
    AMOUNT,
    AMOUNT_PRECISION,
    AMOUNT_SCALE,
    CATEGORY,
    COLUMN_NAMES,
    COLUMNS,
    DATE,
    ID,
    MAX_CENTS,
    REGION,
    REJECTED_SCHEMA,
    SCHEMA,
    Reason,
    Rules,
    can_name_folder,
    fold_header,
    match_headers,
    mean,
    normalize_text,
)
from celes_beam.errors import ColumnError, ConfigError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# The schema


def test_the_five_columns() -> None:
    assert SCHEMA.equals(
        pa.schema(
            [
                pa.field("id_cliente", pa.int64(), nullable=False),
                pa.field("fecha_de_transaccion", pa.timestamp("us", tz="UTC"), nullable=False),
                pa.field("cantidad_de_venta", pa.decimal128(12, 2), nullable=False),
                pa.field("categoria_de_producto", pa.string(), nullable=False),
                pa.field("region_de_venta", pa.string(), nullable=False),
            ]
        )
    )
    assert tuple(SCHEMA.names) == COLUMN_NAMES == (ID, DATE, AMOUNT, CATEGORY, REGION)
    assert [c.bigquery_type for c in COLUMNS] == [
        "INT64",
        "TIMESTAMP",
        "NUMERIC",
        "STRING",
        "STRING",
    ]


def test_the_largest_amount_just_fits() -> None:
    fits = pa.array([Decimal(MAX_CENTS).scaleb(-AMOUNT_SCALE)], SCHEMA.field(AMOUNT).type)
    assert fits[0].as_py() == Decimal("9999999999.99")
    with pytest.raises(pa.ArrowInvalid):
        pa.array([Decimal(MAX_CENTS + 1).scaleb(-AMOUNT_SCALE)], SCHEMA.field(AMOUNT).type)
    assert len(str(MAX_CENTS)) == AMOUNT_PRECISION


def test_the_reasons_are_a_closed_set() -> None:
    assert [str(reason) for reason in Reason] == [
        "malformed",
        "missing",
        "unparseable",
        "out_of_range",
        "inexact",
        "unknown",
        "transform_failed",
        "refused",
    ]


def test_a_rejected_row_says_where_it_stood_and_why() -> None:
    assert REJECTED_SCHEMA.names == [
        "source",
        "position",
        "reasons",
        "column",
        "value",
        "raw",
        "rejected_at",
        "rules_version",
        "attempt",
    ]
    assert [f.name for f in REJECTED_SCHEMA if f.nullable] == ["column", "value"]


# Rules


def test_dates_are_accepted_from_2000_to_a_day_after_the_start() -> None:
    rules = Rules(NOW)
    assert rules.min_us == 946_684_800_000_000
    assert rules.max_us == int((NOW + timedelta(days=1)).timestamp()) * 10**6


def test_the_bounds_of_dates_are_exact_to_the_microsecond_and_free_of_zones() -> None:
    started = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5)))
    expected = Rules(datetime(2026, 3, 1, 17, 0, 0, 1, tzinfo=UTC)).max_us
    assert Rules(started).max_us == expected
    assert expected % 10**6 == 1


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"started=datetime.*has no time zone"):
        Rules(datetime(2026, 3, 1))


def test_accepted_texts_are_normalised_as_those_of_rows_are() -> None:
    rules = Rules(NOW, categories=(" Electro\u0301nica ",), regions=None)
    assert rules.categories == ("Electrónica",)
    assert rules.regions is None


# Texts and headers


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Norte\t\n", "Norte"),
        ("Electro\u0301nica", "Electr\u00f3nica"),
        ("\u00a0Sur\u2003", "Sur"),
        ("dos  palabras", "dos  palabras"),
        (" \t", ""),
    ],
)
def test_texts_are_stripped_and_composed(text: str, normal: str) -> None:
    assert normalize_text(text) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


HEADERS = list(COLUMN_NAMES)


def shout_with_accents(name: str) -> str:
    accented = name.upper().replace("O", "O\u0301").replace("I", "I\u0301")
    return f"\ufeff  {accented} "


@given(
    st.permutations([*HEADERS, "extra", "otra"]), st.lists(st.booleans(), min_size=7, max_size=7)
)
def test_headers_are_found_in_any_order_case_and_accents(
    names: list[str], shouted: list[bool]
) -> None:
    found = [
        shout_with_accents(name) if shout else name
        for name, shout in zip(names, shouted, strict=True)
    ]
    assert match_headers(found) == {name: names.index(name) for name in COLUMN_NAMES}


@pytest.mark.parametrize(
    "header",
    [
        "fecha_de_transacción",
        "FECHA_DE_TRANSACCIÓN",
        "fecha_de_transaccio\u0301n",
        "\ufefffecha_de_transaccion",
        " Fecha_De_Transaccion\u00a0",
    ],
)
def test_the_same_header_written_otherwise(header: str) -> None:
    assert fold_header(header) == DATE


@pytest.mark.parametrize("header", ["fecha de transaccion", "fecha", "", "fecha_de_transaccion_2"])
def test_another_header(header: str) -> None:
    assert fold_header(header) != DATE


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold_header(fold_header(name)) == fold_header(name)


def test_a_mapping_names_another_header() -> None:
    found = ["Household_ID", *HEADERS[1:]]
    assert match_headers(found, {ID: "household_id"})[ID] == 0


def test_a_mapping_wins_over_the_column_s_own_name() -> None:
    assert match_headers([*HEADERS, "household_id"], {ID: "household_id"})[ID] == 5


def test_a_missing_column_is_told_with_those_there_and_the_nearest() -> None:
    with pytest.raises(ColumnError) as caught:
        match_headers(["id_client", *HEADERS[1:]])
    assert str(caught.value) == (
        "no column for id_cliente; the columns are 'id_client', 'fecha_de_transaccion', "
        "'cantidad_de_venta', 'categoria_de_producto', 'region_de_venta'; "
        "perhaps --columns id_cliente=id_client"
    )


def test_without_a_near_header_the_remedy_is_general() -> None:
    with pytest.raises(ColumnError, match=r"no column for id_cliente, fecha_de_transaccion.*'a'.*"):
        match_headers(["a", "b"])
    with pytest.raises(ColumnError, match="map them with --columns id_cliente=HEADER"):
        match_headers(["a", "b"])


def test_a_mapped_header_that_is_missing_is_told_as_mapped() -> None:
    with pytest.raises(ColumnError, match=r"no column for id_cliente \(as 'household'\)"):
        match_headers(HEADERS[1:], {ID: "household"})


def test_long_header_lines_are_cut() -> None:
    with pytest.raises(ColumnError) as caught:
        match_headers([f"c{i}" for i in range(500)])
    assert "'c19', …;" in str(caught.value)
    assert "'c20'" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("Norte", True),
        ("a" * 239, True),
        ("a" * 240, False),
        ("/" * 79, True),
        ("/" * 80, False),
        ("__HIVE_DEFAULT_PARTITION__", False),
    ],
)
def test_texts_that_can_name_a_folder(text: str, fine: bool) -> None:
    assert can_name_folder("region_de_venta", text) == fine


def test_two_headers_for_one_column_are_refused() -> None:
    for twice in (("REGION_DE_VENTA", "Región_de_venta"), ("region_de_venta",) * 2):
        with pytest.raises(
            ColumnError, match=rf"region_de_venta is there 2 times \('{twice[0]}', '{twice[1]}'\)"
        ):
            match_headers([*(h for h in HEADERS if h != "region_de_venta"), *twice])


def test_a_header_spelled_as_wanted_comes_before_others_that_fit() -> None:
    both = ["Region_de_Venta", *HEADERS, "REGIÓN_DE_VENTA"]
    assert match_headers(both)["region_de_venta"] == both.index("region_de_venta")
    assert match_headers(both, {"region_de_venta": "Region_de_Venta"})["region_de_venta"] == 0


def test_other_headers_may_stand_twice() -> None:
    assert match_headers(["x", "x", *HEADERS])[ID] == 2


def test_no_headers() -> None:
    with pytest.raises(ColumnError, match="no column for id_cliente"):
        match_headers([])


# The mean


@pytest.mark.parametrize(
    ("total", "rows", "expected"),
    [
        ("1.00", 3, "0.333333"),
        ("2.00", 3, "0.666667"),
        ("0.000001", 2, "0.000000"),
        ("0.000003", 2, "0.000002"),
        ("0.000005", 2, "0.000002"),
        ("10", 1, "10.000000"),
        ("0", 7, "0.000000"),
        ("9999999999990000000000.00", 10**12, "9999999999.990000"),
    ],
)
def test_a_mean_has_six_decimals_half_even(total: str, rows: int, expected: str) -> None:
    found = mean(Decimal(total), rows)
    assert str(found) == expected


@settings(deadline=None)
@given(st.integers(0, 10**12 * MAX_CENTS), st.integers(1, 10**12))
def test_a_mean_is_the_exact_quotient_rounded_once(cents: int, rows: int) -> None:
    exact = Fraction(cents, 100 * rows) * 10**6
    # Python rounds a Fraction half to even, exactly.
    assert mean(Decimal(cents).scaleb(-2), rows) * 10**6 == round(exact)


def test_a_mean_does_not_depend_on_the_decimal_context_around_it() -> None:
    with localcontext() as context:
        context.prec = 3
        context.rounding = ROUND_HALF_EVEN
        assert str(mean(Decimal("123456789.10"), 1)) == "123456789.100000"


@pytest.mark.parametrize("rows", [0, -1])
def test_a_mean_of_no_rows_is_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"rows={rows}: a mean needs at least one row"):
        mean(Decimal(0), rows)
