from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.report.reader_format import ENGLISH_FORMAT as EN
from celes_beam.report.reader_format import SPANISH_FORMAT as ES
from celes_beam.report.reader_format import ReaderFormat, visible


@pytest.mark.parametrize(
    ("value", "spanish", "english"),
    [
        ("1234.56", "1.234,56", "1,234.56"),
        ("0.00", "0,00", "0.00"),
        ("-1234567.8", "-1.234.567,80", "-1,234,567.80"),
        (
            "99999999999999999999999999999999999999.99",
            "99.999.999.999.999.999.999.999.999.999.999.999.999,99",
            "99,999,999,999,999,999,999,999,999,999,999,999,999.99",
        ),
        ("0.125000", "0,12", "0.12"),
        ("0.135000", "0,14", "0.14"),
    ],
)
def test_amounts(value: str, spanish: str, english: str) -> None:
    assert (ES.amount(value), EN.amount(value)) == (spanish, english)


@given(st.decimals(-(10**30), 10**30, places=2), st.sampled_from([ES, EN]))
def test_an_amount_can_be_read_back(value: Decimal, form: ReaderFormat) -> None:
    plain = form.amount(value).replace(form.thousands, "").replace(form.decimal, ".")
    assert Decimal(plain) == value


def test_counts_shares_sizes_and_times() -> None:
    assert (ES.number(1_000_000), EN.number(1_000_000)) == ("1.000.000", "1,000,000")
    assert (ES.share("0.516482"), EN.share("0.516482")) == ("51,6\u00a0%", "51.6%")
    sizes = [EN.size(n) for n in (0, 999, 1000, 1_500_000, 2 * 10**18)]
    assert sizes == ["0\u00a0B", "999\u00a0B", "1.0\u00a0kB", "1.5\u00a0MB", "2,000.0\u00a0PB"]
    times = [ES.seconds(s) for s in (0.004, 59.99, 60, 3725.4)]
    assert times == [
        "0,00\u00a0s",
        "59,99\u00a0s",
        "1\u00a0min\u00a00\u00a0s",
        "62\u00a0min\u00a05\u00a0s",
    ]


def test_dates_are_those_of_utc() -> None:
    late = "2024-01-31T23:30:00-05:00"
    assert (ES.date(late), EN.date(late)) == ("1\u00a0feb\u00a02024", "1\u00a0Feb\u00a02024")
    assert EN.moment(late) == "1\u00a0Feb\u00a02024, 04:30\u00a0UTC"
    assert (ES.month("2024-12"), EN.month("2024-12")) == ("dic\u00a02024", "Dec\u00a02024")


def test_control_characters_are_shown() -> None:
    assert visible("a\x00b\x1b\x7f\nc ñ") == "a␀b␛␡␊c ñ"
