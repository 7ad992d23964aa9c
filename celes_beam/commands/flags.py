"""The flags of every pipeline, told to plain argparse and to Beam alike; imports no Beam.

Beam's options classes (``transforms/options.py``) call the same functions, so ``--help`` answers
at once and a flag is described in one place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from celes_beam.commands.flag_values import (
    column_mapping,
    positive_int,
    text_list,
    whole_number,
)
from celes_beam.errors import ConfigError

AddFlags = Callable[[argparse.ArgumentParser], None]

_BEAM_FLAGS = (
    "Beam's own flags (--runner, --project, --temp_location, …) may follow; with none, the "
    "pipeline runs here, in this process (DirectRunner)."
)
_TEXT_LIST_HELP = "comma list; a text that holds a comma goes into --config"


class FlagParser(argparse.ArgumentParser):
    """An argument parser whose errors are ``ConfigError``, one line each."""

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message}; see --help")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def flag_parser(
    program: str, description: str, *add: AddFlags, epilog: str = _BEAM_FLAGS
) -> FlagParser:
    """Make a parser of the given flags; names must be written out in full."""
    parser = FlagParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        epilog=epilog,
    )
    for add_flags in add:
        add_flags(parser)
    return parser


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.batch`` beyond those that describe sales, files and the run."""
    group = parser.add_argument_group("input and output")
    group.add_argument(
        "--input",
        "-i",
        action="extend",
        nargs="+",
        metavar="PATH",
        help="files, folders or globs to read, local or gs://; repeatable. Without it, sales are "
        "generated",
    )
    add_lake_output(group)
    group.add_argument(
        "--reprocess",
        action="store_true",
        help="read inputs again that an earlier run of this lake has committed; they are "
        "skipped otherwise",
    )
    group.add_argument(
        "--bad_files",
        choices=("fail", "set_aside"),
        help="what to do about a file that is no sales, or damaged: stop, or go on with the others "
        "and keep why in _rejected (default: fail; with --watch set_aside)",
    )
    group.add_argument(
        "--max_rejected",
        default="100%",
        metavar="N|P%",
        help="most rows that may be rejected, a number or a percentage of the rows read; beyond "
        "it nothing is committed and the exit code is 3 (default: %(default)s)".replace(
            "P%", "P%%"
        ),
    )


def add_if_exists(group: Any, choices: Sequence[str], explained: str) -> None:
    """``--if_exists`` with the given choices, the first the default, and ``-f`` for overwrite."""
    group.add_argument(
        "--if_exists",
        choices=choices,
        default=choices[0],
        help=f"{explained} (default: {choices[0]})",
    )
    group.add_argument(
        "-f",
        dest="if_exists",
        action="store_const",
        const="overwrite",
        default=argparse.SUPPRESS,
        help="short for --if_exists overwrite",
    )


def add_columns(group: Any, explained: str) -> None:
    """``--columns``, repeatable; see ``one_header_each`` for what it gives."""
    group.add_argument(
        "--columns",
        action="extend",
        type=column_mapping,
        metavar="COLUMN=HEADER,…",
        help=explained,
    )


def add_lake_output(group: Any) -> None:
    """Where the lake is, how it is partitioned, and what to do when it is there already."""
    group.add_argument(
        "--output",
        "-o",
        default="./lake",
        metavar="LAKE",
        help="folder of the lake (default: %(default)s)",
    )
    add_partition_flags(group)
    add_if_exists(
        group,
        ("error", "append", "overwrite"),
        "when the lake holds rows already: stop, add to them, or replace them",
    )


def add_partition_flags(group: Any) -> None:
    """How the files of a lake are laid out."""
    group.add_argument(
        "--partition_by",
        "-p",
        default="region_de_venta",
        metavar="COLUMNS",
        help="comma list of region_de_venta, categoria_de_producto, fecha (day), mes (month) and "
        "anio (year), or none (default: %(default)s)",
    )
    add_target_file_flag(group)


def add_target_file_flag(group: Any) -> None:
    """``--target_file_mb``."""
    group.add_argument(
        "--target_file_mb",
        type=positive_int("--target_file_mb"),
        default=128,
        metavar="MB",
        help="a Parquet file is finished at about this size (default: %(default)s)",
    )


