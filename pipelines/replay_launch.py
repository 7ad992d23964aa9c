"""A replay as a job of Dataflow: rows are gathered by the launcher, and judged by the job.

as replay_round.py ─ Commit ─ End (tell, load BigQuery)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celes_beam.errors import ConfigError
from pipelines.replay_round import (
    build,
    chooser_of,
    draft_of,
    gather,
    headers_of,
    nothing_to_replay,
    replay_rules,
)

# Beam takes a second to import, and the rest half of one: only once the flags are right.
if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from celes_beam.commands.launched import Launched
    from celes_beam.commands.replay_options import ReplayOptions
    from celes_beam.commands.replay_summary import ReplaySummary
    from celes_beam.stores.lake.lake import Lake
    from celes_beam.stores.replay.sources import RejectedRows


def check_replay_job(options: ReplayOptions, beam_flags: PipelineOptions) -> None:
    """Raise ``ConfigError`` for what a job of Dataflow could not do."""
    from celes_beam.stores.replay.sources import is_subscription, is_table  # noqa: PLC0415
    from celes_beam.transforms.dataflow import check_job  # noqa: PLC0415

    if is_subscription(options.source):
        raise ConfigError(
            f"--from {options.source}: messages are held until the commit is decided, which the "
            "launcher of a job does not live to see: replay from the lake or the table on "
            "Dataflow, or from the subscription with --runner DirectRunner"
        )
    places: dict[str, str] = {"--output": options.output}
    if not is_table(options.source):
        places["--from"] = options.source
    check_job(beam_flags, places)


def launch_replay(
    options: ReplayOptions,
    lake: Lake,
    partition_by: tuple[str, ...],
    rows: RejectedRows,
    beam_flags: PipelineOptions,
) -> ReplaySummary | Launched:
    """Gather rows, and start the job that judges and commits them.

    There is no job, but a summary, when there is nothing to do; a template has to have one all the
    same. What was gathered is gone when the job cannot be started.
    """
    from celes_beam.commands.launched import Launched  # noqa: PLC0415
    from celes_beam.transforms.dataflow import launch  # noqa: PLC0415
    from celes_beam.transforms.load import EndRun  # noqa: PLC0415
    from celes_beam.transforms.options import new_pipeline  # noqa: PLC0415

    started = time.perf_counter()
    chooser, headers = chooser_of(options, lake, lake.runs()), headers_of(options)
    staging = lake.staging(options.run_id)
    try:
        shards = gather(lake, staging, rows, chooser, headers)
        if not shards:
            lake.discard(staging)
            nothing = nothing_to_replay(options, rows, chooser, time.perf_counter() - started)
            return launch_ending(options, lake, beam_flags, nothing)
        draft = draft_of(
            options,
            lake,
            staging,
            partition_by=partition_by,
            source=rows.name,
            chooser=chooser,
        )
        pipeline = new_pipeline(beam_flags)
        how = replay_rules(options, headers)
        decided = build(
            pipeline, options, lake, draft, shards, how=how, threads=1, only_attempt=True
        )
        _ = decided | "End" >> EndRun(lake.storage.root, options.warehouse)
        job = launch(pipeline)
    except BaseException:
        lake.discard(staging)
        raise
    taken = f"{sum(shard.rows for shard in shards):,} rejected rows of {rows.name}"
    return Launched(options.run_id, job, taken)


def launch_ending(
    options: ReplayOptions, lake: Lake, beam_flags: PipelineOptions, known: ReplaySummary
) -> ReplaySummary | Launched:
    """Start the job of a replay that has nothing to commit, if one is needed at all.

    It is for what is not in BigQuery yet, and for a template, which has to have a job.
    """
    import apache_beam as beam  # noqa: PLC0415

    from celes_beam.commands.launched import Launched  # noqa: PLC0415
    from celes_beam.transforms.dataflow import is_flex_launch, launch  # noqa: PLC0415
    from celes_beam.transforms.load import EndRun  # noqa: PLC0415
    from celes_beam.transforms.options import new_pipeline  # noqa: PLC0415

    if options.warehouse is None and not is_flex_launch(beam_flags):
        return known
    pipeline = new_pipeline(beam_flags)
    told = f"run {options.run_id}: nothing to replay ({known.status})"
    nothing = pipeline | "Nothing new" >> beam.Create([told], reshuffle=False)
    _ = nothing | "End" >> EndRun(lake.storage.root, options.warehouse)
    return Launched(options.run_id, launch(pipeline), "no rejected rows")
