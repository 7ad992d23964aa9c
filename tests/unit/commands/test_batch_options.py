import argparse
from datetime import UTC, datetime

import pytest

from celes_beam.commands.batch_options import batch_options, new_run_id
from celes_beam.commands.flags import (
    add_batch_flags,
    add_format_flags,
    add_run_flags,
    add_sales_flags,
    add_warehouse_flags,
    flag_parser,
)
from celes_beam.commands.watch_options import add_watch_flags
from celes_beam.contract import CATEGORY, REGION
from celes_beam.errors import ConfigError


def parsed(*argv: str) -> argparse.Namespace:
    adders = (add_batch_flags, add_watch_flags, add_warehouse_flags)
    adders += (add_sales_flags, add_format_flags, add_run_flags)
    return flag_parser("pipelines.batch", "what it does", *adders).parse_args(argv)


def test_generated_sales_are_held_to_the_configured_world() -> None:
    options = batch_options(parsed("--rows", "1e3", "--regions", "Norte,Sur"))

    assert options.generates
    assert options.config.rows == 1000
    assert options.rules.regions == ("Norte", "Sur")
    assert options.rules.categories == options.config.categories
    assert options.layout.partition_by == (REGION,)


def test_files_may_hold_any_text_unless_some_are_configured() -> None:
    options = batch_options(parsed("-i", "a.csv", "--categories", "Hogar"))

    assert not options.generates
    assert options.rules.categories == ("Hogar",)
    assert options.rules.regions is None


def test_how_files_are_written() -> None:
    flags = ["--csv_delimiter", "tab", "--csv_decimal", ",", "--csv_encoding", "cp1252"]
    how = batch_options(parsed("-i", "a.csv", *flags, "--date_format", "dd/mm/yyyy")).how

    assert how.dialect.delimiter == "\t"
    assert how.dialect.encoding == "cp1252"
    assert how.dialect.notation.decimal_point == ","
    assert how.dialect.notation.date_format is not None


def test_columns_partitions_and_sizes() -> None:
    argv = ["-p", "categoria_de_producto,mes", "--target_file_mb", "3", "--columns", "id_cliente=x"]
    options = batch_options(parsed("-i", "a.csv", *argv))

    assert options.layout.partition_by == (CATEGORY, "mes")
    assert options.layout.target_file_bytes == 3 * 2**20
    assert dict(options.how.columns) == {"id_cliente": "x"}


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n", "ñ"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(ConfigError, match="--csv_delimiter"):
        batch_options(parsed("-i", "a.csv", "--csv_delimiter", delimiter))


def test_run_ids_tell_when_and_differ() -> None:
    started = datetime(2024, 5, 3, 12, 30, 5, tzinfo=UTC)
    first, second = new_run_id(started), new_run_id(started)

    assert first.startswith("20240503T123005Z-")
    assert first != second


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--csv_decimal", ","], "--csv_decimal is for input files"),
        (["--transform", "tests.hooks:same"], "--transform is for input files"),
        (["-i", "a.csv", "--transform", "tests.hooks:sane"], "has no 'sane': perhaps same"),
        (["--columns", "id_cliente=x"], "--columns is for input files"),
        (["--reprocess"], "--reprocess is for input files"),
        (["-i", "a.csv", "--seed", "7"], "--seed is for generated sales"),
        (["-i", "a.csv", "--batch_rows", "7"], "--batch_rows is for generated sales"),
        (["-i", "a.csv", "--columns", "id_cliente=x", "--columns", "id_cliente=y"], "name one"),
        (["--config", ""], "--config"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(argv: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        batch_options(parsed(*argv))


def test_columns_add_up() -> None:
    argv = ["-i", "a.csv", "--columns", "id_cliente=x", "--columns", "region_de_venta=y"]

    assert dict(batch_options(parsed(*argv)).how.columns) == {
        "id_cliente": "x",
        "region_de_venta": "y",
    }
