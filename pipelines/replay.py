"""Dead letters back through: the command line of what ``replay_round`` does.

A replay is a commit of a lake. It lists the rows that it took up, and no later one takes them
again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from celes_beam.commands.command_line import run_and_show
from celes_beam.commands.flags import known_flags, parse_flags
from celes_beam.commands.pipeline_parsers import replay_parser
from pipelines.replay_round import (
    build,
    chooser_of,
    headers_of,
    partition_by_of,
    replay_rules,
    take_up,
)

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.launched import Launched
    from celes_beam.commands.replay_options import ReplayOptions
    from celes_beam.commands.replay_summary import ReplaySummary
    from celes_beam.stores.lake.manifest import Manifest
    from celes_beam.stores.replay.sources import RejectedRows

__all__ = ["build", "main", "run"]

PROGRAM = "pipelines.replay"


def run(argv: Sequence[str] | None = None) -> ReplaySummary | Launched:
    """Replay what a command line asks for, and say what came of it.

    On Dataflow the job is started, and left to itself.
    Raises the errors of ``celes_beam.errors``; see ``main`` for their exit codes.
    """
    flags, options, beam_flags = _asked_for(sys.argv[1:] if argv is None else argv)
    with closing(_open(options)) as rows:
        summary: ReplaySummary | Launched
        if options.dry_run:
            summary = _rehearse(options, rows)
        else:
            summary = _replay(options, rows, beam_flags, progress=flags.progress)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _asked_for(argv: Sequence[str]) -> tuple[argparse.Namespace, ReplayOptions, PipelineOptions]:
    parser = replay_parser()
    flags, beam_argv = parse_flags(parser, argv)

    from celes_beam.commands.console import check_json_target  # noqa: PLC0415
    from celes_beam.commands.replay_options import replay_options  # noqa: PLC0415

    options = replay_options(flags)
    check_json_target(flags.summary_json, options.output)

    from celes_beam.transforms.options import beam_options, is_native, new_pipeline  # noqa: PLC0415

    beam_flags = beam_options(beam_argv, known_flags(parser))
    if is_native(beam_flags) and not options.dry_run:
        from pipelines.replay_launch import check_replay_job  # noqa: PLC0415

        check_replay_job(options, beam_flags)
    # What the runner lacks is said before rows are looked for.
    new_pipeline(beam_flags)
    return flags, options, beam_flags


def _open(options: ReplayOptions) -> RejectedRows:
    from celes_beam.stores.replay.sources import is_subscription, open_rows  # noqa: PLC0415

    if is_subscription(options.source):
        from celes_beam.stores.replay.topic import TopicRows  # noqa: PLC0415

        return TopicRows(
            options.source, max_messages=options.max_messages, idle_timeout=options.idle_timeout
        )
    return open_rows(options.source, options.runs, options.selection)


def _rehearse(options: ReplayOptions, rows: RejectedRows) -> ReplaySummary:
    """What would become of the rows; nothing is written, and nothing taken."""
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.sales.aggregate import Sums, sum_batch  # noqa: PLC0415
    from celes_beam.sales.replay import replay  # noqa: PLC0415
    from celes_beam.stores.lake.commit import CommitLog  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.lake.rejects import Rejections, count_rejections  # noqa: PLC0415
    from celes_beam.stores.replay.sources import take  # noqa: PLC0415

    started = time.perf_counter()
    rows.check()
    lake = Lake.open(options.output)
    chooser = chooser_of(options, lake, CommitLog(lake.storage).load().manifests)
    headers = headers_of(options)
    sums, after = Sums(), Rejections()
    for batch in take(rows, chooser, headers):
        for checked in replay(batch, replay_rules(options, headers)):
            sums += sum_batch(checked.accepted)
            after += count_rejections(checked.rejected)
    return ReplaySummary(
        status="dry_run" if chooser.tally.rows else "nothing_to_replay",
        source=rows.name,
        lake=options.output,
        run_id=options.run_id,
        before=chooser.tally.by_reason,
        accepted=sums.whole.rows,
        after=after,
        total=str(sums.whole.total),
        tally=chooser.tally,
        seconds=time.perf_counter() - started,
    )


def _replay(
    options: ReplayOptions, rows: RejectedRows, beam_flags: PipelineOptions, *, progress: str
) -> ReplaySummary | Launched:
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415
    from celes_beam.transforms.options import is_native  # noqa: PLC0415

    rows.check()
    lake = Lake.open(options.output)
    partition_by = options.partition_by or partition_by_of(lake)
    decided = lake.prepare(
        run_id=options.run_id, if_exists="append", partition_by=options.partition_by
    )
    warehouse = None
    if options.warehouse is not None:
        warehouse = Warehouse(options.warehouse, lake)
        warehouse.prepare(partition_by=partition_by, run_id=options.run_id)
    if is_native(beam_flags):
        from pipelines.replay_launch import launch_ending, launch_replay  # noqa: PLC0415

        if decided is None:
            return launch_replay(options, lake, partition_by, rows, beam_flags)
        known = _summary_of_decided(options, decided)
        return launch_ending(options, lake, beam_flags, known)
    if decided is None:
        summary = take_up(options, lake, partition_by, rows, beam_flags, progress=progress)
    else:
        summary = _summary_of_decided(options, decided)
    return summary if warehouse is None else dataclasses.replace(summary, loaded=warehouse.load())


def _summary_of_decided(options: ReplayOptions, decided: Manifest) -> ReplaySummary:
    from celes_beam.commands.replay_summary import ReplaySummary  # noqa: PLC0415
    from celes_beam.errors import ConfigError  # noqa: PLC0415

    if decided.replayed is None:
        raise ConfigError(
            f"--run_id {options.run_id}: the lake has a commit of that name, which is no replay: "
            "choose another"
        )
    return ReplaySummary.of(decided, options.output, "already_committed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary, and return the exit code."""
    return run_and_show(PROGRAM, run, argv)


if __name__ == "__main__":
    sys.exit(main())
