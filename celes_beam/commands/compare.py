"""``celes-beam compare``: the same question to every engine, measured, and the answers compared.

What runs and measures is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celes_beam.commands.flag_values import positive_int
from celes_beam.commands.flags import FlagParser, add_columns

if TYPE_CHECKING:
    from celes_beam.commands.compare_options import CompareOptions
    from celes_beam.report.comparison import Comparison
    from celes_beam.stores.lake.lake_input import LakeInput

_LOGGER = logging.getLogger(__name__)
_DESCRIPTION = """\
Ask every engine the same about the same files: total by category, mean by region and, with --top,
the largest sales. Each engine is a process of its own, one after another; its time is measured,
its memory with that of all processes below it, and the bytes it reads. The results have to be
equal to the cent: if they are not, it is shown where, and the exit code is 4. An engine that is
not installed is skipped, and one that fails does not stop the others.
"""


def add_compare_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``compare`` to the command line."""
    command: FlagParser = groups.add_parser(
        "compare",
        help="ask pandas, Dask, Spark, Beam, Polars, DuckDB and BigQuery the same, and compare",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_question(command)
    group = command.add_argument_group("engines")
    group.add_argument(
        "--engines",
        metavar="NAMES",
        help="comma list of pandas, dask, spark, beam, polars, duckdb and bigquery, in the order "
        "they are run (default: all; bigquery with --bigquery_table)",
    )
    group.add_argument(
        "--engine_flags",
        action="append",
        default=[],
        metavar="NAME=FLAGS",
        help="flags for one engine's job, such as 'spark=--master spark://127.0.0.1:7077'; may be "
        "repeated",
    )
    group.add_argument(
        "--repeat",
        type=positive_int("--repeat"),
        default=3,
        metavar="N",
        help="rounds, in each of which every engine has its turn; medians are shown (default: "
        "%(default)s)",
    )
    group.add_argument(
        "--timeout",
        type=positive_int("--timeout"),
        default=3600,
        metavar="SECONDS",
        help="an engine that takes longer for one run is ended, and has failed (default: "
        "%(default)s)",
    )
    group = command.add_argument_group("what is told")
    group.add_argument("--json", metavar="FILE", help="write all figures and results to this file")
    group.add_argument("--report", metavar="FILE", help="also write the report of the lake as HTML")
    group.add_argument(
        "--lang",
        choices=("es", "en"),
        default="es",
        help="language of the report (default: %(default)s)",
    )
    group.add_argument(
        "--progress",
        choices=("auto", "off"),
        default="auto",
        help="a table on a terminal and log lines elsewhere, or nothing (default: %(default)s)",
    )
    command.set_defaults(run=_compare)


def _add_question(command: FlagParser) -> None:
    group = command.add_argument_group("what is asked")
    what = group.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--input",
        "-i",
        metavar="LAKE",
        help="a lake, or any folder of Parquet files, also below gs://BUCKET; commits that come "
        "meanwhile do not count",
    )
    what.add_argument(
        "--rows",
        metavar="N,…",
        help="generate lakes of so many rows, such as 1e6,1e7, and compare engines on each",
    )
    group.add_argument(
        "--keep",
        metavar="FOLDER",
        help="keep generated lakes in this folder, and use those that are there (default: they are "
        "removed at the end)",
    )
    add_columns(
        group,
        "columns that go by another name in a folder that is no lake, such as "
        "id_cliente=household_id",
    )
    group.add_argument(
        "--bigquery_table",
        metavar="PROJECT:DATASET.TABLE",
        help="for the engine bigquery: the table that the lake was loaded into",
    )
    group.add_argument(
        "--top",
        type=positive_int("--top"),
        metavar="N",
        help="also ask for the N largest sales, by cantidad_de_venta",
    )


def _compare(flags: argparse.Namespace) -> int:
    from celes_beam.commands.compare_options import compare_options  # noqa: PLC0415
    from celes_beam.commands.compare_table import print_comparison  # noqa: PLC0415
    from celes_beam.commands.console import console_for  # noqa: PLC0415
    from celes_beam.compare.conclusion import raise_unless_equal  # noqa: PLC0415
    from celes_beam.report.comparison import encode_comparison  # noqa: PLC0415
    from celes_beam.stores.datasets.dataset import appearing  # noqa: PLC0415

    options = compare_options(flags)
    with _inputs(options) as inputs:
        comparison = _run_all(options, inputs)
        print_comparison(console_for(sys.stdout), comparison)
        if options.json:
            with appearing(Path(options.json)) as file:
                file.write(encode_comparison(comparison))
        if options.report:
            _report(options, inputs[-1], comparison)
    for name, path in (("Comparison", options.json), ("Report", options.report)):
        if path:
            print(f"{name}: {path}")
    # Errors below stand under all that was said.
    sys.stdout.flush()
    raise_unless_equal(comparison)
    return 0


@contextmanager
def _inputs(options: CompareOptions) -> Iterator[list[LakeInput]]:
    """What is compared on: the input, or lakes that are generated, the smallest first."""
    from celes_beam.compare.generated import generated_lake  # noqa: PLC0415
    from celes_beam.stores.datasets.gcs_output import temporary_work_folder  # noqa: PLC0415
    from celes_beam.stores.lake.lake_input import open_input  # noqa: PLC0415

    now = datetime.now(UTC)
    if options.input is not None:
        yield [open_input(options.input, now, options.headers)]
        return
    kept = options.keep
    with nullcontext(kept) if kept else temporary_work_folder("compare") as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        roots = []
        for rows in options.sizes:
            _say(options, f"generating {rows:,} rows")
            roots.append(generated_lake(folder, rows))
        yield [open_input(root, now) for root in roots]


def _run_all(options: CompareOptions, inputs: list[LakeInput]) -> Comparison:
    from celes_beam.commands.compare_table import showing  # noqa: PLC0415
    from celes_beam.compare.side_by_side import lines_of, run_rounds  # noqa: PLC0415
    from celes_beam.report.comparison import Comparison  # noqa: PLC0415
    from celes_beam.report.machine import this_machine  # noqa: PLC0415

    started = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [lines_of(options.engines, found) for found in inputs]
    say = partial(_say, options)
    with showing([line for some in lines for line in some], options.progress):
        parts = [
            run_rounds(found, some, options.question(found.root), options.rounds, say)
            for found, some in zip(inputs, lines, strict=True)
        ]
    runs = tuple(run for part in parts for run in part.runs)
    packages = [engine.packages[0][1] for engine in options.engines]
    return Comparison(
        machine=this_machine(["celes-beam", "pyarrow", *packages]),
        rounds=options.rounds,
        input=options.named_input,
        agree=all(r.state != "differs" for r in runs) and any(r.state == "ok" for r in runs),
        runs=runs,
        differences=tuple(one for part in parts for one in part.differences),
        started_at=started,
    )


def _say(options: CompareOptions, text: str) -> None:
    # On a terminal the table tells it.
    if options.progress != "off" and not sys.stderr.isatty():
        _LOGGER.info("%s", text)


def _report(options: CompareOptions, found: LakeInput, comparison: Comparison) -> None:
    from celes_beam.commands.compare_options import rows_flag  # noqa: PLC0415
    from celes_beam.report.content import make_content  # noqa: PLC0415
    from celes_beam.report.write import write_report  # noqa: PLC0415

    assert options.report is not None
    is_kept = options.input is not None or options.keep is not None
    called = None if is_kept or found.rows is None else rows_flag(found.rows)
    write_report(options.report, make_content(found, comparison, called=called), options.language)
