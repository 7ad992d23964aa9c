"""The flags of ``pipelines.generate``, told to plain argparse; imports no Beam."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import add_if_exists, add_report_flags
from celes_beam.errors import ConfigError


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.generate`` beyond those that describe sales."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        default="./ventas.csv",
        metavar="PATH",
        help="a .csv or .parquet file, or a folder, on a disk of this machine or below gs://BUCKET "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--format",
        choices=("csv", "parquet"),
        help="format of the files of a folder (default: csv)",
    )
    group.add_argument(
        "--shards",
        type=positive_int("--shards"),
        metavar="N",
        help="files of a folder (default: one for every --batch_rows rows)",
    )
    add_if_exists(
        group,
        ("error", "overwrite"),
        "when the output is there already: stop, or replace it",
    )
    group.add_argument(
        "--error_rate",
        type=share("--error_rate"),
        default=0.0,
        metavar="SHARE",
        help="share of rows to break on purpose, such as 0.01 or 1%%, to prove validation with; "
        "the summary says how many there are of each kind (default: 0)",
    )
    add_report_flags(parser.add_argument_group("the run"))


def share(flag: str) -> Callable[[str], float]:
    """Read a share from 0 to 1, such as 0.01 or 1%."""

    def parse(text: str) -> float:
        try:
            value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ConfigError(f"{flag} {text}: expected a share from 0 to 1, such as 0.01 or 1%")
        return value

    return parse
