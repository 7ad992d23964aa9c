"""A data set of generated sales: one CSV file, or a folder of CSV or Parquet shards.

    shards ─ Reshuffle ─ WriteShards (make, break, encode, write: one fused step) ─ ReportShards

The finished files take their place once all of them are there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_command
from celes_beam.commands.flags import (
    add_report_flags,
    add_sales_flags,
    flag_parser,
    known_flags,
    parse_flags,
    positive_int,
)
from celes_beam.errors import ConfigError

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    import apache_beam as beam

    from celes_beam.commands.dataset_options import DatasetOptions, DatasetSummary
    from celes_beam.stores.datasets.dataset import Shard

PROGRAM = "pipelines.generate"
DESCRIPTION = (
    "Generate sales as one CSV file or a folder of CSV or Parquet files. Row i depends on the "
    "seed and i alone, so the same flags make the same data set anywhere."
)


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of ``pipelines.generate`` beyond those that describe sales."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        default="./ventas.csv",
        metavar="PATH",
        help="a .csv or .parquet file, or a folder, on a disk of this machine "
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
    group.add_argument(
        "--if_exists",
        choices=("error", "overwrite"),
        default="error",
        help="when the output is there already: stop, or replace it (default: %(default)s)",
    )
    group.add_argument(
        "-f",
        dest="if_exists",
        action="store_const",
        const="overwrite",
        default=argparse.SUPPRESS,
        help="short for --if_exists overwrite",
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


def build(
    pipeline: beam.Pipeline,
    options: DatasetOptions,
    shards: Sequence[Shard],
    folder: str,
    *,
    threads: int = 0,
) -> beam.PCollection[None]:
    """Build the pipeline that writes ``shards`` and reports them in the work folder.

    ``threads`` work on the shards of one bundle; 0 is one a core.
    """
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.transforms.write_shards import ReportShards, WriteShards  # noqa: PLC0415

    write = WriteShards(
        options.config, options.target.format, options.error_rate, options.run_id, threads
    )
    return (
        pipeline
        | "Shards" >> beam.Create(shards, reshuffle=False)
        | "Reshuffle" >> beam.Reshuffle()
        | "Write" >> write
        | "Report" >> ReportShards(folder)
    )


def run(argv: Sequence[str] | None = None) -> DatasetSummary:
    """Write the data set that a command line asks for, and say what it holds.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    parser = flag_parser(PROGRAM, DESCRIPTION, add_dataset_flags, add_sales_flags)
    flags, beam_argv = parse_flags(parser, sys.argv[1:] if argv is None else argv)

    from celes_beam.commands.dataset_options import dataset_options  # noqa: PLC0415
    from celes_beam.commands.summary import check_json_target  # noqa: PLC0415

    options = dataset_options(flags)
    options.target.check(overwrite=options.overwrite)
    check_json_target(flags.summary_json, flags.output)
    summary = _run(options, beam_argv, known_flags(parser), progress=flags.progress)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _run(
    options: DatasetOptions, beam_argv: Sequence[str], our_flags: Sequence[str], *, progress: str
) -> DatasetSummary:
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.commands.dataset_options import DatasetSummary  # noqa: PLC0415
    from celes_beam.stores.datasets.dataset import total_planted  # noqa: PLC0415
    from celes_beam.stores.datasets.dataset_target import read_report  # noqa: PLC0415
    from celes_beam.transforms.options import (  # noqa: PLC0415
        beam_options,
        is_local,
        run_to_end,
        runner_of,
    )

    beam_flags = beam_options(beam_argv, our_flags)
    config, target = options.config, options.target
    started = time.perf_counter()
    with target.work_folder() as folder:
        shards = target.plan(folder, config.rows, options.shards)
        pipeline = beam.Pipeline(runner=runner_of(beam_flags), options=beam_flags)
        build(pipeline, options, shards, folder, threads=0 if is_local(beam_flags) else 1)
        run_to_end(
            pipeline, beam_flags, run_id=options.run_id, total=config.rows, progress=progress
        )
        written = read_report(folder)
        size = target.publish(shards, written)
    return DatasetSummary(
        output=str(target.path),
        format=target.format,
        seed=config.seed,
        rows=config.rows,
        files=1 if target.one_file else len(shards),
        bytes=size,
        planted=total_planted(written),
        seconds=time.perf_counter() - started,
    )


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""

    def command(arguments: Sequence[str]) -> int:
        summary = run(arguments)
        from celes_beam.commands.summary import console_for  # noqa: PLC0415

        summary.print(console_for(sys.stdout))
        return 0

    return run_command(PROGRAM, command, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
