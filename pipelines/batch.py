"""Sales in, a committed lake out: the command line of what ``batch_round`` does, once or often."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.flags import known_flags, parse_flags
from celes_beam.commands.pipeline_parsers import batch_parser
from celes_beam.errors import ConfigError
from pipelines.batch_round import build, run_round

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.batch_options import BatchOptions
    from celes_beam.commands.launched import Launched
    from celes_beam.commands.summary import RunSummary
    from celes_beam.commands.warehouse_report import DryRun
    from celes_beam.commands.watch_summary import WatchSummary
    from celes_beam.stores.inputs.files import InputFile
    from celes_beam.stores.lake.lake import Lake


__all__ = ["build", "main", "run", "run_round", "watch"]

PROGRAM = "pipelines.batch"


def run(argv: Sequence[str] | None = None) -> RunSummary | Launched:
    """Run the pipeline that a command line asks for, once, and say what came of it.

    On Dataflow it is started, and left to itself.
    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags, options, beam_flags = _asked_for(sys.argv[1:] if argv is None else argv)
    if options.watch is not None:
        raise ConfigError("--watch does not end by itself: it is for the command line, and watch()")
    if options.dry_run:
        raise ConfigError("--dry_run runs nothing: it is for the command line")
    return _run(flags, options, beam_flags)


def watch(argv: Sequence[str] | None = None) -> WatchSummary:
    """Take in new files as they arrive, until a signal or a limit of the command line ends it.

    Raises the errors of ``celes_beam.errors``; see ``pipelines.watch`` for those that it outlasts.
    """
    return _watch(*_asked_for(sys.argv[1:] if argv is None else argv))


def _asked_for(argv: Sequence[str]) -> tuple[argparse.Namespace, BatchOptions, PipelineOptions]:
    parser = batch_parser()
    flags, beam_argv = parse_flags(parser, argv)

    from celes_beam.commands.batch_options import batch_options  # noqa: PLC0415
    from celes_beam.commands.console import check_json_target  # noqa: PLC0415

    options = batch_options(flags)
    check_json_target(flags.summary_json, options.output)

    from celes_beam.transforms.options import beam_options, is_native, new_pipeline  # noqa: PLC0415

    beam_flags = beam_options(beam_argv, known_flags(parser))
    if is_native(beam_flags):
        _check_job(options, beam_flags)
    # What the runner lacks is said before files are looked for.
    new_pipeline(beam_flags)
    return flags, options, beam_flags


def _check_job(options: BatchOptions, beam_flags: PipelineOptions) -> None:
    from celes_beam.transforms.dataflow import check_job  # noqa: PLC0415

    if options.watch is not None:
        raise ConfigError(
            "--watch is for a machine of yours, where it does not end: on Dataflow launch a job "
            "with --if_exists append whenever there may be new files"
        )
    check_job(beam_flags, {"--input": options.inputs, "--output": options.output})


def _run(
    flags: argparse.Namespace, options: BatchOptions, beam_flags: PipelineOptions
) -> RunSummary | Launched:
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.transforms.options import is_native  # noqa: PLC0415

    lake = Lake.open(options.output)
    files = _list(options, lake)
    summary: RunSummary | Launched
    if is_native(beam_flags):
        from pipelines.batch_launch import launch_round  # noqa: PLC0415

        summary = launch_round(options, lake, files, beam_flags)
    else:
        summary = run_round(options, lake, files, beam_flags, progress=flags.progress)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _list(options: BatchOptions, lake: Lake) -> list[InputFile]:
    from celes_beam.stores.inputs.files import folder_of, list_inputs  # noqa: PLC0415

    def was_read(pattern: str) -> bool:
        """Whether an append has taken in files from there, so that none are left just now."""
        if options.if_exists != "append" or options.reprocess:
            return False
        return lake.took_in_from(folder_of(pattern))

    return list_inputs(options.inputs, options.output, may_be_empty=was_read)


def _watch(
    flags: argparse.Namespace, options: BatchOptions, beam_flags: PipelineOptions
) -> WatchSummary:
    from celes_beam.commands.watch_summary import round_line  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from pipelines.watch import Watch  # noqa: PLC0415

    if options.watch is None:
        raise ConfigError("--watch is missing: say how many seconds to wait between looks")
    lake = Lake.open(options.output)

    def one_round(of: BatchOptions, files: Sequence[InputFile]) -> RunSummary:
        return run_round(of, lake, files, beam_flags, progress=flags.progress)

    def say(sums: WatchSummary, last: RunSummary) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {round_line(last)}", flush=True)
        if flags.summary_json:
            sums.write_json(flags.summary_json)

    summary = Watch(options, options.watch, lake, one_round, say).run()
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _do(argv: Sequence[str]) -> RunSummary | Launched | DryRun | WatchSummary:
    flags, options, beam_flags = _asked_for(argv)
    if options.dry_run:
        return _dry_run(flags, options)
    if options.watch is not None:
        return _watch(flags, options, beam_flags)
    return _run(flags, options, beam_flags)


def _dry_run(flags: argparse.Namespace, options: BatchOptions) -> DryRun:
    from celes_beam.commands.warehouse_report import DryRun  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415

    if options.warehouse is None:
        raise ConfigError("--dry_run is for BigQuery: give --bigquery_table too")
    lake = Lake.open(options.output)
    listed = files = _list(options, lake)
    if options.if_exists == "append" and not options.reprocess:
        files = lake.unread(listed)
    tables, plan = Warehouse(options.warehouse, lake).pending(options.layout.partition_by)
    inputs = tuple((f.path, f.size) for f in files)
    known = None if options.generates else len(listed) - len(files)
    told = DryRun(options.warehouse, tables, plan, options.output, inputs, known)
    if flags.summary_json:
        told.write_json(flags.summary_json)
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, _do, argv)


if __name__ == "__main__":
    sys.exit(main())
