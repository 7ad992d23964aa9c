"""The flags of ``pipelines.aggregate``; imports no Beam."""

from __future__ import annotations

import argparse

from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import add_columns, add_if_exists, add_report_flags


def add_aggregate_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.aggregate``."""
    group = parser.add_argument_group("input and output")
    group.add_argument(
        "--input",
        "-i",
        required=True,
        metavar="LAKE",
        help="folder of a lake, of which the committed rows are read; or any folder of Parquet "
        "files, with or without hive paths",
    )
    add_columns(
        group,
        "columns that go by another name in a folder that is no lake, such as "
        "id_cliente=household_id",
    )
    group.add_argument(
        "--output",
        "-o",
        metavar="FOLDER",
        help="folder, also below gs://BUCKET, for the result as Parquet, CSV and JSON "
        "(default: it is only shown)",
    )
    add_if_exists(
        group,
        ("error", "overwrite"),
        "when the folder holds a result already: stop, or replace it",
    )
    group = parser.add_argument_group("rows in order")
    group.add_argument(
        "--sort_by",
        choices=("cantidad_de_venta", "fecha_de_transaccion", "id_cliente"),
        help="what --top and --write_sorted go by; equal rows are ordered by the other columns "
        "(default: cantidad_de_venta)",
    )
    group.add_argument("--descending", action="store_true", help="from the highest to the lowest")
    group.add_argument(
        "--top",
        type=positive_int("--top"),
        metavar="N",
        help="also give the first N rows in that order",
    )
    group.add_argument(
        "--write_sorted",
        action="store_true",
        help="also write all rows in that order, as Parquet parts under FOLDER/sorted; parts have "
        "about 500,000 rows, which are sorted in memory",
    )
    add_report_flags(parser.add_argument_group("the run"))
