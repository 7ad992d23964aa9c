from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from celes_beam.commands.compare import add_compare_command
from celes_beam.commands.compare_options import CompareOptions, compare_options
from celes_beam.commands.flags import FlagParser
from celes_beam.errors import ConfigError

TABLE = "my-project:sales.ventas"


def options(*argv: str) -> CompareOptions:
    parser = FlagParser()
    groups: Any = parser.add_subparsers()
    add_compare_command(groups)
    flags: argparse.Namespace = parser.parse_args(["compare", *argv])
    return compare_options(flags)


def names(*argv: str) -> list[str]:
    return [engine.name for engine in options(*argv).engines]


def test_by_default_all_engines_that_can_be_asked_are() -> None:
    files = ["pandas", "dask", "spark", "beam", "polars", "duckdb"]
    assert names("-i", "lake") == files
    assert names("-i", "lake", "--bigquery_table", TABLE) == [*files, "bigquery"]
    assert names("-i", "lake", "--engines", "duckdb, beam") == ["duckdb", "beam"]
    assert options("-i", "lake").rounds == 3


def test_what_engines_are_asked() -> None:
    asked = options(
        *("-i", "lake", "--top", "5", "--columns", "id_cliente=a b,region_de_venta=z"),
        *("--engine_flags", "spark=--master 'local[2]'", "--engine_flags", "spark=--x"),
        *("--timeout", "60"),
    ).question("lake")
    assert asked.flags == ("--sort_by", "cantidad_de_venta", "--descending", "--top", "5")
    assert asked.input_flags == ("--columns", "id_cliente=a b,region_de_venta=z")
    assert asked.own_flags == {"spark": ["--master", "local[2]", "--x"]}
    assert asked.timeout == 60
    plain = options("-i", "lake").question("lake")
    assert (plain.flags, plain.input_flags) == ((), ())


def test_sizes_rise() -> None:
    asked = options("--rows", "1e6, 1000,2_000,1e6")
    assert asked.sizes == (1000, 2000, 1_000_000)
    assert asked.named_input == "--rows 1e3,2e3,1e6"


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ([], "--input/-i --rows is required"),
        (["-i", "lake", "--rows", "1"], "not allowed with argument"),
        (["--rows", "x"], "--rows x: expected a whole number"),
        (["--rows", "0"], "--rows 0: expected numbers of rows"),
        (["--rows", ","], "--rows ,: expected numbers of rows"),
        (["-i", "lake", "--keep", "lakes"], "--keep is for lakes that --rows generates"),
        (["-i", "lake", "--engines", ","], "--engines ',': expected some of pandas"),
        (["-i", "lake", "--engines", "presto"], "--engines presto: expected some of"),
        (["-i", "lake", "--engines", "bigquery"], "--engines bigquery: say which table"),
        (["-i", "lake", "--engines", "beam", "--bigquery_table", TABLE], "add bigquery to"),
        (["--rows", "1", "--bigquery_table", TABLE], "holds no generated lake"),
        (["-i", "lake", "--bigquery_table", "ventas"], "expected PROJECT:DATASET.TABLE"),
        (["-i", "lake", "--engine_flags", "dask"], "expected NAME=FLAGS, with NAME one of"),
        (["-i", "lake", "--engine_flags", "bigquery=--x"], "expected NAME=FLAGS"),
        (["-i", "lake", "--engine_flags", "dask='"], "No closing quotation"),
        (["-i", "lake", "--top", "1e6"], "--top 1,000,000: expected at most 100,000"),
        (["-i", "lake", "--repeat", "0"], "--repeat 0: expected 1 or more"),
        (["-i", "lake", "--json", "/nowhere/c.json"], "--json /nowhere/c.json cannot be"),
        (["-i", "lake", "--report", "/nowhere/r.html"], "--report /nowhere/r.html cannot be"),
    ],
)
def test_what_cannot_be_is_refused(argv: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        options(*argv)
    assert why in str(raised.value)


def test_nothing_is_written_among_the_data(tmp_path: Path) -> None:
    for flag, name in (("--json", "c.json"), ("--report", "r.html")):
        with pytest.raises(ConfigError, match=f"{flag} .* is inside"):
            options("-i", str(tmp_path), flag, str(tmp_path / name))
