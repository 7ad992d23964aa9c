import pytest

from celes_beam.commands.flag_values import (
    column_mapping,
    most_rejected,
    positive_int,
    text_list,
    whole_number,
)
from celes_beam.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("1_000", 1000), ("1e7", 10_000_000), ("-3", -3)]
)
def test_whole_numbers(text: str, value: int) -> None:
    assert whole_number("--rows")(text) == value


@pytest.mark.parametrize("text", ["ten", "1.5", "1.5e0", "", "nan", "inf", "1e", "1e999"])
def test_what_is_no_whole_number_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--rows.*expected a whole number"):
        whole_number("--rows")(text)


def test_sizes_are_at_least_one() -> None:
    assert positive_int("--target_file_mb")("1") == 1
    with pytest.raises(ConfigError, match="--target_file_mb 0: expected 1 or more"):
        positive_int("--target_file_mb")("0")


def test_text_lists() -> None:
    assert text_list("--regions")(" Norte, Sur ,") == ("Norte", "Sur")
    with pytest.raises(ConfigError, match="expected a comma list"):
        text_list("--regions")(" , ")


def test_column_mapping() -> None:
    pairs = column_mapping("id_cliente=household_id, cantidad_de_venta = Total Amount")

    assert pairs == (("id_cliente", "household_id"), ("cantidad_de_venta", "Total Amount"))


@pytest.mark.parametrize("text", ["id_cliente", "id=x", "id_cliente="])
def test_a_wrong_mapping_says_what_is_expected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected COLUMN=HEADER with COLUMN one of id_cliente"):
        column_mapping(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", (0, None)), ("12", (12, None)), ("100%", (None, 1.0)), ("0.5%", (None, 0.005))],
)
def test_most_rejected(text: str, expected: tuple[int | None, float | None]) -> None:
    assert most_rejected(text) == expected


@pytest.mark.parametrize("text", ["", "%", "-1", "101%", "-1%", "many", "1.5", "nan%"])
def test_a_wrong_limit_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--max_rejected"):
        most_rejected(text)
