import pytest

from celes_beam.commands.flags import (
    add_batch_flags,
    add_format_flags,
    add_run_flags,
    add_sales_flags,
    add_warehouse_flags,
    flag_parser,
    parse_flags,
)
from celes_beam.commands.watch_options import add_watch_flags
from celes_beam.errors import ConfigError


def parse(*argv: str) -> dict[str, object]:
    adders = (add_batch_flags, add_watch_flags, add_warehouse_flags)
    adders += (add_sales_flags, add_format_flags, add_run_flags)
    flags, rest = parse_flags(flag_parser("pipelines.batch", "what it does", *adders), argv)
    return {**vars(flags), "rest": rest}


def test_without_flags_sales_are_generated_into_a_folder_here() -> None:
    flags = parse()

    assert flags["input"] is None
    assert flags["output"] == "./lake"
    assert flags["partition_by"] == "region_de_venta"
    assert flags["if_exists"] == "error"
    assert flags["max_rejected"] == "100%"
    assert flags["rest"] == []


def test_short_forms_and_repeated_inputs() -> None:
    flags = parse("-o", "x", "-p", "mes", "-f", "-i", "a.csv", "b.csv", "--input", "c.csv")

    assert flags["output"] == "x"
    assert flags["partition_by"] == "mes"
    assert flags["if_exists"] == "overwrite"
    assert flags["input"] == ["a.csv", "b.csv", "c.csv"]


def test_what_is_not_ours_is_left_for_beam() -> None:
    assert parse("--runner", "DirectRunner", "--rows", "5")["rest"] == ["--runner", "DirectRunner"]


@pytest.mark.parametrize("flag", ["--if_exists=replace", "--format=xml", "--csv_decimal=;"])
def test_a_wrong_choice_is_one_line(flag: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid choice.*see --help"):
        parse(flag)


def test_abbreviations_are_not_guessed() -> None:
    assert parse("--out", "x")["rest"] == ["--out", "x"]
