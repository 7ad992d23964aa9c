"""``celes-beam report``: what a lake holds, in one HTML file to read and to pass on.

Arrow, Altair and rich are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celes_beam.commands.flags import FlagParser, add_columns
from celes_beam.errors import ConfigError

if TYPE_CHECKING:
    from celes_beam.report.content import Content

_DEFAULT_OUTPUT = "report.html"
_BYTES_PER_MB = 1_000_000
_DESCRIPTION = """\
Write a report of a lake's sales: one HTML file that needs no network, for a screen, a phone or
paper. First the answer (total by category, mean by region, trend by month), then the runs that
wrote the lake, then engines side by side if a comparison is given, and how it was measured.
"""


def add_report_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``report`` to the command line."""
    command: FlagParser = groups.add_parser(
        "report",
        help="write a report of a lake as one HTML file",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--input",
        "-i",
        required=True,
        metavar="LAKE",
        help="folder of a lake, also below gs://BUCKET, of which the committed rows are read; or "
        "any folder of Parquet files, with or without hive paths",
    )
    add_columns(
        command,
        "columns that go by another name in a folder that is no lake, such as "
        "id_cliente=household_id",
    )
    command.add_argument(
        "--output",
        "-o",
        default=_DEFAULT_OUTPUT,
        metavar="FILE",
        help="the HTML file; replaced if it is there (default: %(default)s)",
    )
    command.add_argument(
        "--lang",
        choices=("es", "en"),
        default="es",
        help="language of the report, and how it writes numbers and dates (default: %(default)s)",
    )
    command.add_argument(
        "--comparison",
        metavar="FILE",
        help="comparison.json, as celes-beam compare writes it: engines side by side",
    )
    command.add_argument(
        "--progress",
        choices=("auto", "off"),
        default="auto",
        help="a bar on a terminal and log lines elsewhere, or nothing (default: %(default)s)",
    )
    command.set_defaults(run=_report)


def _report(flags: argparse.Namespace) -> int:
    from celes_beam.commands.console import check_json_target, console_for  # noqa: PLC0415
    from celes_beam.commands.flag_values import one_header_each  # noqa: PLC0415
    from celes_beam.commands.progress import meter, watch  # noqa: PLC0415
    from celes_beam.report.comparison import read_comparison  # noqa: PLC0415
    from celes_beam.report.content import make_content  # noqa: PLC0415
    from celes_beam.report.page import check_installed  # noqa: PLC0415
    from celes_beam.report.write import write_report  # noqa: PLC0415
    from celes_beam.stores.lake.lake_input import open_input  # noqa: PLC0415

    if "://" in flags.output:
        raise ConfigError(
            f"--output {flags.output}: expected a file on this machine; copy it from there, such "
            "as with gcloud storage cp"
        )
    outside = None if "://" in flags.input else flags.input
    check_json_target(flags.output, outside, flag="--output")
    check_installed()
    comparison = read_comparison(flags.comparison) if flags.comparison else None
    found = open_input(flags.input, datetime.now(UTC), one_header_each(flags.columns or ()))
    name = f"report-{uuid.uuid4().hex}"
    count = meter(name)
    with watch(name, found.bytes, mode=flags.progress):
        content = make_content(
            found, comparison, lambda rows, size: count.add(rows=rows, done=size)
        )
    size = write_report(flags.output, content, flags.lang)
    _print(content, flags.output, size, console_for(sys.stdout))
    return 0


def _print(content: Content, path: str, size: int, console: Any) -> None:
    from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

    from celes_beam.commands.console import facts_table  # noqa: PLC0415

    sales = content.sales
    facts = facts_table()
    facts.add_row("sales", f"{sales.rows:,}")
    facts.add_row("total", f"{Decimal(sales.total):,}")
    facts.add_row("categories", f"{sales.categories:,}")
    facts.add_row("regions", f"{sales.regions:,}")
    facts.add_row("months", f"{len(sales.by_month):,}")
    facts.add_row("read in", f"{content.seconds:,.2f} s")
    facts.add_row("size of the file", f"{size / _BYTES_PER_MB:,.1f} MB")
    console.print(facts)
    console.print(f"Report in [bold]{escape(str(Path(path)))}[/]", soft_wrap=True)
