"""A lake in; total by category and mean by region out, and rows in order when asked for.

    PlanPieces ─┬─ ScanSales (read, sum, keep first rows, sample: one fused step) ─┬─ WriteResult
                └─ SortSales (spill by range ─ sort each range) ─ parts ───────────┘

Only descriptions, partial sums and samples cross an edge: sorted rows go by way of the disk.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from celes_beam.commands.aggregate_flags import add_aggregate_flags
from celes_beam.commands.command_line import imports_are_over, run_and_show
from celes_beam.commands.flags import flag_parser, known_flags, parse_flags

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.aggregate_options import AggregateOptions, AggregateSummary
    from celes_beam.stores.lake.lake_input import LakeInput

PROGRAM = "pipelines.aggregate"
DESCRIPTION = (
    "Sum the sales of a lake: total by category and mean by region, exact to the cent; and give "
    "its rows in order, the first few or all."
)
ENGINE = "beam"

_PASSES_WHEN_SORTED = 3


def build(
    pipeline: beam.Pipeline,
    options: AggregateOptions,
    found: LakeInput,
    folder: str,
    *,
    threads: int = 0,
    spread: bool = True,
) -> beam.PCollection[None]:
    """Build the pipeline that writes the result of ``found`` to ``<folder>/result``.

    ``threads`` work on the pieces of one bundle; 0 is one a core. ``spread`` shares the pieces out
    to several workers.
    """
    from celes_beam.stores.results.result_folder import RESULT  # noqa: PLC0415
    from celes_beam.stores.results.results import SORTED  # noqa: PLC0415
    from celes_beam.transforms.aggregate import PlanPieces, ScanSales  # noqa: PLC0415
    from celes_beam.transforms.results import WriteResult  # noqa: PLC0415
    from celes_beam.transforms.sort import SortSales  # noqa: PLC0415

    reader, questions, run = found.reader, options.questions, options.run_id
    result = str(Path(folder) / RESULT)
    pieces = pipeline | "Pieces" >> PlanPieces(reader, found.files, spread)
    scanned = pieces | "Scan" >> ScanSales(reader, questions, run, threads)
    parts = None
    if options.write_sorted:
        parts = pieces | "Sort" >> SortSales(
            reader=reader,
            scanned=scanned,
            questions=questions,
            part_rows=options.part_rows,
            spills=str(Path(folder) / "spills"),
            parts=str(Path(result) / SORTED),
            run=run,
            threads=threads,
        )
    return scanned | "Write" >> WriteResult(
        result, ENGINE, questions, parts, rows=found.rows, total=found.total
    )


def run(argv: Sequence[str] | None = None) -> AggregateSummary:
    """Run the aggregation that a command line asks for, and say what came of it.

    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    parser = flag_parser(PROGRAM, DESCRIPTION, add_aggregate_flags)
    flags, beam_argv = parse_flags(parser, sys.argv[1:] if argv is None else argv)

    from celes_beam.commands.aggregate_options import aggregate_options  # noqa: PLC0415
    from celes_beam.commands.console import check_json_target  # noqa: PLC0415

    options = aggregate_options(flags)
    for folder in filter(None, (flags.input, flags.output)):
        check_json_target(flags.summary_json, folder)
    summary = _run(options, beam_argv, known_flags(parser), progress=flags.progress)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _run(
    options: AggregateOptions, beam_argv: Sequence[str], our_flags: Sequence[str], *, progress: str
) -> AggregateSummary:
    from celes_beam.commands.read_anew import read_anew  # noqa: PLC0415
    from celes_beam.stores.lake.lake_input import open_input  # noqa: PLC0415

    def find() -> LakeInput:
        return open_input(options.input, options.started, options.headers)

    found = find()
    options.target.check(options.input, overwrite=options.overwrite)

    from celes_beam.transforms.options import beam_options, check_output  # noqa: PLC0415

    beam_flags = beam_options(beam_argv, our_flags)
    check_output(beam_flags, options.target.output or "")
    _import_transforms()
    return read_anew(found, find, lambda of: _aggregate(options, of, beam_flags, progress=progress))


def _aggregate(
    options: AggregateOptions, found: LakeInput, beam_flags: PipelineOptions, *, progress: str
) -> AggregateSummary:
    from celes_beam.commands.aggregate_options import AggregateSummary  # noqa: PLC0415
    from celes_beam.transforms.options import is_local, new_pipeline, run_to_end  # noqa: PLC0415

    work = found.bytes * (_PASSES_WHEN_SORTED if options.write_sorted else 1)
    local = is_local(beam_flags)
    with options.target.work_folder() as folder:
        pipeline = new_pipeline(beam_flags)
        started = time.perf_counter()
        build(pipeline, options, found, folder, threads=0 if local else 1, spread=not local)
        run_to_end(pipeline, beam_flags, run_id=options.run_id, total=work, progress=progress)
        result = options.target.publish(
            folder, with_sorted=options.write_sorted, overwrite=options.overwrite
        )
    return AggregateSummary(
        result, options, len(found.files), found.bytes, time.perf_counter() - started
    )


def _import_transforms() -> None:
    """Import what ``build`` needs, which is no part of the work that is timed."""
    import celes_beam.transforms.aggregate  # noqa: PLC0415
    import celes_beam.transforms.results  # noqa: PLC0415
    import celes_beam.transforms.sort  # noqa: F401, PLC0415

    imports_are_over()


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())
