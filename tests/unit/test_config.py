from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from celes_beam.config import DEFAULT_CATEGORIES, DEFAULT_REGIONS, Config, load_config
from celes_beam.errors import ConfigError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def config_file(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# Defaults


def test_defaults() -> None:
    config = load_config()
    assert config == Config()
    assert (config.rows, config.batch_rows, config.seed) == (10_000_000, 1_000_000, 42)
    assert config.categories == DEFAULT_CATEGORIES
    assert config.regions == DEFAULT_REGIONS


def test_every_default_category_and_region_has_a_weight_and_a_price() -> None:
    config = Config()
    assert set(config.category_weights) == set(config.prices) == set(config.categories)
    assert set(config.region_weights) == set(config.regions)


def test_defaults_pass_their_own_validation() -> None:
    assert Config.model_validate(Config().model_dump()) == Config()


def test_a_config_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(pydantic.ValidationError):
        config.rows = 5  # type: ignore[misc]


def test_configs_do_not_share_their_defaults() -> None:
    first, second = Config(), Config()
    assert first.category_weights is not second.category_weights
    assert first.prices is not second.prices


def test_texts_that_have_no_weight_or_price_get_a_common_one() -> None:
    config = Config(categories=("Pan",), regions=("Aquí",))
    assert config.category_weight("Pan") == 1
    assert config.region_weight("Aquí") == 1
    assert config.price_range("Pan") == (Decimal(1), Decimal(500))
    assert config.category_weight("Alimentos") == 30


# Files and flags

YAML = """
rows: 500
categories: [Pan, Café]
prices:
  Pan: ["0.50", 3]
last_date: 2024-06-30
first_date: 2024-01-31
"""
TOML = """
rows = 500
categories = ["Pan", "Café"]
last_date = 2024-06-30
first_date = 2024-01-31

[prices]
Pan = ["0.50", 3]
"""


@pytest.mark.parametrize(
    ("name", "text"), [("c.yaml", YAML), ("c.yml", YAML), ("c", YAML), ("c.toml", TOML)]
)
def test_a_file_overrides_the_defaults(tmp_path: Path, name: str, text: str) -> None:
    config = load_config(config_file(tmp_path, name, text))
    assert config.rows == 500
    assert config.categories == ("Pan", "Café")
    assert config.price_range("Pan") == (Decimal("0.50"), Decimal(3))
    assert (config.first_date, config.last_date) == (date(2024, 1, 31), date(2024, 6, 30))
    assert config.seed == 42


def test_flags_override_the_file_and_those_not_given_do_not(tmp_path: Path) -> None:
    path = config_file(tmp_path, "c.yaml", "rows: 500\nseed: 7\n")
    config = load_config(path, {"rows": 9, "seed": None, "regions": ("Sur",)})
    assert (config.rows, config.seed, config.regions) == (9, 7, ("Sur",))


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load_config(config_file(tmp_path, "c.yaml", text)) == Config()
    assert load_config(config_file(tmp_path, "c.toml", text.replace("---", ""))) == Config()


def test_every_field_survives_a_yaml_file(tmp_path: Path) -> None:
    config = Config(rows=5, categories=("a", "b"), first_date=date(2024, 2, 2))
    path = config_file(tmp_path, "c.yaml", yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(path) == config


def test_texts_are_normalised() -> None:
    assert Config(regions=(" Cafe\u0301 ", "Sur")).regions == ("Café", "Sur")


# What is refused, and how it is told


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("rows", -1, ["rows=-1", "greater than or equal to 0"]),
        ("rows", "many", ["rows='many'", "integer"]),
        ("rows", 1.5, ["rows=1.5", "integer"]),
        ("rows", 10**12 + 1, ["rows=1000000000001", "less than or equal to 1000000000000"]),
        ("batch_rows", 0, ["batch_rows=0", "greater than or equal to 1"]),
        ("seed", 2**63, [f"seed={2**63}", f"less than {2**63}"]),
        ("seed", -1, ["seed=-1", "greater than or equal to 0"]),
        ("categories", (), ["categories=()", "at least one"]),
        ("regions", ("Sur", " Sur "), ["regions=('Sur', ' Sur ')", "Sur stands more often"]),
        ("regions", ("Sur", "  "), ["regions=('Sur', '  ')", "blank"]),
        ("category_weights", {"Pan": 0}, ["category_weights.Pan=0", "greater than 0"]),
        ("region_weights", {"Sur": float("nan")}, ["region_weights.Sur=nan", "finite"]),
        ("region_weights", {"Sur": float("inf")}, ["region_weights.Sur=inf", "finite"]),
        ("prices", {"Pan": ("0", "1")}, ["prices.Pan.0='0'", "greater than 0"]),
        ("prices", {"Pan": ("0.001", "1")}, ["prices.Pan.0='0.001'", "2 decimal places"]),
        ("prices", {"Pan": ("1", "10000000000")}, ["prices.Pan.1='10000000000'", "9999999999.99"]),
        ("prices", {"Pan": ("5", "1")}, ["prices of 'Pan': the highest, 1, is below", "5"]),
        ("customers", 0, ["customers=0", "greater than or equal to 1"]),
        ("first_date", "1999-12-31", ["first_date='1999-12-31'", "2000-01-01"]),
        ("first_date", "ayer", ["first_date='ayer'", "date"]),
        ("last_date", "2023-01-01", ["last_date=2023-01-01 is before first_date=2024-01-01"]),
        ("month_weights", (1, 2), ["month_weights=(1, 2)", "12"]),
        ("weekday_weights", (1,) * 6 + (0,), ["weekday_weights.6=0", "greater than 0"]),
        ("rows", True, ["rows=True", "integer"]),
        ("rows", "500", ["rows='500'", "integer"]),
        ("customers", 5.0, ["customers=5.0", "integer"]),
        ("category_weights", {"Ropa": True}, ["category_weights.Ropa=True", "number"]),
        ("category_weights", {"Rropa": 5}, ["category_weights: 'Rropa' is not", "'Ropa'"]),
        ("region_weights", {"norte": 5}, ["region_weights: 'norte' is not", "'Norte'"]),
        ("prices", {"Bebida": (1, 2)}, ["prices: 'Bebida' is not", "'Bebidas'"]),
        ("seed", "x" * 10_000, ["seed='xxx", "…: expected a valid integer"]),
        pytest.param("seed", 10**5000, ["seed=a very long int"], id="huge"),
        ("regions", ("Sur", "No\0rte"), ["'No\\x00rte' holds a NUL"]),
        ("regions", ("x" * 240,), ["cannot name a folder", "255 bytes"]),
        ("categories", ("__HIVE_DEFAULT_PARTITION__",), ["cannot name a folder", "Hive"]),
        (
            "filas",
            5,
            ["filas is not a field of the configuration; the fields are rows, batch_rows"],
        ),
    ],
)
def test_an_unacceptable_value_is_told_with_its_field_and_what_is_expected(
    field: str, value: Any, told: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {field: value})
    message = str(caught.value)
    assert all(part in message for part in told), message
    assert "\n" not in message
    assert len(message) < 600