def add_warehouse_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which table of BigQuery is loaded, and how it is made."""
    group = parser.add_argument_group("BigQuery")
    add_table_flags(group, "load what is committed into this table too")
    group.add_argument(
        "--dry_run",
        action="store_true",
        help="tell what would be made and loaded in BigQuery, and change nothing",
    )


def add_table_flags(group: Any, explained: str) -> None:
    """``--bigquery_table``, and how it is made when it is missing."""
    group.add_argument(
        "--bigquery_table",
        metavar="PROJECT:DATASET.TABLE",
        help=f"{explained}; dataset, table, <table>_rechazadas and views are made when missing",
    )
    group.add_argument(
        "--bigquery_location",
        metavar="PLACE",
        help="where a missing dataset is made, such as EU; that of the bucket (default: US)",
    )
    group.add_argument(
        "--kms_key",
        metavar="KEY",
        help="Cloud KMS key that encrypts what is made: projects/…/cryptoKeys/…",
    )


def add_sales_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that override fields of the Config."""
    group = parser.add_argument_group("sales")
    group.add_argument(
        "--rows",
        type=whole_number("--rows"),
        metavar="N",
        help="rows to generate (default: 10,000,000)",
    )
    group.add_argument(
        "--seed",
        type=whole_number("--seed"),
        metavar="N",
        help="the same seed makes the same sales, row for row (default: 42)",
    )
    group.add_argument(
        "--batch_rows",
        type=whole_number("--batch_rows"),
        metavar="N",
        help="rows generated in one shard, the unit of retry (default: 1,000,000)",
    )
    add_rules_flags(
        group, "ten for generated sales, any for files", "six for generated sales, any for files"
    )


def add_rules_flags(group: Any, categories: str, regions: str) -> None:
    """What is accepted: ``--categories``, ``--regions`` and ``--config``; with their defaults."""
    group.add_argument(
        "--categories",
        type=text_list("--categories"),
        metavar="A,B",
        help=f"accepted categories, {_TEXT_LIST_HELP} (default: {categories})",
    )
    group.add_argument(
        "--regions",
        type=text_list("--regions"),
        metavar="A,B",
        help=f"accepted regions, {_TEXT_LIST_HELP} (default: {regions})",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        help="YAML or TOML file with any field of the configuration; flags come before it",
    )


def add_format_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how input files are written."""
    group = parser.add_argument_group("format of input files")
    add_written_flags(group)
    add_transform(group, "your function that gets each block of rows before it is checked")


def add_written_flags(group: Any) -> None:
    """How files are written: ``--format``, ``--columns``, ``--date_format`` and those of CSV."""
    group.add_argument(
        "--format",
        choices=("auto", "csv", "ndjson", "parquet"),
        default="auto",
        help="auto goes by the name and the first bytes; .gz, .zst and .bz2 are read too "
        "(default: %(default)s)",
    )
    add_columns(group, "headers that go by another name, such as id_cliente=household_id")
    group.add_argument(
        "--csv_delimiter",
        metavar="CHAR",
        help="what stands between fields; \\t or tab for a tab (default: found from the header)",
    )
    group.add_argument(
        "--csv_decimal",
        choices=(".", ","),
        default=".",
        help="decimal point of amounts (default: %(default)s)",
    )
    group.add_argument(
        "--csv_encoding",
        default="utf-8",
        metavar="NAME",
        help="encoding of CSV files, such as latin-1 or cp1252 (default: %(default)s)",
    )
    group.add_argument(
        "--date_format",
        metavar="FORM",
        help="how dates are written, such as dd/mm/yyyy or %%d/%%m/%%Y %%H:%%M (default: ISO 8601)",
    )


def add_transform(group: Any, explained: str) -> None:
    """``--transform``, the user's own function on rows; see ``sales/transform.py``."""
    group.add_argument(
        "--transform",
        metavar="MODULE:FUNCTION",
        help=f"{explained}, a RecordBatch in and one out, such as hooks:clean for hooks.py here "
        "(docs/transform.md)",
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Flags about the run itself."""
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--run_id",
        metavar="NAME",
        help="name of this run; a run that was committed is never done again, so giving the "
        "same name after a failure is safe (default: made from the time)",
    )
    add_report_flags(group)


def add_report_flags(group: Any) -> None:
    """What a run says of itself."""
    group.add_argument(
        "--summary_json",
        metavar="FILE",
        help="also write the summary as JSON to this file",
    )
    group.add_argument(
        "--progress",
        choices=("auto", "off"),
        default="auto",
        help="a bar on a terminal and log lines elsewhere, or nothing (default: %(default)s)",
    )


def parse_flags(parser: FlagParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse our flags; what is left is Beam's. Prints help and exits when asked for it."""
    return parser.parse_known_args(list(argv))


def known_flags(parser: FlagParser) -> list[str]:
    """The flags a parser knows, for hints about misspelt ones."""
    return list(parser._option_string_actions)
