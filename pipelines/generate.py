"""A data set of generated sales: one CSV file, or a folder of CSV or Parquet shards.

    shards ─ Reshuffle ─ WriteShards (make, break, encode, write: one fused step) ─ ReportShards

The finished files take their place once all of them are there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.dataset_flags import add_dataset_flags
from celes_beam.commands.flags import (
    add_sales_flags,
    flag_parser,
    known_flags,
    parse_flags,
)

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

    from celes_beam.commands.console import check_json_target  # noqa: PLC0415
    from celes_beam.commands.dataset_options import dataset_options  # noqa: PLC0415

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
    from celes_beam.commands.dataset_options import DatasetSummary  # noqa: PLC0415
    from celes_beam.stores.datasets.dataset import total_planted  # noqa: PLC0415
    from celes_beam.stores.datasets.dataset_target import read_report  # noqa: PLC0415
    from celes_beam.transforms.options import (  # noqa: PLC0415
        beam_options,
        check_output,
        is_local,
        new_pipeline,
        run_to_end,
    )

    beam_flags = beam_options(beam_argv, our_flags)
    config, target = options.config, options.target
    check_output(beam_flags, target.output)
    started = time.perf_counter()
    with target.work_folder() as folder:
        shards = target.plan(folder, config.rows, options.shards)
        pipeline = new_pipeline(beam_flags)
        build(pipeline, options, shards, folder, threads=0 if is_local(beam_flags) else 1)
        run_to_end(
            pipeline, beam_flags, run_id=options.run_id, total=config.rows, progress=progress
        )
        written = read_report(folder)
        size = target.publish(shards, written, overwrite=options.overwrite)
    return DatasetSummary(
        output=target.output,
        format=target.format,
        seed=config.seed,
        rows=config.rows,
        files=1 if target.one_file else len(shards),
        bytes=size,
        planted=total_planted(written),
        seconds=time.perf_counter() - started,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())