def test_weights_and_prices_are_for_configured_texts_and_those_of_the_defaults() -> None:
    config = load_config(
        None,
        {
            "categories": ("Cafe\u0301",),
            "category_weights": {"Cafe\u0301": 3, "Ropa": 2},
            "prices": {"Café": (1, 2)},
        },
    )
    assert config.category_weight("Café") == 3
    assert config.price_range("Café") == (1, 2)


@pytest.mark.parametrize(
    "text", ["rows: 5\nseed: 1\nrows: 6\n", "prices:\n  Ropa: [1, 2]\n  Ropa: [3, 4]\n"]
)
def test_a_yaml_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = config_file(tmp_path, "c.yaml", text)
    with pytest.raises(ConfigError, match=r"not valid YAML: key '(rows|Ropa)' stands twice"):
        load_config(path)


def test_yaml_anchors_may_be_merged(tmp_path: Path) -> None:
    text = "prices: {Ropa: &a [1, 2], Hogar: *a}\n"
    assert load_config(config_file(tmp_path, "c.yaml", text)).price_range("Hogar") == (1, 2)


@pytest.mark.parametrize(
    ("name", "text"), [("c.yaml", "rows: {}"), ("c.toml", "rows = {}"), ("c.yaml", "rows: -{}")]
)
def test_an_integer_of_thousands_of_digits_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = config_file(tmp_path, name, text.format("9" * 5000))
    with pytest.raises(ConfigError, match="is not valid") as caught:
        load_config(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(("name", "text"), [("c.toml", "rows = 5"), ("c.yaml", "rows: 5")])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    assert load_config(config_file(tmp_path, name, "\ufeff" + text)).rows == 5


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"rows=-1: .*; customers=0: "):
        load_config(None, {"rows": -1, "customers": 0})


def test_a_problem_of_a_file_names_the_file(tmp_path: Path) -> None:
    path = config_file(tmp_path, "mi.yaml", "rows: -1")
    with pytest.raises(ConfigError, match=r"rows=-1: .*mi\.yaml"):
        load_config(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=rf"--config {path}: no such file"):
        load_config(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--config {tmp_path} cannot be read"):
        load_config(str(tmp_path))


def test_a_binary_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("c.yaml", "rows: [1", "YAML"),
        ("c.yaml", "a: b: c", "YAML"),
        ("c.yaml", "rows: \x00", "YAML"),
        ("c.toml", "rows = ", "TOML"),
        ("c.toml", "rows: 5", "TOML"),
        ("C.TOML", "rows: 5", "TOML"),
    ],
)
def test_a_file_with_errors_is_told_on_one_line(
    tmp_path: Path, name: str, text: str, kind: str
) -> None:
    path = config_file(tmp_path, name, text)
    with pytest.raises(ConfigError, match=rf"{name} is not valid {kind}: ") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "kind"), [("- 1\n- 2", "list"), ("rows", "str"), ("5", "int")])
def test_a_file_without_fields_is_told(tmp_path: Path, text: str, kind: str) -> None:
    path = config_file(tmp_path, "c.yaml", text)
    with pytest.raises(ConfigError, match=rf"holds a {kind}: expected 'field: value' lines"):
        load_config(path)


def test_a_field_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = config_file(tmp_path, "c.yaml", "5: rows")
    with pytest.raises(ConfigError, match="5"):
        load_config(path)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*Config.model_fields, "otra"]), values, max_size=3))
@example({"category_weights": {"\n": None}})
def test_whatever_is_given_is_accepted_or_told_on_one_line(given_values: dict[str, Any]) -> None:
    told = "fine"
    try:
        load_config(None, given_values)
    except ConfigError as error:
        told = str(error)
    assert told.strip()
    assert "\n" not in told


# Rules


def test_generated_rows_know_the_configured_texts() -> None:
    rules = load_config().rules(NOW, generated=True)
    assert rules.categories == DEFAULT_CATEGORIES
    assert rules.regions == DEFAULT_REGIONS


def test_input_files_may_hold_any_text_unless_some_are_asked_for(tmp_path: Path) -> None:
    rules = load_config().rules(NOW, generated=False)
    assert (rules.categories, rules.regions) == (None, None)
    by_flag = load_config(None, {"categories": ("Pan",)}).rules(NOW, generated=False)
    assert (by_flag.categories, by_flag.regions) == (("Pan",), None)
    path = config_file(tmp_path, "c.toml", 'regions = ["Sur"]')
    by_file = load_config(path).rules(NOW, generated=False)
    assert (by_file.categories, by_file.regions) == (None, ("Sur",))
    assert by_file.started == NOW
